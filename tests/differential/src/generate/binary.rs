//! Operations on two operands.

use super::{Generator, quoted_name};
use crate::{
    data::Shape,
    tree::{Kind, Node, Part},
};

const ARITHMETIC: [&str; 10] = ["+", "-", "*", "/", "%", "^", "atan2", "+", "-", "/"];
const COMPARISON: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];
const SETS: [&str; 3] = ["and", "or", "unless"];

fn operation(
    kind: Kind,
    op: &'static str,
    left: Node,
    modifiers: Vec<(&'static str, String)>,
    right: Node,
) -> Node {
    let mut parts = vec![Part::Child(left), Part::Text(format!(" {op} "))];
    parts.extend(modifiers.into_iter().map(|(name, text)| Part::Optional(name, text)));
    parts.push(Part::Child(right));
    Node { kind, name: op, parts }
}

impl Generator<'_> {
    /// An operand: in parentheses if it is an operation itself, mostly.
    fn operand(&mut self, node: Node) -> Node {
        let operation = matches!(node.name, "and" | "or" | "unless" | "atan2" | "unary")
            || !node.name.starts_with(|c: char| c.is_ascii_alphabetic());
        if operation && self.chance(0.85) { self.parenthesized(node) } else { node }
    }

    pub(super) fn scalars(&mut self, depth: usize) -> Node {
        let (left, right) = (self.scalar(depth), self.scalar(depth));
        let (left, right) = (self.operand(left), self.operand(right));
        if self.chance(0.3) {
            let op = *self.pick(&COMPARISON);
            let mut node = operation(Kind::Scalar, op, left, Vec::new(), right);
            // Required here.
            node.parts.insert(2, Part::Text("bool ".to_owned()));
            return node;
        }
        let operator: &str = self.pick::<&str>(&ARITHMETIC);
        operation(Kind::Scalar, operator, left, Vec::new(), right)
    }

    pub(super) fn vector_and_scalar(&mut self, depth: usize) -> Node {
        let comparison = self.chance(0.3);
        let native = self.focused().shape == Shape::Native && self.chance(0.5);
        let vector = if native { self.vector(depth) } else { self.floats(depth) };
        let scalar = match self.rng.u8(0..8) {
            0..2 => self.scalar(depth.min(1)),
            2..4 if !comparison => self.number(),
            _ => self.near(),
        };
        let (vector, scalar) = (self.operand(vector), self.operand(scalar));
        let mut modifiers = Vec::new();
        let op = if comparison {
            if self.chance(0.5) {
                modifiers.push(("bool", "bool ".to_owned()));
            }
            *self.pick(&COMPARISON)
        } else if native {
            *self.pick(&["*", "/"])
        } else {
            *self.pick(&ARITHMETIC)
        };
        if self.chance(0.3) && !native {
            return operation(Kind::Vector, op, scalar, modifiers, vector);
        }
        operation(Kind::Vector, op, vector, modifiers, scalar)
    }

    pub(super) fn vectors(&mut self, depth: usize) -> Node {
        if self.chance(0.25) {
            return self.grouped(depth);
        }
        let native = self.focused().shape == Shape::Native && self.chance(0.4);
        let left = if native { self.vector(depth) } else { self.floats(depth) };
        let mut modifiers = Vec::new();
        let op = match self.weighted(&[5, 3, 4]) {
            0 if native => *self.pick(&["+", "-"]),
            0 => *self.pick(&ARITHMETIC),
            1 => {
                if self.chance(0.6) {
                    modifiers.push(("bool", "bool ".to_owned()));
                }
                if native { *self.pick(&["==", "!="]) } else { *self.pick(&COMPARISON) }
            }
            _ => *self.pick(&SETS),
        };
        let set = SETS.contains(&op);
        let right = match self.rng.u8(0..10) {
            0..7 => self.partner(&left, native),
            7 if op != "unless" => left.clone(),
            _ => self.vector(depth),
        };
        let (left, right) = (self.operand(left), self.operand(right));
        if self.chance(if set { 0.4 } else { 0.2 }) {
            let labels = self.label_list();
            let word = if self.chance(0.4) { "on" } else { "ignoring" };
            modifiers.push((word, format!("{word} ({labels}) ")));
            if !set && self.chance(0.4) {
                let side = *self.pick(&["group_left", "group_right"]);
                let include = *self.pick(&["", "job", "code", "env"]);
                modifiers.push((side, format!("{side} ({include}) ")));
            }
        }
        operation(Kind::Vector, op, left, modifiers, right)
    }

    /// Something like `left` with the same labels and other values, or fewer series.
    fn partner(&mut self, left: &Node, native: bool) -> Node {
        let inner = left.clone();
        match self.rng.u8(0..5) {
            0 => Node::call(Kind::Vector, "timestamp", vec![inner]),
            1 if !native => Node::call(Kind::Vector, "abs", vec![inner]),
            2 if !native => {
                let (inner, near) = (self.operand(inner), self.near());
                operation(Kind::Vector, ">=", inner, Vec::new(), near)
            }
            3 => {
                let ratio = Node::leaf(Kind::Scalar, "number", "0.5");
                Node::call(Kind::Vector, "limit_ratio", vec![ratio, inner])
            }
            _ => {
                let inner = self.operand(inner);
                let factor = Node::leaf(Kind::Scalar, "number", "2");
                operation(Kind::Vector, "*", inner, Vec::new(), factor)
            }
        }
    }

    /// Many series and one by a label of the many: what joins look like.
    fn grouped(&mut self, depth: usize) -> Node {
        let family = self.focused();
        let labels: Vec<_> = family.series[0].labels.iter().map(|(name, _)| name).collect();
        let by: Vec<String> =
            labels.iter().filter(|n| **n != "__name__").map(|n| quoted_name(n)).collect();
        let by = self.pick(&by).clone();
        // What keeps the label, mostly.
        let kept = |g: &mut Self| match g.rng.u8(0..10) {
            0..3 => g.floats(depth),
            3..6 => g.floats(0),
            _ => {
                let name: &str = g.pick::<&str>(&["count_over_time", "changes", "last_over_time"]);
                let matrix = g.matrix(0);
                Node::call(Kind::Vector, name, vec![matrix])
            }
        };
        let many = kept(self);
        let many = self.operand(many);
        let one = kept(self);
        let name = *self.pick(&["sum", "max", "count", "avg"]);
        let mut aggregate = Node::call(Kind::Vector, name, vec![one]);
        aggregate.parts[0] = Part::Text(format!("{name} by ({by}) ("));
        let right = self.rng.bool();
        let side = if right { "group_right" } else { "group_left" };
        let comparison = self.chance(0.3);
        let op = if comparison { *self.pick(&COMPARISON) } else { *self.pick(&ARITHMETIC) };
        let mut modifiers = Vec::new();
        if comparison && self.chance(0.7) {
            modifiers.push(("bool", "bool ".to_owned()));
        }
        modifiers.push(("on", format!("on ({by}) ")));
        modifiers.push((side, format!("{side} () ")));
        if right {
            operation(Kind::Vector, op, aggregate, modifiers, many)
        } else {
            operation(Kind::Vector, op, many, modifiers, aggregate)
        }
    }
}
