//! Functions of single floats, with Go's treatment of special values.

use super::{FunctionId, gomath};

/// Go's `math.Max`: +Inf before NaN, NaN before anything else.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && a == b {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: -Inf before NaN, NaN before anything else.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && a == b {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// `sgn`: NaN and zeros stay what they are.
fn sgn(v: f64) -> f64 {
    if v < 0.0 {
        -1.0
    } else if v > 0.0 {
        1.0
    } else {
        v
    }
}

/// The function of one float behind a function of the language, if it is one.
pub(crate) fn elementwise(func: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match func {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => gomath::exp,
        F::Sqrt => f64::sqrt,
        F::Ln => gomath::ln,
        F::Log2 => gomath::log2,
        F::Log10 => gomath::log10,
        F::Sin => gomath::sin,
        F::Cos => gomath::cos,
        F::Tan => gomath::tan,
        F::Asin => gomath::asin,
        F::Acos => gomath::acos,
        F::Atan => gomath::atan,
        F::Sinh => gomath::sinh,
        F::Cosh => gomath::cosh,
        F::Tanh => gomath::tanh,
        F::Asinh => gomath::asinh,
        F::Acosh => gomath::acosh,
        F::Atanh => gomath::atanh,
        F::Rad => |v| v * std::f64::consts::PI / 180.0,
        F::Deg => |v| v * 180.0 / std::f64::consts::PI,
        F::Sgn => sgn,
        _ => return super::date::of_seconds(func),
    })
}

/// `round(v, to)` with the inverse of `to`, which is less prone to rounding errors.
pub(crate) fn round(v: f64, inverse: f64) -> f64 {
    (v * inverse + 0.5).floor() / inverse
}

/// `clamp`; `min` must not be more than `max`.
pub(crate) fn clamp(v: f64, min: f64, max: f64) -> f64 {
    go_max(min, go_min(max, v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_values_are_those_of_go() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(go_max(inf, nan), inf);
        assert!(go_max(-inf, nan).is_nan() && go_min(inf, nan).is_nan());
        assert_eq!(go_min(nan, -inf), -inf);
        assert!(go_min(0.0, -0.0).is_sign_negative() && go_max(-0.0, 0.0).is_sign_positive());
        assert!(clamp(nan, 1.0, 2.0).is_nan());
        assert_eq!(clamp(nan, -inf, -inf), -inf);
        assert_eq!((round(0.5, 1.0), round(-0.5, 1.0), round(2.4, 2.0)), (1.0, 0.0, 2.5));
        assert!(sgn(nan).is_nan());
        assert_eq!(elementwise(FunctionId::Deg).unwrap()(std::f64::consts::PI), 180.0);
        assert!(elementwise(FunctionId::Rate).is_none());
    }
}
