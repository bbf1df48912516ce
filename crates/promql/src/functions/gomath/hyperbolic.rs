//! Hyperbolic functions and their inverses.

use std::f64::consts::LN_2;

use super::{
    exponential::{exp, ln, ln_1p},
    polynomial,
};

const TWO_POW_28: f64 = 268_435_456.0;

/// The hyperbolic sine.
pub(crate) fn sinh(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let magnitude = x.abs();
    let y = if magnitude > 21.0 {
        exp(magnitude) * 0.5
    } else if magnitude > 0.5 {
        let e = exp(magnitude);
        (e - 1.0 / e) * 0.5
    } else {
        let square = magnitude * magnitude;
        let p = polynomial(
            square,
            [
                -0.263_056_321_339_749_7e2,
                -0.289_421_135_598_956_4e4,
                -0.899_127_202_203_950_9e5,
                -0.630_767_364_049_771_7e6,
            ],
        );
        let q = polynomial(
            square,
            [
                1.0,
                -0.173_678_953_558_233_7e3,
                0.152_151_737_879_001_9e5,
                -0.630_767_364_049_771_7e6,
            ],
        );
        p * magnitude / q
    };
    if x < 0.0 { -y } else { y }
}

/// The hyperbolic cosine.
pub(crate) fn cosh(x: f64) -> f64 {
    let x = x.abs();
    if x > 21.0 {
        return exp(x) * 0.5;
    }
    let e = exp(x);
    (e + 1.0 / e) * 0.5
}

/// The hyperbolic tangent.
pub(crate) fn tanh(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude > 0.5 * 8.802_969_193_111_305e1 {
        return 1.0_f64.copysign(x);
    }
    if magnitude >= 0.625 {
        let y = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0);
        return if x < 0.0 { -y } else { y };
    }
    if x == 0.0 {
        return x;
    }
    let s = x * x;
    let p = polynomial(
        s,
        [-9.643_991_794_250_523e-1, -9.928_772_310_019_185e1, -1.614_687_684_417_084_5e3],
    );
    let q = polynomial(
        s,
        [1.0, 1.128_116_784_916_329_3e2, 2.235_488_390_601_004_5e3, 4.844_063_053_251_255e3],
    );
    x + x * s * p / q
}

/// The inverse hyperbolic sine.
pub(crate) fn asinh(x: f64) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let magnitude = x.abs();
    let y = if magnitude > TWO_POW_28 {
        ln(magnitude) + LN_2
    } else if magnitude > 2.0 {
        ln(2.0 * magnitude + 1.0 / ((magnitude * magnitude + 1.0).sqrt() + magnitude))
    } else if magnitude < 1.0 / TWO_POW_28 {
        magnitude
    } else {
        let square = magnitude * magnitude;
        ln_1p(magnitude + square / (1.0 + (1.0 + square).sqrt()))
    };
    if x < 0.0 { -y } else { y }
}

/// The inverse hyperbolic cosine.
pub(crate) fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == 1.0 {
        return 0.0;
    }
    if x >= TWO_POW_28 {
        return ln(x) + LN_2;
    }
    if x > 2.0 {
        return ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()));
    }
    let t = x - 1.0;
    ln_1p(t + (2.0 * t + t * t).sqrt())
}

/// The inverse hyperbolic tangent.
pub(crate) fn atanh(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let magnitude = x.abs();
    if magnitude > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if magnitude == 1.0 {
        return f64::INFINITY.copysign(x);
    }
    let y = if magnitude < 1.0 / TWO_POW_28 {
        magnitude
    } else if magnitude < 0.5 {
        let double = magnitude + magnitude;
        0.5 * ln_1p(double + double * magnitude / (1.0 - magnitude))
    } else {
        0.5 * ln_1p((magnitude + magnitude) / (1.0 - magnitude))
    };
    if x < 0.0 { -y } else { y }
}
