//! Order of label values.

/// Whether `a` comes before `b` in natural order, where runs of digits compare as numbers. It is no
/// order: of values that differ in leading zeros each comes before the other, and an empty one comes
/// neither before nor behind any.
///
/// Source: `github.com/facette/natsort`, as Prometheus uses it.
pub(crate) fn precedes(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (Chunks(a), Chunks(b));
    let (Some(mut x), Some(mut y)) = (a.next(), b.next()) else { return false };
    loop {
        match (x.parse::<i64>(), y.parse::<i64>()) {
            (Ok(x), Ok(y)) if x != y => return x < y,
            (Ok(_), Ok(_)) => {}
            _ if x != y => return x < y,
            _ => {}
        }
        (x, y) = match (a.next(), b.next()) {
            (None, _) => return true,
            (_, None) => return false,
            (Some(x), Some(y)) => (x, y),
        };
    }
}

/// Runs of digits and of other characters.
struct Chunks<'a>(&'a str);

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        let digits = self.0.chars().next()?.is_ascii_digit();
        let end = self.0.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(self.0.len());
        let (chunk, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers() {
        for pair in ["a", "a2", "a10", "a10b", "b1"].windows(2) {
            assert!(precedes(pair[0], pair[1]), "{pair:?}");
            assert!(!precedes(pair[1], pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn some_values_have_no_order() {
        assert!(precedes("x01", "x1") && precedes("x1", "x01"));
        assert!(!precedes("", "a") && !precedes("a", ""));
        // More than 64 bits are compared as texts.
        assert!(precedes("18446744073709551616", "9"));
    }
}
