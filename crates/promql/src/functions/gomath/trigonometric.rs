//! Trigonometric functions and their inverses.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

use super::polynomial;

/// From here on, arguments are reduced with many digits of 4/pi.
const BIG_ANGLE: f64 = 536_870_912.0;

/// 4/pi in binary: the digit before the point, then 64 bits each.
const FOUR_OVER_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

/// The octant of a positive angle, made even, and the angle from its beginning.
fn octant(x: f64) -> (u64, f64) {
    if x >= BIG_ANGLE {
        return big_octant(x);
    }
    let mut octant = (x * (2.0 * FRAC_2_PI)) as u64;
    octant += octant & 1;
    // pi/4 in three parts: what is subtracted is exact.
    let y = octant as f64;
    let z = ((x - y * 7.853_981_256_484_985e-1) - y * 3.774_894_707_930_798e-8)
        - y * 2.695_151_429_079_059_5e-15;
    (octant, z)
}

/// Payne and Hanek: the product with those digits of 4/pi that matter.
fn big_octant(x: f64) -> (u64, f64) {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64 - 1023 - 52;
    let mantissa = bits & 0x000f_ffff_ffff_ffff | 1 << 52;
    let position = (exponent + 61) as usize;
    let (digit, shift) = (position / 64, position % 64);
    let window = |i: usize| {
        let at = |i: usize| FOUR_OVER_PI.get(digit + i).copied().unwrap_or(0);
        let next = if shift == 0 { 0 } else { at(i + 1) >> (64 - shift) };
        at(i) << shift | next
    };
    let product = |digit: u64| u128::from(digit) * u128::from(mantissa);
    let low_carry = product(window(2)) >> 64;
    let middle = product(window(1)) + low_carry;
    let high = window(0).wrapping_mul(mantissa).wrapping_add((middle >> 64) as u64);
    let low = middle as u64;
    let mut octant = high >> 61;
    let high = high << 3 | low >> 61;
    let zeros = u64::from(high.leading_zeros());
    let low_shift = 64 - (zeros + 1);
    let fraction = high.checked_shl(zeros as u32 + 1).unwrap_or(0) | low >> low_shift;
    let mut z = f64::from_bits(fraction >> 12 | (1023 - (zeros + 1)) << 52);
    if octant & 1 == 1 {
        octant = (octant + 1) & 7;
        z -= 1.0;
    }
    (octant, z * FRAC_PI_4)
}

/// The sine of an angle of at most pi/4.
fn small_sin(z: f64) -> f64 {
    let zz = z * z;
    let coefficients = [
        1.589_623_015_765_465_6e-10,
        -2.505_074_776_285_780_7e-8,
        2.755_731_362_138_572_2e-6,
        -1.984_126_982_958_954e-4,
        8.333_333_333_322_118e-3,
        -1.666_666_666_666_663e-1,
    ];
    z + z * zz * polynomial(zz, coefficients)
}

/// The cosine of an angle of at most pi/4.
fn small_cos(z: f64) -> f64 {
    let zz = z * z;
    let coefficients = [
        -1.135_853_652_138_768_2e-11,
        2.087_570_084_197_473e-9,
        -2.755_731_417_929_674e-7,
        2.480_158_728_885_170_4e-5,
        -1.388_888_888_887_305_6e-3,
        4.166_666_666_666_659_5e-2,
    ];
    1.0 - 0.5 * zz + zz * zz * polynomial(zz, coefficients)
}

/// The sine.
pub(crate) fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (octant, z) = octant(x.abs());
    let octant = octant & 7;
    let y = if matches!(octant & 3, 1 | 2) { small_cos(z) } else { small_sin(z) };
    if (x < 0.0) == (octant > 3) { y } else { -y }
}

/// The cosine.
pub(crate) fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (octant, z) = octant(x.abs());
    let octant = octant & 7;
    let quadrant = octant & 3;
    let y = if matches!(quadrant, 1 | 2) { small_sin(z) } else { small_cos(z) };
    if (octant > 3) == (quadrant > 1) { y } else { -y }
}

/// The tangent.
pub(crate) fn tan(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (octant, z) = octant(x.abs());
    let zz = z * z;
    let mut y = z;
    if zz > 1e-14 {
        let p = polynomial(
            zz,
            [-1.309_369_391_813_837_9e4, 1.153_516_648_385_874_2e6, -1.795_652_519_764_848_8e7],
        );
        let q = polynomial(
            zz,
            [
                1.0,
                1.368_129_634_706_929_6e4,
                -1.320_892_344_402_109_7e6,
                2.500_838_018_233_579e7,
                -5.386_957_559_294_546_4e7,
            ],
        );
        y = z + z * (zz * p / q);
    }
    if octant & 2 == 2 {
        y = -1.0 / y;
    }
    if x < 0.0 { -y } else { y }
}

/// The arctangent of a number from 0 to 0.66.
fn small_atan(x: f64) -> f64 {
    let z = x * x;
    let p = polynomial(
        z,
        [
            -8.750_608_600_031_904e-1,
            -1.615_753_718_733_365_2e1,
            -7.500_855_792_314_705e1,
            -1.228_866_684_490_136_1e2,
            -6.485_021_904_942_025e1,
        ],
    );
    let q = polynomial(
        z,
        [
            1.0,
            2.485_846_490_142_306_2e1,
            1.650_270_098_316_988_5e2,
            4.328_810_604_912_902_7e2,
            4.853_903_996_359_137e2,
            1.945_506_571_482_614e2,
        ],
    );
    x * (z * p / q) + x
}

/// The arctangent of a positive number.
fn positive_atan(x: f64) -> f64 {
    // What pi/2 is more than its float.
    const MORE: f64 = 6.123_233_995_736_766e-17;
    if x <= 0.66 {
        return small_atan(x);
    }
    if x > 2.414_213_562_373_095 {
        return FRAC_PI_2 - small_atan(1.0 / x) + MORE;
    }
    FRAC_PI_4 + small_atan((x - 1.0) / (x + 1.0)) + 0.5 * MORE
}

/// The arctangent.
pub(crate) fn atan(x: f64) -> f64 {
    if x == 0.0 {
        x
    } else if x > 0.0 {
        positive_atan(x)
    } else {
        -positive_atan(-x)
    }
}

/// The angle of the point `(x, y)`.
pub(crate) fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    if y == 0.0 {
        return if x.is_sign_positive() { 0.0 } else { PI }.copysign(y);
    }
    if x == 0.0 {
        return FRAC_PI_2.copysign(y);
    }
    if x.is_infinite() {
        return match (x > 0.0, y.is_infinite()) {
            (true, true) => FRAC_PI_4,
            (true, false) => 0.0,
            (false, true) => 2.356_194_490_192_345,
            (false, false) => PI,
        }
        .copysign(y);
    }
    if y.is_infinite() {
        return FRAC_PI_2.copysign(y);
    }
    let angle = atan(y / x);
    if x >= 0.0 {
        angle
    } else if angle <= 0.0 {
        angle + PI
    } else {
        angle - PI
    }
}

/// The arcsine.
pub(crate) fn asin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let magnitude = x.abs();
    if magnitude > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    let other = (1.0 - magnitude * magnitude).sqrt();
    let angle = if magnitude > 0.7 {
        FRAC_PI_2 - positive_atan(other / magnitude)
    } else {
        positive_atan(magnitude / other)
    };
    if x < 0.0 { -angle } else { angle }
}

/// The arccosine.
pub(crate) fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}
