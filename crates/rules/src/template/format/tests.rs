//! Corners of `fmt` beside the table of Prometheus' results.

use super::*;

fn format(text: &str, values: &[Value]) -> String {
    printf(text, values, 1 << 20).expect("within the limit")
}

#[test]
fn floats_have_gos_forms() {
    for (text, v, expected) in [
        ("%.0f", 0.5, "0"),
        ("%.0f", 1.5, "2"),
        ("%.3g", 1234.5, "1.23e+03"),
        ("%.4g", 100_000.0, "1e+05"),
        ("%.4g", 999.96, "1000"),
        ("%.4g", 0.00012345, "0.0001234"),
        ("%.4g", 0.000012345, "1.234e-05"),
        ("%x", 1.0, "0x1p+00"),
        ("%x", -2.5, "-0x1.4p+01"),
        ("%.2x", 1.999, "0x1.00p+01"),
        ("%b", 1.0, "4503599627370496p-52"),
        ("%08.3f", -1.5, "-001.500"),
        ("%+g", f64::INFINITY, "+Inf"),
        ("%5g|", f64::NAN, "  NaN|"),
    ] {
        assert_eq!(format(text, &[Value::Float(v)]), expected, "{text} {v}");
    }
}

#[test]
fn sprint_puts_spaces_between_what_is_not_a_string() {
    let values = [Value::int(1), Value::int(2), "a".into(), Value::Bool(true), Value::None];
    assert_eq!(print(&values, 100).as_deref(), Ok("1 2atrue <nil>"));
    assert_eq!(println(&values, 100).as_deref(), Ok("1 2 a true <nil>\n"));
    assert!(print(&["long".into()], 3).is_err());
}
