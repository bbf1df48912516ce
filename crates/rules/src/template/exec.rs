//! Runs a template: walks its tree and writes. Source: Go's `text/template/exec.go`.

use std::fmt::Display;

use firesteel_model::{Timestamp, float::go_quote};

use super::{
    Query,
    ast::{Action, Branch, Command, Invocation, List, Node, Operand, Pipe},
    format,
    limits::{Budget, MAX_LEVELS},
    parser::Trees,
    value::Value,
};

/// What functions see of the world.
pub(super) struct Environment<'a> {
    pub(super) at: Timestamp,
    pub(super) external_url: &'a str,
    pub(super) query: &'a dyn Query,
}

/// Where an expansion is; errors name it.
#[derive(Clone, Copy)]
pub(super) enum Place<'t> {
    Start,
    Action(&'t Action),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
    Invocation(&'t Invocation),
}

impl<'t> Place<'t> {
    /// Byte offset and text.
    fn describe(self) -> Option<(usize, &'t dyn Display)> {
        match self {
            Self::Start => None,
            Self::Action(node) => Some((node.pos, node)),
            Self::Pipe(node) => Some((node.pos, node)),
            Self::Command(node) => Some((node.pos, node)),
            Self::Operand(node) => Some((node.pos, node)),
            Self::Invocation(node) => Some((node.pos, node)),
        }
    }
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) type Executed<T> = Result<T, String>;

/// An expansion under way.
pub(super) struct Execution<'t, 'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) budget: Budget,
    /// The name that the text was parsed under.
    name: &'t str,
    text: &'t str,
    trees: &'t Trees,
    /// The name of the template that runs.
    running: &'t str,
    place: Place<'t>,
    variables: Vec<(&'t str, Value)>,
    depth: usize,
    /// Lists and pipelines that are under way, for the stack's sake.
    levels: usize,
    out: String,
}

/// Expands the template `name` of `trees`.
///
/// # Errors
/// Go's message.
pub(super) fn execute(
    (name, text, trees): (&str, &str, &Trees),
    data: Value,
    environment: &Environment<'_>,
    budget: Budget,
) -> Executed<String> {
    let mut execution = Execution {
        environment,
        budget,
        name,
        text,
        trees,
        running: name,
        place: Place::Start,
        variables: vec![("$", data.clone())],
        depth: 0,
        levels: 0,
        out: String::new(),
    };
    let Some(root) = trees.get(name) else {
        return execution
            .error(format_args!("{} is an incomplete or empty template", go_quote(name)));
    };
    execution.walk(&data, root)?;
    Ok(execution.out)
}

