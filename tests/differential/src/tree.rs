//! Queries as trees that print themselves and can be made smaller.

use std::{borrow::Cow, fmt};

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Scalar,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
    /// A text.
    Text,
}

/// An expression: what it is, and how it is written.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its type.
    pub kind: Kind,
    /// The function, operator or form, for the distribution.
    pub name: &'static str,
    /// Its text, piece by piece.
    pub parts: Vec<Part>,
}

/// A piece of an expression.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text that has to be there.
    Text(String),
    /// Text that can be left out: a modifier, a matcher.
    Optional(&'static str, String),
    /// An expression within.
    Child(Node),
}

impl Node {
    /// An expression without expressions in it.
    pub fn leaf(kind: Kind, name: &'static str, text: impl Into<String>) -> Self {
        Self { kind, name, parts: vec![Part::Text(text.into())] }
    }

    /// `name(a, b, ...)`
    #[must_use]
    pub fn call(kind: Kind, name: &'static str, arguments: Vec<Self>) -> Self {
        let mut parts = vec![Part::Text(format!("{name}("))];
        for (i, argument) in arguments.into_iter().enumerate() {
            if i > 0 {
                parts.push(Part::Text(", ".to_owned()));
            }
            parts.push(Part::Child(argument));
        }
        parts.push(Part::Text(")".to_owned()));
        Self { kind, name, parts }
    }

    /// Appends a modifier.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.parts.push(Part::Optional(name, text.into()));
        self
    }

    /// Calls `f` with the name of each expression and modifier.
    pub fn names(&self, f: &mut dyn FnMut(&'static str)) {
        f(self.name);
        for part in &self.parts {
            match part {
                Part::Text(_) => {}
                Part::Optional(name, _) => f(name),
                Part::Child(child) => child.names(f),
            }
        }
    }

    /// The expressions directly within.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.parts.iter().filter_map(|part| match part {
            Part::Child(child) => Some(child),
            _ => None,
        })
    }

    /// Calls `f` with this and each expression within.
    pub fn visit<'a>(&'a self, f: &mut dyn FnMut(&'a Self)) {
        f(self);
        self.children().for_each(|child| child.visit(f));
    }

    /// A query that was given as text.
    pub fn listed(query: &str) -> Self {
        Self::leaf(Kind::Vector, "listed", query)
    }

    /// Whether it is a mere text: a query of a list, or one that was damaged. It has no names but in
    /// its text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.name, "damaged" | "listed")
    }

    /// How often an expression or modifier in it has this name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        if self.is_text() {
            let text = self.to_string();
            let name = if name == "subquery" { ":" } else { name };
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.chars().all(word) {
                return text.split(|c| !word(c)).filter(|w| *w == name).count();
            }
            return text.matches(name).count();
        }
        let mut n = 0;
        self.names(&mut |other| n += usize::from(other == name));
        n
    }

    /// Whether any expression or modifier in it has this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    /// The name of what is outermost.
    #[must_use]
    pub fn outermost(&self) -> Cow<'static, str> {
        if self.is_text() {
            let text = self.to_string();
            return text.split(['(', ' ']).next().unwrap_or_default().to_owned().into();
        }
        self.name.into()
    }

    /// A query for the sum of the magnitudes of what is summed across series, where sums and
    /// averages are all that is outermost.
    #[must_use]
    pub fn magnitudes(&self) -> Option<Self> {
        let mut node = self.clone();
        match self.name {
            "sum" | "avg" => {
                let inner = node.parts.iter_mut().rev().find_map(|part| match part {
                    Part::Child(child) => Some(child),
                    _ => None,
                })?;
                *inner = Self::call(Kind::Vector, "abs", vec![inner.clone()]);
            }
            "parentheses" | "unary" | "+" | "-" => {
                for part in &mut node.parts {
                    match part {
                        Part::Child(child) => *child = child.magnitudes()?,
                        Part::Text(text) => *text = text.replace('-', "+"),
                        Part::Optional(..) => {}
                    }
                }
            }
            _ => return None,
        }
        Some(node)
    }

    /// Expressions that are a step smaller, the greatest steps first: another expression of the
    /// same type in place of one that contains it, a modifier less, the simplest literal.
    #[must_use]
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut inner = Vec::new();
        self.descendants(&mut inner);
        inner.sort_by_key(|node| node.to_string().len());
        all.extend(inner.into_iter().filter(|n| n.kind == self.kind).cloned());
        for (i, part) in self.parts.iter().enumerate() {
            let without = |parts: Vec<Part>| {
                let mut node = self.clone();
                node.parts.splice(i..=i, parts);
                node
            };
            match part {
                Part::Text(_) => {}
                Part::Optional(..) => all.push(without(Vec::new())),
                Part::Child(child) => {
                    if child.kind == Kind::Scalar && child.to_string().len() > 1 {
                        let one = Self::leaf(Kind::Scalar, "number", "1");
                        all.push(without(vec![Part::Child(one)]));
                    }
                    all.extend(child.smaller().into_iter().map(|c| without(vec![Part::Child(c)])));
                }
            }
        }
        all
    }

    fn descendants<'a>(&'a self, out: &mut Vec<&'a Self>) {
        for part in &self.parts {
            if let Part::Child(child) = part {
                out.push(child);
                child.descendants(out);
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Optional(_, text) => f.write_str(text)?,
                Part::Child(child) => child.fmt(f)?,
            }
        }
        Ok(())
    }
}
