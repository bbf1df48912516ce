//! Flags, padding, and the choice of how a value prints.

use super::{
    super::{
        methods::string_method,
        value::{IntType, Value},
    },
    float, integer, text,
};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`
    pub(super) plus_v: bool,
    /// `%#v`
    pub(super) sharp_v: bool,
}

/// A text that grows.
pub(super) struct Printer {
    pub(super) out: String,
    pub(super) flags: Flags,
    limit: usize,
    /// While a mistake is printed, methods are left alone.
    erring: bool,
}

/// An address as pointers print it. Go's differ from run to run.
const ADDRESS: i64 = 0x00c0_0000_0000;

impl Printer {
    pub(super) fn new(limit: usize) -> Self {
        Self { out: String::new(), flags: Flags::default(), limit, erring: false }
    }

    /// Whether the text has kept its bound.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.out.len() <= self.limit {
            true => Ok(()),
            false => Err(format!("makes texts of more than {} bytes", self.limit)),
        }
    }

    /// Whether there is room; what does not fit is left out, and [`Printer::check`] fails.
    pub(super) fn full(&self) -> bool {
        self.out.len() > self.limit
    }

    fn fill(&mut self, count: usize, zeros: bool) {
        let c = if zeros { '0' } else { ' ' };
        self.out.extend(std::iter::repeat_n(c, count));
    }

    /// Appends `text`, filled up to the width.
    pub(super) fn pad(&mut self, text: &str) {
        let length = text.chars().count();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.push_str(text);
            self.fill(missing, false);
        } else {
            self.fill(missing, self.flags.zero);
            self.out.push_str(text);
        }
    }

    /// [`Printer::pad`], never with zeros.
    pub(super) fn pad_with_spaces(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    /// Fills with zeros between the sign and the rest of a number.
    pub(super) fn pad_after_sign(&mut self, number: &str) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(number.len());
        let (sign, digits) = number.split_at(1.min(number.len()));
        self.out.push_str(sign);
        self.fill(missing, true);
        self.out.push_str(digits);
    }

    /// `%!d(string=x)`
    pub(super) fn bad_verb(&mut self, value: &Value, verb: char) {
        self.erring = true;
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        match value {
            Value::None => self.out.push_str("<nil>"),
            value => {
                self.out.push_str(&value.type_name());
                self.out.push('=');
                self.argument(value, 'v');
            }
        }
        self.out.push(')');
        self.erring = false;
    }

    /// An operand of `Sprintf`.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::None | Value::NilInterface, 'T' | 'v') => self.pad_with_flags("<nil>"),
            (Value::None | Value::NilInterface, verb) => self.bad_verb(&Value::None, verb),
            (value, 'T') => text::string(self, &value.type_name(), 's', value),
            (value @ (Value::Pointer(_) | Value::Labels(_) | Value::Map(_) | Value::Vector(_)), 'p') => {
                self.pointer(value, 'p');
            }
            (value, 'p') => self.bad_verb(value, 'p'),
            (value, verb) => self.value(value, verb, 0),
        }
    }

    fn pad_with_flags(&mut self, text: &str) {
        self.pad(text);
    }

    /// A value at a depth within maps, slices and structs.
    pub(super) fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if self.full() || self.by_method(value, verb) {
            return;
        }
        match value {
            Value::None => self.out.push_str("<nil>"),
            Value::NilInterface if self.flags.sharp_v => self.out.push_str("interface {}(nil)"),
            Value::NilInterface => self.out.push_str("<nil>"),
            Value::Interface(inner) => self.value(inner, verb, depth + 1),
            Value::Bool(b) if matches!(verb, 't' | 'v') => {
                self.pad(if *b { "true" } else { "false" });
            }
            Value::Bool(_) => self.bad_verb(value, verb),
            Value::Int(n, kind) => integer::print(self, *n, *kind == IntType::Byte, verb, value),
            Value::Float(v) => float::print(self, *v, verb, value),
            Value::String(s, _) => text::string(self, s, verb, value),
            Value::Pointer(target) => match (&**target, depth) {
                (
                    Value::Sample(_)
                    | Value::Data(_)
                    | Value::Labels(_)
                    | Value::Map(_)
                    | Value::Vector(_)
                    | Value::Histogram(_)
                    | Value::Time(_),
                    0,
                ) => {
                    self.out.push('&');
                    self.value(target, verb, depth + 1);
                }
                _ => self.pointer(value, verb),
            },
            composite => self.composite(composite, verb, depth),
        }
    }

    /// Prints by the value's own method, if it has one and the verb asks for text.
    fn by_method(&mut self, value: &Value, verb: char) -> bool {
        if self.erring {
            return false;
        }
        if self.flags.sharp_v {
            let time = match value {
                Value::Time(time) => Some(time),
                Value::Pointer(target) => match &**target {
                    Value::Time(time) => Some(time),
                    _ => None,
                },
                _ => None,
            };
            if let Some(time) = time {
                let written = time.go_string();
                text::plain(self, &written);
            }
            return time.is_some();
        }
        if !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return false;
        }
        let Some(written) = string_method(value) else { return false };
        text::string(self, &written, verb, value);
        true
    }

    fn pointer(&mut self, value: &Value, verb: char) {
        let sharp = self.flags.sharp;
        match verb {
            'v' => self.out.push_str(&format!("0x{ADDRESS:x}")),
            'p' if sharp => self.out.push_str(&format!("{ADDRESS:x}")),
            'p' => self.pad(&format!("0x{ADDRESS:x}")),
            'b' | 'o' | 'd' | 'x' | 'X' => integer::print(self, ADDRESS, false, verb, value),
            _ => self.bad_verb(value, verb),
        }
    }
}