impl<'t> Execution<'t, '_> {
    pub(super) const fn at(&mut self, place: Place<'t>) {
        self.place = place;
    }

    /// An error at the present place.
    pub(super) fn error<T>(&self, message: impl Display) -> Executed<T> {
        let Some((pos, node)) = self.place.describe() else {
            return Err(format!("template: {}: {message}", self.running));
        };
        let before = self.text.get(..pos).unwrap_or_default();
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        let column = before.rfind('\n').map_or(pos, |newline| pos - newline - 1);
        let running = go_quote(self.running);
        Err(format!(
            "template: {}:{line}:{column}: executing {running} at <{node}>: {message}",
            self.name
        ))
    }

    pub(super) fn step(&mut self) -> Executed<()> {
        self.budget.step().or_else(|message| self.error(message))
    }

    pub(super) fn variable(&self, name: &str) -> Executed<Value> {
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.error(format_args!("undefined variable: {name}")),
        }
    }

    pub(super) fn declare(&mut self, name: &'t str, value: Value) {
        self.variables.push((name, value));
    }

    pub(super) fn assign(&mut self, name: &str, value: Value) -> Executed<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, variable)) => {
                *variable = value;
                Ok(())
            }
            None => self.error(format_args!("undefined variable: {name}")),
        }
    }

    fn write(&mut self, text: &str) -> Executed<()> {
        let limit = self.budget.limits().output_bytes;
        if self.out.len() + text.len() > limit {
            return self.error(format_args!("writes more than {limit} bytes"));
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Goes one level deeper while `inner` runs.
    pub(super) fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Executed<T>,
    ) -> Executed<T> {
        if self.levels >= MAX_LEVELS {
            return self.error(format_args!("nested more than {MAX_LEVELS} levels deep"));
        }
        self.levels += 1;
        let done = inner(self)?;
        self.levels -= 1;
        Ok(done)
    }

    fn walk(&mut self, dot: &Value, list: &'t List) -> Executed<Flow> {
        self.nested(|execution| execution.walk_nodes(dot, list))
    }

    fn walk_nodes(&mut self, dot: &Value, list: &'t List) -> Executed<Flow> {
        for node in &list.nodes {
            self.step()?;
            let flow = match node {
                Node::Text(text) => {
                    self.write(text)?;
                    Flow::Next
                }
                Node::Action(action) => {
                    self.walk_action(dot, action)?;
                    Flow::Next
                }
                Node::If(branch) => self.walk_branch(dot, branch, false)?,
                Node::With(branch) => self.walk_branch(dot, branch, true)?,
                Node::Range(branch) => self.walk_range(dot, branch)?,
                Node::Template(invocation) => {
                    self.walk_template(dot, invocation)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn walk_action(&mut self, dot: &Value, action: &'t Action) -> Executed<()> {
        self.at(Place::Action(action));
        let value = self.pipeline(dot, &action.pipe)?;
        if action.pipe.declared.is_empty() {
            self.at(Place::Action(action));
            let room = self.budget.limits().output_bytes.saturating_sub(self.out.len());
            let text = format::print(&[format::printable(value)], room);
            let text = text.or_else(|message| self.error(message))?;
            self.write(&text)?;
        }
        Ok(())
    }

    /// `if` and `with`, which differ in the dot.
    fn walk_branch(&mut self, dot: &Value, branch: &'t Branch, with: bool) -> Executed<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = match (value.truth(), &branch.otherwise) {
            (true, _) if with => self.walk(&value, &branch.list)?,
            (true, _) => self.walk(dot, &branch.list)?,
            (false, Some(otherwise)) => self.walk(dot, otherwise)?,
            (false, None) => Flow::Next,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn walk_range(&mut self, dot: &Value, range: &'t Branch) -> Executed<Flow> {
        let outer = self.variables.len();
        let (value, _) = self.pipeline(dot, &range.pipe)?.indirect();
        let any = match &value {
            Value::Vector(vector) => {
                let mut index = 0;
                while let Some(sample) = vector.get(index) {
                    if self.iteration(range, Value::int(index as i64), sample.into())? {
                        break;
                    }
                    index += 1;
                }
                vector.len() > 0
            }
            Value::Labels(labels) => {
                for (name, value) in labels {
                    if self.iteration(range, name.into(), value.into())? {
                        break;
                    }
                }
                !labels.is_empty()
            }
            Value::Map(map) => {
                for (name, value) in map.iter() {
                    if self.iteration(range, name.as_str().into(), value.clone())? {
                        break;
                    }
                }
                !map.is_empty()
            }
            Value::Int(count, kind) => {
                if range.pipe.declared.len() > 1 {
                    let value = format::plain(&value);
                    return self.error(format_args!(
                        "can't use {value} to iterate over more than one variable"
                    ));
                }
                for i in 0..*count {
                    if self.iteration(range, Value::None, Value::Int(i, *kind))? {
                        break;
                    }
                }
                *count > 0
            }
            Value::None | Value::NilInterface => false,
            value => {
                let value = format::plain(value);
                return self.error(format_args!("range can't iterate over {value}"));
            }
        };
        let flow = match &range.otherwise {
            Some(otherwise) if !any => self.walk(dot, otherwise)?,
            _ => Flow::Next,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    /// One round of a loop; `true` if it was the last by its own will.
    fn iteration(&mut self, range: &'t Branch, index: Value, element: Value) -> Executed<bool> {
        self.step()?;
        let mark = self.variables.len();
        let declared = &range.pipe.declared;
        let mut values = match declared.len() {
            0 => Vec::new(),
            1 => vec![element.clone()],
            _ => vec![index, element.clone()],
        };
        if range.pipe.assign {
            for (name, value) in declared.iter().zip(values.drain(..)) {
                self.assign(name, value)?;
            }
        } else {
            // The pipeline has declared them just below the mark.
            let from = mark - values.len().min(mark);
            for (slot, value) in self.variables[from..].iter_mut().zip(values.drain(..)) {
                slot.1 = value;
            }
        }
        let flow = self.walk(&element, &range.list)?;
        self.variables.truncate(mark);
        Ok(flow == Flow::Break)
    }

    fn walk_template(&mut self, dot: &Value, invocation: &'t Invocation) -> Executed<()> {
        self.at(Place::Invocation(invocation));
        let trees = self.trees;
        let Some((name, list)) = trees.get_key_value(&invocation.name) else {
            let name = go_quote(&invocation.name);
            return self.error(format_args!("template {name} not defined"));
        };
        let limit = self.budget.limits().depth;
        if self.depth >= limit {
            return self.error(format_args!("exceeded maximum template depth ({limit})"));
        }
        let dot = match &invocation.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::None,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let caller = std::mem::replace(&mut self.running, name);
        self.depth += 1;
        self.walk(&dot, list)?;
        self.depth -= 1;
        self.running = caller;
        self.variables = outer;
        Ok(())
    }
}
