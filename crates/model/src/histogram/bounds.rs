//! Where buckets begin and end, bit for bit as in Prometheus.

use super::CUSTOM_BUCKETS_SCHEMA;

/// `2^(2^-n)` for n from 1 on, as Go's `math.Exp2` has it: the first one is a bit low.
const FACTORS: [u64; 8] = [
    0x3ff6_a09e_667f_3bcc,
    0x3ff3_06fe_0a31_b715,
    0x3ff1_72b8_3c7d_517b,
    0x3ff0_b558_6cf9_890f,
    0x3ff0_59b0_d315_8574,
    0x3ff0_2c9a_3e77_8061,
    0x3ff0_163d_a9fb_3335,
    0x3ff0_0b1a_fa5a_bcbf,
];

/// Bounds of schema 8 between 0.5 and 1; every second one is schema 7's, and so on.
///
/// Prometheus has them as a table that client_golang computed with rounding errors: within a
/// schema each bound that the coarser schema lacks is the one before times the schema's factor.
/// Done the same way, the errors are the same.
const BOUNDS: [f64; 256] = {
    let mut bounds = [0.5; 256];
    let mut schema = 1;
    while schema <= 8 {
        let step = 256 >> schema;
        let factor = f64::from_bits(FACTORS[schema - 1]);
        let mut at = step;
        while at < 256 {
            bounds[at] = bounds[at - step] * factor;
            at += 2 * step;
        }
        schema += 1;
    }
    bounds
};

/// The upper bound of bucket `index` on the positive side; its lower bound is that of the bucket
/// before. The last bucket of finite observations ends at `f64::MAX`, the one after it at +Inf.
///
/// For custom buckets it comes from `custom_values`, +Inf behind their end and -Inf before their
/// beginning. Schemas that do not exist count as the nearest that does.
#[must_use]
pub fn bucket_bound(schema: i32, index: i32, custom_values: &[f64]) -> f64 {
    if schema == CUSTOM_BUCKETS_SCHEMA {
        let bound = usize::try_from(index).map(|i| custom_values.get(i).copied());
        return bound.map_or(f64::NEG_INFINITY, |b| b.unwrap_or(f64::INFINITY));
    }
    let index = i64::from(index);
    if schema < 0 {
        let exponent = index << schema.unsigned_abs().min(9);
        return if exponent == 1024 { f64::MAX } else { ldexp(0.5, exponent + 1) };
    }
    let schema = schema.min(8);
    let place = (index & ((1 << schema) - 1)) << (8 - schema);
    let exponent = (index >> schema) + 1;
    if place == 0 && exponent == 1025 {
        return f64::MAX;
    }
    // Masked to eight bits above.
    ldexp(BOUNDS[place as usize & 0xff], exponent)
}

/// `fraction * 2^exponent` for a fraction from 0.5 to below 1, rounded once.
fn ldexp(fraction: f64, exponent: i64) -> f64 {
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        ..-1100 => 0.0,
        // In two steps, of which only the second can be inexact.
        -1100..-1000 => fraction * power(-500) * power(exponent + 500),
        -1000..1000 => fraction * power(exponent),
        1000..=1024 => fraction * power(500) * power(exponent - 500),
        1025.. => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_prometheus_bit_for_bit() {
        // From the table in Prometheus' model/histogram/generic.go.
        for (schema, index, bound) in [
            (0, 0, 1.0),
            (0, 1, 2.0),
            (0, -1, 0.5),
            (1, 1, 0.707_106_781_186_547_5 * 2.0),
            (2, 1, 0.594_603_557_501_360_5 * 2.0),
            (2, 3, 0.840_896_415_253_714_4 * 2.0),
            (3, -1, 0.917_004_043_204_671_1),
            (3, -5, 0.648_419_777_325_504_8),
            (0, 1024, f64::MAX),
            (0, 1025, f64::INFINITY),
            (0, -1074, 5e-324),
            (0, -1075, 0.0),
            (-4, 1, 65536.0),
            (-4, 64, f64::MAX),
            (-4, 65, f64::INFINITY),
            (-4, -67, 2.0_f64.powi(-1072)),
            (-4, i32::MIN, 0.0),
            (8, 1024 * 256, f64::MAX),
            (8, i32::MAX, f64::INFINITY),
            (8, i32::MIN, 0.0),
        ] {
            assert_eq!(bucket_bound(schema, index, &[]), bound, "{schema} {index}");
        }
        let custom = [1.0, 2.5];
        let bounds: Vec<_> = (-1..3).map(|i| bucket_bound(-53, i, &custom)).collect();
        assert_eq!(bounds, [f64::NEG_INFINITY, 1.0, 2.5, f64::INFINITY]);
    }

    #[test]
    fn bounds_ascend_and_coarser_schemas_share_them() {
        for schema in 0..8 {
            for index in -300..300 {
                let bound = bucket_bound(schema, index, &[]);
                assert_eq!(bound, bucket_bound(schema + 1, index * 2, &[]));
                assert!(bound < bucket_bound(schema, index + 1, &[]));
            }
        }
    }
}
