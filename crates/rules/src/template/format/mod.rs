//! Go's package `fmt` for the values of templates: `Sprint`, `Sprintln` and `Sprintf`.

mod float;
mod integer;
mod printer;
mod printf;
mod text;
mod value;

use super::value::Value;
use printer::Printer;
pub(super) use printf::printf;

/// What a template writes for a value: pointers lead to what they point to, nothing is
/// `<no value>`.
pub(super) fn printable(value: Value) -> Value {
    let value = match value {
        Value::Pointer(_) => value.indirect().0,
        value => value,
    };
    match value {
        Value::None => "<no value>".into(),
        // A histogram prints by a method of its pointer.
        Value::Histogram(_) => Value::pointer(value),
        value => value.out_of_interface(),
    }
}

/// Go's `Sprint`: spaces between operands of which neither is a string.
///
/// # Errors
/// More than `limit` bytes.
pub(super) fn print(values: &[Value], limit: usize) -> Result<String, String> {
    let mut printer = Printer::new(limit);
    let is_string = |value: &Value| matches!(value, Value::String(..));
    for (i, value) in values.iter().enumerate() {
        let between = i > 0 && !is_string(value) && !values.get(i - 1).is_some_and(is_string);
        if between {
            printer.out.push(' ');
        }
        printer.argument(value, 'v');
        printer.check()?;
    }
    Ok(printer.out)
}

/// Go's `Sprintln`: spaces between all operands, and a newline.
///
/// # Errors
/// More than `limit` bytes.
pub(super) fn println(values: &[Value], limit: usize) -> Result<String, String> {
    let mut printer = Printer::new(limit);
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            printer.out.push(' ');
        }
        printer.argument(value, 'v');
        printer.check()?;
    }
    printer.out.push('\n');
    Ok(printer.out)
}

/// A value as `%v`, for errors.
pub(super) fn plain(value: &Value) -> String {
    let mut printer = Printer::new(1 << 16);
    printer.argument(value, 'v');
    printer.out
}

/// A float as `%.4g`.
pub(super) fn four_digits(v: f64) -> String {
    float::format(v, 'g', Some(4))
}

#[cfg(test)]
mod tests;
