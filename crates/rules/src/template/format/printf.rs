//! `Sprintf`: formats, their flags, widths, precisions and argument indexes, and Go's marks for
//! mistakes in them.

use super::{
    super::value::Value,
    printer::{Flags, Printer},
};

/// The largest width and precision; those that are written down may have one digit more.
const MAX_NUMBER: usize = 1_000_000;

/// Go's `Sprintf`.
///
/// # Errors
/// More than `limit` bytes.
pub(crate) fn printf(format: &str, values: &[Value], limit: usize) -> Result<String, String> {
    let mut scan = Scan {
        printer: Printer::new(limit),
        rest: format,
        values,
        next: 0,
        reordered: false,
        good_index: true,
        after_index: false,
    };
    while let Some(percent) = scan.rest.find('%') {
        let (before, directive) = scan.rest.split_at(percent);
        scan.printer.out.push_str(before);
        scan.rest = directive.get(1..).unwrap_or_default();
        scan.good_index = true;
        scan.directive();
        scan.printer.check()?;
    }
    scan.printer.out.push_str(scan.rest);
    scan.extra();
    scan.printer.check()?;
    Ok(scan.printer.out)
}

struct Scan<'f> {
    printer: Printer,
    rest: &'f str,
    values: &'f [Value],
    /// The argument that is next.
    next: usize,
    /// Whether a directive named its argument.
    reordered: bool,
    good_index: bool,
    after_index: bool,
}

impl Scan<'_> {
    fn accept(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What follows a percent sign.
    fn directive(&mut self) {
        self.printer.flags = self.flags();
        self.after_index = false;
        self.index();
        self.width();
        self.precision();
        if !self.after_index {
            self.index();
        }
        let Some(verb) = self.rest.chars().next() else {
            self.printer.out.push_str("%!(NOVERB)");
            return;
        };
        self.rest = self.rest.get(verb.len_utf8()..).unwrap_or_default();
        let marked = |what: &str| format!("%!{verb}({what})");
        match self.values.get(self.next) {
            _ if verb == '%' => self.printer.out.push('%'),
            _ if !self.good_index => self.printer.out.push_str(&marked("BADINDEX")),
            None => self.printer.out.push_str(&marked("MISSING")),
            Some(value) => {
                let flags = &mut self.printer.flags;
                if verb == 'v' {
                    flags.sharp_v = std::mem::take(&mut flags.sharp);
                    flags.plus_v = std::mem::take(&mut flags.plus);
                }
                self.printer.argument(value, verb);
                self.next += 1;
            }
        }
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.rest.bytes().next() {
                Some(b'#') => flags.sharp = true,
                Some(b'0') => flags.zero = true,
                Some(b'+') => flags.plus = true,
                Some(b'-') => flags.minus = true,
                Some(b' ') => flags.space = true,
                _ => return flags,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    /// `[3]`: the number of the argument, from 1.
    fn index(&mut self) {
        let Some(inside) = self.rest.strip_prefix('[') else { return };
        self.reordered = true;
        let Some(end) = inside.find(']') else {
            // Without its end only the bracket is passed over.
            self.good_index = false;
            self.rest = inside;
            return;
        };
        let (digits, rest) = inside.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        let number = digits.parse::<usize>().ok().filter(|_| !digits.starts_with('+'));
        self.after_index = number.is_some();
        match number {
            Some(number @ 1..) if number <= self.values.len() => self.next = number - 1,
            _ => self.good_index = false,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return None;
        }
        match digits.parse().ok().filter(|n| *n / 10 <= MAX_NUMBER) {
            Some(number) => {
                self.rest = rest;
                Some(number)
            }
            // Go gives up the whole format.
            None => {
                self.rest = "";
                None
            }
        }
    }

    /// `*`: an integer among the arguments.
    fn number_from_argument(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(n, _) if n.unsigned_abs() <= MAX_NUMBER as u64 => Some(*n),
            _ => None,
        }
    }

    fn width(&mut self) {
        if self.accept('*') {
            let number = self.number_from_argument();
            match number {
                Some(n) => {
                    self.printer.flags.width = usize::try_from(n.unsigned_abs()).ok();
                    if n < 0 {
                        self.printer.flags.minus = true;
                        self.printer.flags.zero = false;
                    }
                }
                None => self.printer.out.push_str("%!(BADWIDTH)"),
            }
            self.after_index = false;
            return;
        }
        self.printer.flags.width = self.number();
        if self.after_index && self.printer.flags.width.is_some() {
            self.good_index = false;
        }
    }

    fn precision(&mut self) {
        if !self.accept('.') {
            return;
        }
        if self.after_index {
            self.good_index = false;
        }
        self.after_index = false;
        self.index();
        if self.accept('*') {
            let number = self.number_from_argument();
            self.printer.flags.precision = number.and_then(|n| usize::try_from(n).ok());
            if self.printer.flags.precision.is_none() {
                self.printer.out.push_str("%!(BADPREC)");
            }
            self.after_index = false;
            return;
        }
        self.printer.flags.precision = Some(self.number().unwrap_or(0));
    }

    /// Marks arguments that no directive asked for.
    fn extra(&mut self) {
        let values = self.values.get(self.next..).unwrap_or_default();
        if self.reordered || values.is_empty() {
            return;
        }
        self.printer.flags = Flags::default();
        self.printer.out.push_str("%!(EXTRA ");
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.printer.out.push_str(", ");
            }
            if let Value::None | Value::NilInterface = value {
                self.printer.out.push_str("<nil>");
                continue;
            }
            self.printer.out.push_str(&value.type_name());
            self.printer.out.push('=');
            self.printer.argument(value, 'v');
        }
        self.printer.out.push(')');
    }
}
