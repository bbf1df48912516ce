//! Evaluates pipelines, commands and operands. Source: Go's `text/template/exec.go`.

use firesteel_model::float::go_quote;

use super::{
    ast::{Command, Operand, OperandKind, Pipe},
    exec::{Executed, Execution, Place},
    functions, methods,
    number::Number,
    signature::{self, Parameter, Signature},
    value::{IntType, StringType, Value},
};

impl<'t> Execution<'t, '_> {
    /// The value of a pipeline; declares or sets its variables.
    pub(super) fn pipeline(&mut self, dot: &Value, pipe: &'t Pipe) -> Executed<Value> {
        self.at(Place::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            self.step()?;
            let last = value.take();
            let result = self.nested(|execution| execution.command(dot, command, last))?;
            value = Some(result.out_of_interface());
        }
        let value = value.unwrap_or(Value::None);
        for name in &pipe.declared {
            match pipe.assign {
                true => self.assign(name, value.clone())?,
                false => self.declare(name, value.clone()),
            }
        }
        Ok(value)
    }

    fn not_a_function(&self, operands: &[Operand], last: Option<&Value>) -> Executed<()> {
        match operands {
            [first, rest @ ..] if !rest.is_empty() || last.is_some() => match &first.kind {
                OperandKind::Pipe(pipe) => {
                    self.error(format_args!("can't give argument to non-function {pipe}"))
                }
                _ => self.error(format_args!("can't give argument to non-function {first}")),
            },
            _ => Ok(()),
        }
    }

    /// A command, with the value that comes down the pipeline as its last argument.
    fn command(
        &mut self,
        dot: &Value,
        command: &'t Command,
        last: Option<Value>,
    ) -> Executed<Value> {
        let operands = &command.operands;
        let Some(first) = operands.first() else { return Ok(Value::None) };
        let arguments = operands.get(1..).unwrap_or_default();
        match &first.kind {
            OperandKind::Field(names) => {
                self.at(Place::Operand(first));
                self.chain(dot, dot.clone(), first, names, arguments, last)
            }
            OperandKind::Chain(inner, names) => {
                let receiver = self.chain_receiver(dot, first, inner)?;
                self.chain(dot, receiver, first, names, arguments, last)
            }
            OperandKind::Identifier(name) => {
                self.at(Place::Operand(first));
                self.function(dot, name, Place::Command(command), arguments, last)
            }
            OperandKind::Pipe(pipe) => {
                self.not_a_function(operands, last.as_ref())?;
                self.pipeline(dot, pipe)
            }
            OperandKind::Variable(names) => {
                self.at(Place::Operand(first));
                let (variable, names) = self.split_variable(names)?;
                if names.is_empty() {
                    self.not_a_function(operands, last.as_ref())?;
                    return Ok(variable);
                }
                self.chain(dot, variable, first, names, arguments, last)
            }
            constant => {
                self.at(Place::Operand(first));
                self.not_a_function(operands, last.as_ref())?;
                match constant {
                    OperandKind::Nil => self.error("nil is not a command"),
                    _ => self.constant(dot, first),
                }
            }
        }
    }

    fn split_variable(&self, names: &'t [String]) -> Executed<(Value, &'t [String])> {
        match names.split_first() {
            Some((name, fields)) => Ok((self.variable(name)?, fields)),
            None => Ok((Value::None, names)),
        }
    }

    fn chain_receiver(
        &mut self,
        dot: &Value,
        chain: &'t Operand,
        inner: &'t Operand,
    ) -> Executed<Value> {
        self.at(Place::Operand(chain));
        if matches!(inner.kind, OperandKind::Nil) {
            return self.error(format_args!("indirection through explicit nil in {chain}"));
        }
        self.operand(dot, inner)
    }

    /// The value of what is written down, where nothing says which type is wanted.
    fn constant(&self, dot: &Value, operand: &Operand) -> Executed<Value> {
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::String(_, text) => Ok(text.as_str().into()),
            OperandKind::Number(number) => self.ideal(number),
            _ => self.error(format_args!(
                "can't handle assignment of {operand} to empty interface argument"
            )),
        }
    }

    fn ideal(&self, number: &Number) -> Executed<Value> {
        match number {
            number if number.looks_like_float() => {
                Ok(Value::Float(number.float.unwrap_or_default()))
            }
            Number { int: Some(int), .. } => Ok(Value::int(*int)),
            number => self.error(format_args!("{} overflows int", number.text)),
        }
    }

    /// Any operand, as it is: its value without arguments.
    fn operand(&mut self, dot: &Value, operand: &'t Operand) -> Executed<Value> {
        self.at(Place::Operand(operand));
        match &operand.kind {
            OperandKind::Field(names) => self.chain(dot, dot.clone(), operand, names, &[], None),
            OperandKind::Variable(names) => {
                let (variable, names) = self.split_variable(names)?;
                match names.is_empty() {
                    true => Ok(variable),
                    false => self.chain(dot, variable, operand, names, &[], None),
                }
            }
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
            OperandKind::Identifier(name) => {
                self.function(dot, name, Place::Operand(operand), &[], None)
            }
            OperandKind::Chain(inner, names) => {
                let receiver = self.chain_receiver(dot, operand, inner)?;
                self.chain(dot, receiver, operand, names, &[], None)
            }
            _ => self.constant(dot, operand),
        }
    }

    /// `.a.b.c`; arguments go to the last, which then is a method.
    fn chain(
        &mut self,
        dot: &Value,
        mut receiver: Value,
        place: &'t Operand,
        names: &'t [String],
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Executed<Value> {
        let Some((name, path)) = names.split_last() else { return Ok(receiver) };
        for name in path {
            receiver = self.field(dot, receiver, place, name, &[], None)?;
        }
        self.field(dot, receiver, place, name, arguments, last)
    }

    /// A method, a field of a struct or an element of a map.
    fn field(
        &mut self,
        dot: &Value,
        receiver: Value,
        place: &'t Operand,
        name: &'t str,
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Executed<Value> {
        if matches!(receiver, Value::None) {
            return Ok(Value::None);
        }
        let type_name = receiver.type_name();
        let (target, nothing) = receiver.indirect();
        if nothing {
            return self.error(format_args!("nil pointer evaluating {type_name}.{name}"));
        }
        if let Some(method) = methods::find(&target, name) {
            let results = method.results;
            let call = |_: &mut Self, values: &[Value]| methods::call(&target, name, values);
            let takes = Signature { fixed: method.takes, rest: None };
            let place = Place::Operand(place);
            return self.call(dot, name, (takes, results), place, arguments, last, call);
        }
        let given = !arguments.is_empty() || last.is_some();
        match (&target, methods::field(&target, name)) {
            (Value::Labels(_) | Value::Map(_), _) if given => {
                self.error(format_args!("{name} is not a method but has arguments"))
            }
            (_, Some(_)) if given => {
                self.error(format_args!("{name} has arguments but cannot be invoked as function"))
            }
            (_, Some(value)) => Ok(value),
            // A missing key is the zero of the map's elements.
            (Value::Labels(_), None) => Ok("".into()),
            (Value::Map(_), None) => Ok(Value::NilInterface),
            _ => self.error(format_args!("can't evaluate field {name} in type {type_name}")),
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        name: &'t str,
        place: Place<'t>,
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Executed<Value> {
        let Some(takes) = signature::of(name) else {
            return self.error(format_args!("{} is not a defined function", go_quote(name)));
        };
        let first = arguments.first().map(|argument| match &argument.kind {
            OperandKind::Pipe(pipe) => pipe.to_string(),
            _ => argument.to_string(),
        });
        let call = move |execution: &mut Self, values: &[Value]| {
            functions::call(execution, name, values, first.as_deref())
        };
        self.call(dot, name, (takes, 1), place, arguments, last, call)
    }

    /// Evaluates arguments, checks them and calls.
    fn call(
        &mut self,
        dot: &Value,
        name: &str,
        (takes, results): (Signature, usize),
        place: Place<'t>,
        arguments: &'t [Operand],
        last: Option<Value>,
        call: impl FnOnce(&mut Self, &[Value]) -> Result<Value, String>,
    ) -> Executed<Value> {
        let count = arguments.len() + usize::from(last.is_some());
        let fixed = takes.fixed.len();
        if takes.rest.is_some() && count < fixed {
            return self.error(format_args!(
                "wrong number of args for {name}: want at least {fixed} got {}",
                arguments.len()
            ));
        }
        if takes.rest.is_none() && count != fixed {
            return self
                .error(format_args!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        if results != 1 {
            return self.error(match results {
                2 => format!(
                    "invalid function signature for {name}: second return value should be error; \
                     is {}",
                    methods::SECOND_RESULT
                ),
                n => format!("function {name} has {n} return values; should be 1 or 2"),
            });
        }
        if matches!(name, "and" | "or") {
            return self.logic(dot, name == "or", arguments, last);
        }
        let parameter = |i: usize| takes.fixed.get(i).copied().or(takes.rest);
        let mut values = Vec::with_capacity(count);
        for (i, argument) in arguments.iter().enumerate() {
            let wanted = parameter(i).unwrap_or(Parameter::Any);
            values.push(self.argument(dot, wanted, argument)?);
        }
        if let Some(last) = last {
            let wanted = parameter(values.len()).unwrap_or(Parameter::Any);
            values.push(self.check_type(last, wanted)?);
        }
        match call(self, &values) {
            Ok(value) => Ok(value),
            Err(message) => {
                self.at(place);
                self.error(format_args!("error calling {name}: {message}"))
            }
        }
    }

    /// `and` and `or`: arguments are evaluated up to the one that decides.
    fn logic(
        &mut self,
        dot: &Value,
        or: bool,
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Executed<Value> {
        let mut value = Value::None;
        for argument in arguments {
            value = self.argument(dot, Parameter::Raw, argument)?;
            if value.truth() == or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// An argument for a parameter.
    fn argument(
        &mut self,
        dot: &Value,
        wanted: Parameter,
        operand: &'t Operand,
    ) -> Executed<Value> {
        self.at(Place::Operand(operand));
        match (&operand.kind, wanted) {
            (OperandKind::Dot, _) => self.check_type(dot.clone(), wanted),
            (
                OperandKind::Nil,
                Parameter::Any | Parameter::Raw | Parameter::Vector | Parameter::Sample,
            ) => Ok(Value::None),
            (OperandKind::Nil, _) => {
                self.error(format_args!("cannot assign nil to {}", wanted.name()))
            }
            (
                OperandKind::Field(_)
                | OperandKind::Variable(_)
                | OperandKind::Pipe(_)
                | OperandKind::Identifier(_)
                | OperandKind::Chain(..),
                _,
            ) => {
                let value = self.operand(dot, operand)?;
                self.check_type(value, wanted)
            }
            (_, Parameter::Any | Parameter::Raw) => self.constant(dot, operand),
            (kind, Parameter::String) => match kind {
                OperandKind::String(_, text) => Ok(text.as_str().into()),
                _ => self.error(format_args!("expected string; found {operand}")),
            },
            (kind, Parameter::Int | Parameter::Duration) => match kind {
                OperandKind::Number(Number { int: Some(int), .. }) => Ok(Value::Int(
                    *int,
                    match wanted {
                        Parameter::Duration => IntType::Duration,
                        _ => IntType::Int,
                    },
                )),
                _ => self.error(format_args!("expected integer; found {operand}")),
            },
            (_, Parameter::Vector | Parameter::Sample | Parameter::Time) => {
                self.error(format_args!("can't handle {operand} for arg of type {}", wanted.name()))
            }
        }
    }

    /// A value that came from elsewhere, for a parameter.
    fn check_type(&self, value: Value, wanted: Parameter) -> Executed<Value> {
        let value = match (value, wanted) {
            (value, Parameter::Any | Parameter::Raw) => return Ok(value.out_of_interface()),
            (Value::None, Parameter::Vector | Parameter::Sample) => return Ok(Value::None),
            (Value::None, _) => {
                return self.error(format_args!("invalid value; expected {}", wanted.name()));
            }
            (Value::Interface(value), _) => *value,
            (value, _) => value,
        };
        match (value, wanted) {
            (Value::Pointer(target), wanted) if fits(&target, wanted) => Ok(*target),
            (value, wanted) if fits(&value, wanted) => Ok(value),
            (value, wanted) => self.error(format_args!(
                "wrong type for value; expected {}; got {}",
                wanted.name(),
                value.type_name()
            )),
        }
    }
}

/// Whether Go lets a value be given for a parameter.
fn fits(value: &Value, wanted: Parameter) -> bool {
    match wanted {
        Parameter::Any | Parameter::Raw => true,
        Parameter::String => matches!(value, Value::String(_, StringType::Plain)),
        Parameter::Vector => matches!(value, Value::Vector(_)),
        Parameter::Sample => {
            matches!(value, Value::Pointer(target) if matches!(**target, Value::Sample(_)))
        }
        Parameter::Time => matches!(value, Value::Time(_)),
        Parameter::Duration => matches!(value, Value::Int(_, IntType::Duration)),
        Parameter::Int => matches!(value, Value::Int(_, IntType::Int)),
    }
}
