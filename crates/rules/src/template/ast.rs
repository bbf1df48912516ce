//! The tree of a template, which prints as Go prints it in errors.

use std::fmt::{self, Display, Formatter};

use firesteel_model::float::go_quote;

use super::number::Number;

/// What stands between two control actions.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Action),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Invocation),
    Break,
    Continue,
}

/// `{{pipeline}}`
#[derive(Debug)]
pub(super) struct Action {
    pub(super) pos: usize,
    pub(super) pipe: Pipe,
}

/// `{{if pipeline}}list{{else}}otherwise{{end}}`; `with` and `range` too.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) list: List,
    pub(super) otherwise: Option<List>,
}

/// `{{template "name" pipeline}}`
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) pos: usize,
    pub(super) name: String,
    pub(super) pipe: Option<Pipe>,
}

/// `$x, $y := command | command`
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) pos: usize,
    /// `=` instead of `:=`.
    pub(super) assign: bool,
    /// Names with their dollars.
    pub(super) declared: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// `function argument argument`
#[derive(Debug)]
pub(super) struct Command {
    pub(super) pos: usize,
    /// At least one.
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) pos: usize,
    pub(super) kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    /// As it is written, and what it says.
    String(String, String),
    /// `.a.b`, without dots; not empty.
    Field(Vec<String>),
    /// `$x.a.b`; not empty.
    Variable(Vec<String>),
    /// The name of a function.
    Identifier(String),
    /// `(pipeline).a.b`
    Chain(Box<Operand>, Vec<String>),
    Pipe(Box<Pipe>),
}

impl OperandKind {
    /// Whether it cannot take what comes down a pipeline.
    pub(super) const fn is_constant(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Dot | Self::Nil | Self::Number(_) | Self::String(..))
    }
}

impl Node {
    /// Whether there is nothing but space.
    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }
}

impl List {
    /// Whether it holds nothing but space, so that another definition may take its place.
    pub(super) fn is_blank(&self) -> bool {
        self.nodes.iter().all(Node::is_blank)
    }
}

fn join(f: &mut Formatter<'_>, parts: &[impl Display], by: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(by)?;
        }
        part.fmt(f)?;
    }
    Ok(())
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.pipe)
    }
}

impl Display for Invocation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", go_quote(&self.name))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.declared.is_empty() {
            join(f, &self.declared, ", ")?;
            f.write_str(if self.assign { " = " } else { " := " })?;
        }
        join(f, &self.commands, " | ")
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        join(f, &self.operands, " ")
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Bool(value) => value.fmt(f),
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::String(quoted, _) => f.write_str(quoted),
            OperandKind::Field(names) => {
                f.write_str(".")?;
                join(f, names, ".")
            }
            OperandKind::Variable(names) => join(f, names, "."),
            OperandKind::Identifier(name) => f.write_str(name),
            OperandKind::Chain(operand, names) => {
                write!(f, "{operand}.")?;
                join(f, names, ".")
            }
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}
