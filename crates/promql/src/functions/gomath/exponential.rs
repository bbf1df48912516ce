//! Exponentials, logarithms and powers.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E};

use super::polynomial;

/// ln 2 in two parts, the first with trailing zeros, so that small multiples of it are exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `x = fraction * 2^exponent` with a fraction from 0.5 to below 1; zeros, infinities and NaN are
/// returned with exponent 0.
fn frexp(x: f64) -> (f64, i64) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, shift) = if x.abs() < f64::MIN_POSITIVE { (x * TWO_POW_52, -52) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64 - 1022 + shift;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent)
}

const TWO_POW_52: f64 = 4_503_599_627_370_496.0;

/// `fraction * 2^exponent`, rounded once.
fn ldexp(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (fraction, own) = frexp(fraction);
    // The exponent of a number between 1 and 2.
    let exponent = exponent.saturating_add(own - 1);
    let scaled = |exponent: i64| {
        f64::from_bits(fraction.to_bits() & !(0x7ff << 52) | ((exponent + 1023) as u64) << 52)
    };
    match exponent {
        1024.. => f64::INFINITY.copysign(fraction),
        -1022..1024 => scaled(exponent),
        -1075..-1022 => scaled(exponent + 53) / (TWO_POW_52 * 2.0),
        _ => 0.0_f64.copysign(fraction),
    }
}

/// `e^x`
pub(crate) fn exp(x: f64) -> f64 {
    const OVERFLOW: f64 = 7.097_827_128_933_84e2;
    const LN_2_UPPER: f64 = 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75;
    const LN_2_LOWER: f64 = 0.282_352_905_630_315_771_225_884_481_750_134_360_255_254_120_68e-12;
    // 1/n! from 8 down to 1, halved where the argument stands once more.
    const TAYLOR: [f64; 7] = [
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
        1.0,
    ];
    if x.is_nan() || x == f64::INFINITY || x > OVERFLOW {
        return if x.is_nan() { x } else { f64::INFINITY };
    }
    let whole = (x * LOG2_E).round_ties_even();
    if whole < -1_100.0 {
        return 0.0;
    }
    // e^x = 2^whole * (e^r)^16 with a small r; t = e^r - 1 is squared four times as 2t + t^2.
    let r = (-whole).mul_add(LN_2_LOWER, (-whole).mul_add(LN_2_UPPER, x)) * 0.0625;
    let series = TAYLOR.into_iter().fold(2.480_158_730_158_73e-5, |sum, c| r.mul_add(sum, c));
    let mut t = r * series;
    for _ in 0..3 {
        t *= t + 2.0;
    }
    let result = (t + 2.0).mul_add(t, 1.0);
    let power = |exponent: i64| f64::from_bits((exponent as u64) << 52);
    match whole as i64 + 1023 {
        0x7ff.. => f64::INFINITY,
        biased @ 1.. => result * power(biased),
        // In two steps, the last of which rounds to a subnormal number.
        biased @ -52..=0 => result * power(biased + 1022) * power(1),
        _ => 0.0,
    }
}

/// `2^x`
pub(crate) fn exp2(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1.074e3 {
        return 0.0;
    }
    let whole = if x > 0.0 { (x + 0.5) as i64 } else { (x - 0.5) as i64 };
    let t = x - whole as f64;
    let (high, low) = (t * LN_2_HIGH, -t * LN_2_LOW);
    let r = high - low;
    let z = r * r;
    let c = r - z * polynomial(
        z,
        [
            4.138_136_797_057_238_5e-8,
            -1.653_390_220_546_525_2e-6,
            6.613_756_321_437_934e-5,
            -2.777_777_777_701_559_3e-3,
            1.666_666_666_666_666_6e-1,
        ],
    );
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    ldexp(y, whole)
}

/// The part of `log` and `log1p` in even powers of `s`.
const LOG: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

/// The natural logarithm. For subnormal numbers Go's on amd64 is wrong, and so is this: their
/// exponent is taken as it is written, and their fraction as if it had a leading one.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1022;
    let mut fraction = f64::from_bits(bits & ((1 << 52) - 1) | 0.5_f64.to_bits());
    if fraction < FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let (f, k) = (fraction - 1.0, exponent as f64);
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * polynomial(s4, [LOG[6], LOG[4], LOG[2], LOG[0]]);
    let even = s4 * polynomial(s4, [LOG[5], LOG[3], LOG[1]]);
    let rest = odd + even;
    let half = 0.5 * f * f;
    k * LN_2_HIGH - ((half - (s * (half + rest) + k * LN_2_LOW)) - f)
}

/// The logarithm to base 10.
pub(crate) fn log10(x: f64) -> f64 {
    ln(x) * LOG10_E
}

