//! Maps, slices and structs.

use super::{super::value::Value, printer::Printer};
use crate::template::methods;

impl Printer {
    /// A value that is made of others.
    pub(super) fn composite(&mut self, value: &Value, verb: char, depth: usize) {
        let go = self.flags.sharp_v;
        if go {
            self.out.push_str(&value.type_name());
        }
        match value {
            Value::Labels(labels) => {
                let elements = labels.iter().map(|(name, value)| (name.into(), value.into()));
                self.map(elements, verb, depth);
            }
            Value::Map(map) => {
                let elements =
                    map.iter().map(|(name, value)| (name.as_str().into(), value.clone()));
                self.map(elements, verb, depth);
            }
            Value::Vector(vector) => {
                let elements = (0..vector.len()).filter_map(|i| vector.get(i)).map(Value::from);
                self.slice(elements, verb, depth);
            }
            Value::Time(time) => {
                // Nanoseconds, seconds since the year 1, and no zone.
                let seconds = time.seconds.saturating_add(62_135_596_800);
                let (nanos, seconds) = (Value::int(time.nanos.into()), Value::int(seconds));
                self.out.push('{');
                for (i, part) in [nanos, seconds, Value::int(0)].iter().enumerate() {
                    self.out.push_str(if i > 0 { " " } else { "" });
                    self.value(part, verb, depth + 1);
                }
                self.out.push('}');
            }
            value => self.fields(value, verb, depth),
        }
    }

    fn map(&mut self, elements: impl Iterator<Item = (Value, Value)>, verb: char, depth: usize) {
        let go = self.flags.sharp_v;
        self.out.push_str(if go { "{" } else { "map[" });
        for (i, (key, value)) in elements.enumerate() {
            if i > 0 {
                self.out.push_str(if go { ", " } else { " " });
            }
            self.value(&key, verb, depth + 1);
            self.out.push(':');
            self.value(&value, verb, depth + 1);
            if self.full() {
                return;
            }
        }
        self.out.push(if go { '}' } else { ']' });
    }

    fn slice(&mut self, elements: impl Iterator<Item = Value>, verb: char, depth: usize) {
        let go = self.flags.sharp_v;
        self.out.push(if go { '{' } else { '[' });
        for (i, element) in elements.enumerate() {
            if i > 0 {
                self.out.push_str(if go { ", " } else { " " });
            }
            self.value(&element, verb, depth + 1);
            if self.full() {
                return;
            }
        }
        self.out.push(if go { '}' } else { ']' });
    }

    fn fields(&mut self, value: &Value, verb: char, depth: usize) {
        let go = self.flags.sharp_v;
        self.out.push('{');
        for (i, name) in methods::field_names(value).iter().enumerate() {
            if i > 0 {
                self.out.push_str(if go { ", " } else { " " });
            }
            if go || self.flags.plus_v {
                self.out.push_str(name);
                self.out.push(':');
            }
            let field = methods::field(value, name).unwrap_or(Value::None);
            self.value(&field, verb, depth + 1);
        }
        self.out.push('}');
    }
}
