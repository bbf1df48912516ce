//! The stack on which an expression is put together, without recursion.

use regex_syntax::hir::{Capture, Class, ClassUnicode, Hir, Look, Repetition};

use super::{
    error::{Code, RegexError},
    flags::Flags,
};

/// How high an expression's tree may be. Go allows 1000, but the compiler of the automaton is
/// recursive, and this is what it can do on a thread's usual stack even in a debug build.
const MAX_HEIGHT: u32 = 128;

/// How often a repetition may repeat, those within it included; Go's number.
pub(super) const MAX_REPEAT: u32 = 1000;

/// How many ranges the classes of an expression may have in all, so that `\pL\pL...` stays small.
const MAX_RANGES: usize = 1 << 20;

/// A finished part of the expression.
struct Node {
    hir: Hir,
    height: u32,
    /// The largest product of nested repeat counts.
    repeats: u32,
}

impl Node {
    fn leaf(hir: Hir) -> Self {
        Self { hir, height: 1, repeats: 1 }
    }

    /// Joins nodes; one alone stays as it is.
    fn join(mut nodes: Vec<Self>, join: impl FnOnce(Vec<Hir>) -> Hir) -> Self {
        if nodes.len() == 1
            && let Some(node) = nodes.pop()
        {
            return node;
        }
        let height = 1 + nodes.iter().map(|n| n.height).max().unwrap_or(0);
        let repeats = nodes.iter().map(|n| n.repeats).max().unwrap_or(1);
        let hir = join(nodes.into_iter().map(|n| n.hir).collect());
        Self { hir, height, repeats }
    }
}

/// An open group, or the whole expression.
#[derive(Default)]
struct Frame {
    /// The number of a capturing group.
    capture: Option<u32>,
    /// The flags to return to.
    outer: Flags,
    /// Finished alternatives.
    alternatives: Vec<Node>,
    /// The current alternative.
    concat: Vec<Node>,
    /// Literal text at its end, of which an operator takes the last character.
    literal: String,
}

impl Frame {
    fn flush_literal(&mut self) {
        if !self.literal.is_empty() {
            let bytes = std::mem::take(&mut self.literal).into_bytes();
            self.concat.push(Node::leaf(Hir::literal(bytes)));
        }
    }

    fn end_alternative(&mut self) {
        self.flush_literal();
        let nodes = std::mem::take(&mut self.concat);
        self.alternatives.push(Node::join(nodes, Hir::concat));
    }

    fn finish(mut self) -> Node {
        self.end_alternative();
        Node::join(self.alternatives, Hir::alternation)
    }
}

/// Puts an expression together.
pub(super) struct Builder<'p> {
    whole: &'p str,
    frames: Vec<Frame>,
    top: Frame,
    ranges: usize,
    /// Names of the groups, by index.
    names: Vec<Option<String>>,
}

impl<'p> Builder<'p> {
    pub(super) fn new(whole: &'p str) -> Self {
        let names = vec![None];
        Self { whole, frames: Vec::new(), top: Frame::default(), ranges: 0, names }
    }

    fn push(&mut self, node: Node) -> Result<(), RegexError> {
        self.top.flush_literal();
        if node.height > MAX_HEIGHT {
            return Err(Code::NestingDepth.at(self.whole));
        }
        self.top.concat.push(node);
        Ok(())
    }

    /// Adds a character; `None` for one that no text contains.
    pub(super) fn literal(&mut self, c: Option<char>) -> Result<(), RegexError> {
        match c {
            Some(c) => self.top.literal.push(c),
            None => self.push(Node::leaf(Hir::fail()))?,
        }
        Ok(())
    }

    pub(super) fn class(&mut self, class: ClassUnicode) -> Result<(), RegexError> {
        self.ranges += class.ranges().len();
        if self.ranges > MAX_RANGES {
            return Err(Code::Large.at(self.whole));
        }
        self.push(Node::leaf(Hir::class(Class::Unicode(class))))
    }

    pub(super) fn look(&mut self, look: Look) -> Result<(), RegexError> {
        self.push(Node::leaf(Hir::look(look)))
    }

    /// Repeats what was added last. `false`: there is nothing to repeat.
    pub(super) fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    ) -> Result<bool, RegexError> {
        let last = self.top.literal.pop().map(|c| {
            self.top.flush_literal();
            Node::leaf(Hir::literal(c.to_string().into_bytes()))
        });
        let Some(node) = last.or_else(|| self.top.concat.pop()) else { return Ok(false) };
        let repeats = match max {
            Some(0) => 1,
            max => max.unwrap_or(min).max(1).saturating_mul(node.repeats),
        };
        let sub = Box::new(node.hir);
        let hir = Hir::repetition(Repetition { min, max, greedy, sub });
        self.push(Node { hir, height: node.height + 1, repeats })?;
        Ok(true)
    }

    /// The largest product of nested repeat counts in what was added last.
    pub(super) fn last_repeats(&self) -> u32 {
        self.top.concat.last().map_or(1, |node| node.repeats)
    }

    pub(super) fn bar(&mut self) {
        self.top.end_alternative();
    }

    /// Opens a group; `outer` are the flags to return to at its end.
    pub(super) fn open(
        &mut self,
        outer: Flags,
        capture: Option<Option<&str>>,
    ) -> Result<(), RegexError> {
        if self.frames.len() >= MAX_HEIGHT as usize {
            return Err(Code::NestingDepth.at(self.whole));
        }
        let capture = capture.map(|name| {
            self.names.push(name.map(str::to_owned));
            // Bounded by the length of the expression.
            (self.names.len() - 1) as u32
        });
        let frame = Frame { capture, outer, ..Frame::default() };
        self.frames.push(std::mem::replace(&mut self.top, frame));
        Ok(())
    }

    /// Closes a group and returns the flags from before it.
    pub(super) fn close(&mut self) -> Result<Flags, RegexError> {
        let Some(below) = self.frames.pop() else {
            return Err(Code::UnexpectedParen.at(self.whole));
        };
        let frame = std::mem::replace(&mut self.top, below);
        let (outer, capture) = (frame.outer, frame.capture);
        let mut node = frame.finish();
        if let Some(index) = capture {
            let sub = Box::new(node.hir);
            node.hir = Hir::capture(Capture { index, name: None, sub });
            node.height += 1;
        }
        self.push(node)?;
        Ok(outer)
    }

    /// The expression and the names of its groups.
    pub(super) fn finish(self) -> Result<(Hir, Vec<Option<String>>), RegexError> {
        if !self.frames.is_empty() {
            return Err(Code::MissingParen.at(self.whole));
        }
        let node = self.top.finish();
        if node.height > MAX_HEIGHT {
            return Err(Code::NestingDepth.at(self.whole));
        }
        Ok((node.hir, self.names))
    }
}