/// The logarithm to base 2, exact for powers of 2.
pub(crate) fn log2(x: f64) -> f64 {
    let (fraction, exponent) = frexp(x);
    if fraction == 0.5 {
        return (exponent - 1) as f64;
    }
    ln(fraction) * LOG2_E + exponent as f64
}

/// `ln(1 + x)`
pub(super) fn ln_1p(x: f64) -> f64 {
    if x < -1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let magnitude = x.abs();
    // 1 + x = 2^k * (1 + f), and c is what rounding 1 + x lost.
    let (mut k, mut f, mut c, mut tiny) = (1_i64, 0.0, 0.0, false);
    if magnitude < 4.142_135_623_730_950_3e-1 {
        if magnitude < 1.0 / (1_u64 << 29) as f64 {
            return if magnitude < 1.0 / (1_u64 << 54) as f64 { x } else { x - x * x * 0.5 };
        }
        if x > -2.928_932_188_134_525e-1 {
            (k, f) = (0, x);
        }
    }
    if k != 0 {
        let u = if magnitude < TWO_POW_52 * 2.0 { 1.0 + x } else { x };
        let bits = u.to_bits();
        k = (bits >> 52) as i64 - 1023;
        if magnitude < TWO_POW_52 * 2.0 {
            c = if k > 0 { 1.0 - (u - x) } else { x - (u - 1.0) } / u;
        }
        let mantissa = bits & 0x000f_ffff_ffff_ffff;
        let normalized = if mantissa < 0x0006_a09e_667f_3bcd {
            tiny = mantissa == 0;
            f64::from_bits(mantissa | 0x3ff0_0000_0000_0000)
        } else {
            k += 1;
            tiny = (0x0010_0000_0000_0000 - mantissa) >> 2 == 0;
            f64::from_bits(mantissa | 0x3fe0_0000_0000_0000)
        };
        f = normalized - 1.0;
    }
    let (half, scale) = (0.5 * f * f, k as f64);
    if tiny {
        if f == 0.0 {
            return if k == 0 { 0.0 } else { scale * LN_2_HIGH + (c + scale * LN_2_LOW) };
        }
        let rest = half * (1.0 - 0.666_666_666_666_666_6 * f);
        return if k == 0 {
            f - rest
        } else {
            scale * LN_2_HIGH - ((rest - (scale * LN_2_LOW + c)) - f)
        };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let [l1, l2, l3, l4, l5, l6, l7] = LOG;
    let rest = z * polynomial(z, [l7, l6, l5, l4, l3, l2, l1]);
    if k == 0 {
        f - (half - s * (half + rest))
    } else {
        scale * LN_2_HIGH - ((half - (s * (half + rest) + (scale * LN_2_LOW + c))) - f)
    }
}

/// `x^y`
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if y == 1.0 {
        return x;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if x == 0.0 {
        return match (y < 0.0, is_odd(y)) {
            (true, true) => f64::INFINITY.copysign(x),
            (true, false) => f64::INFINITY,
            (false, true) => x,
            (false, false) => 0.0,
        };
    }
    if y.is_infinite() {
        return power_at_infinity(x, y);
    }
    if x.is_infinite() {
        if x < 0.0 {
            // 1/x is -0.
            return pow(1.0 / x, -y);
        }
        return if y < 0.0 { 0.0 } else { f64::INFINITY };
    }
    if y == 0.5 {
        return x.sqrt();
    }
    if y == -0.5 {
        return 1.0 / x.sqrt();
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= 9_223_372_036_854_775_808.0 {
        return power_at_infinity(x, y);
    }
    // The result is `mantissa * 2^exponent`.
    let (mut mantissa, mut exponent) = (1.0, 0_i64);
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        mantissa = exp(part * ln(x));
    }
    let (mut base, mut base_exponent) = frexp(x);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-4096..=4096).contains(&base_exponent) {
            // Over- or underflow, whatever follows.
            exponent += base_exponent;
            break;
        }
        if bits & 1 == 1 {
            mantissa *= base;
            exponent += base_exponent;
        }
        base *= base;
        base_exponent *= 2;
        if base < 0.5 {
            base += base;
            base_exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        (mantissa, exponent) = (1.0 / mantissa, -exponent);
    }
    ldexp(mantissa, exponent)
}

fn is_odd(y: f64) -> bool {
    // From 2^53 on all numbers are even.
    y.abs() < TWO_POW_52 * 2.0 && y.fract() == 0.0 && (y as i64) & 1 == 1
}

/// The power for an exponent that is infinite, or as good as.
fn power_at_infinity(x: f64, y: f64) -> f64 {
    if x == -1.0 {
        1.0
    } else if (x.abs() < 1.0) == (y > 0.0) {
        0.0
    } else {
        f64::INFINITY
    }
}
