//! Binary operators of floats.

use crate::{ast::BinaryOp, functions::gomath};

/// The arithmetic behind an operator, if it has one.
pub(crate) fn arithmetic(op: BinaryOp) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Mod => |a, b| a % b,
        BinaryOp::Pow => gomath::pow,
        BinaryOp::Atan2 => gomath::atan2,
        _ => return None,
    })
}

/// The comparison behind an operator, if it has one. NaN equals nothing.
pub(crate) fn comparison(op: BinaryOp) -> Option<fn(f64, f64) -> bool> {
    Some(match op {
        BinaryOp::Eq => |a, b| a == b,
        BinaryOp::Ne => |a, b| a != b,
        BinaryOp::Lt => |a, b| a < b,
        BinaryOp::Le => |a, b| a <= b,
        BinaryOp::Gt => |a, b| a > b,
        BinaryOp::Ge => |a, b| a >= b,
        _ => return None,
    })
}

/// Whether an operator makes a new metric out of its operands, so that names no longer fit.
pub(crate) const fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}

/// A row of an operation on floats: for each step the value. Written out per operator so that the
/// common ones are compiled to vector instructions.
pub(crate) fn apply_rows(op: BinaryOp, a: &[f64], b: &[f64], out: &mut [f64]) {
    #[inline(always)]
    fn each(a: &[f64], b: &[f64], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = f(*a, *b);
        }
    }
    match op {
        BinaryOp::Add => each(a, b, out, |a, b| a + b),
        BinaryOp::Sub => each(a, b, out, |a, b| a - b),
        BinaryOp::Mul => each(a, b, out, |a, b| a * b),
        BinaryOp::Div => each(a, b, out, |a, b| a / b),
        other => {
            if let Some(f) = arithmetic(other) {
                each(a, b, out, f);
            } else {
                // Comparisons keep the left value.
                out.copy_from_slice(a);
            }
        }
    }
}

/// Clears the bits of steps at which a comparison does not hold.
pub(crate) fn filter_rows(op: BinaryOp, a: &[f64], b: &[f64], present: &mut [u64]) {
    let Some(holds) = comparison(op) else { return };
    for (w, word) in present.iter_mut().enumerate() {
        let from = w * 64;
        let mut mask = 0_u64;
        for (i, (a, b)) in a[from..].iter().zip(&b[from..]).take(64).enumerate() {
            mask |= u64::from(holds(*a, *b)) << i;
        }
        *word &= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_semantics() {
        let f = |op| arithmetic(op).unwrap();
        assert_eq!(f(BinaryOp::Mod)(-5.0, 3.0), -2.0);
        assert!(f(BinaryOp::Mod)(1.0, 0.0).is_nan());
        assert_eq!(f(BinaryOp::Div)(1.0, 0.0), f64::INFINITY);
        assert_eq!(f(BinaryOp::Pow)(f64::NAN, 0.0), 1.0);
        assert!(!comparison(BinaryOp::Eq).unwrap()(f64::NAN, f64::NAN));
        assert!(comparison(BinaryOp::Ne).unwrap()(f64::NAN, f64::NAN));
    }

    #[test]
    fn rows() {
        let a: Vec<f64> = (0..70).map(f64::from).collect();
        let b = vec![35.0; 70];
        let mut present = vec![u64::MAX, 0x3f];
        filter_rows(BinaryOp::Ge, &a, &b, &mut present);
        assert_eq!(present.iter().map(|w| w.count_ones()).sum::<u32>(), 35);
        let mut out = vec![0.0; 70];
        apply_rows(BinaryOp::Sub, &a, &b, &mut out);
        assert_eq!((out[0], out[69]), (-35.0, 34.0));
    }
}
