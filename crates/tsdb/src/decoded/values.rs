//! Values in as little memory as can be read at once.
//!
//! Most counters are whole numbers that grow by little, and many gauges have two or three decimals.
//! Whatever is kept comes back bit for bit; what does not is kept as it is.

use std::ops::Range;

/// Values with a base in common.
const BLOCK: usize = 64;
/// What decimals are divided by, tried in this order.
const SCALES: [f64; 3] = [10.0, 100.0, 1000.0];

/// Values of samples.
pub(super) enum Values {
    /// Whole numbers: for each [`BLOCK`] of them the least, and how much more each is.
    Near {
        bases: Box<[i32]>,
        above: Box<[u16]>,
    },
    /// Whole numbers.
    Whole(Box<[i32]>),
    /// Whole numbers that were divided.
    Decimal {
        scale: f64,
        numbers: Box<[i32]>,
    },
    Any(Box<[f64]>),
}

/// Whether a number is this value, bit for bit: a negative zero is none.
fn is(number: i32, scale: f64, value: f64) -> bool {
    (f64::from(number) / scale).to_bits() == value.to_bits()
}

/// The numbers that these values are when they are multiplied; `None` where they are none.
fn numbers(values: &[f64], scale: f64) -> Option<Box<[i32]>> {
    let number = |value: &f64| {
        let number = (value * scale).round() as i32;
        is(number, scale, *value).then_some(number)
    };
    // Most of what is none shows at the first.
    values.iter().map(number).collect()
}

impl Values {
    pub(super) fn new(values: &[f64]) -> Self {
        if let Some(whole) = numbers(values, 1.0) {
            return Self::near(&whole).unwrap_or(Self::Whole(whole));
        }
        let decimal = SCALES.iter().find_map(|&scale| Some((scale, numbers(values, scale)?)));
        match decimal {
            Some((scale, numbers)) => Self::Decimal { scale, numbers },
            None => Self::Any(values.into()),
        }
    }

    fn near(whole: &[i32]) -> Option<Self> {
        let mut bases = Vec::with_capacity(whole.len().div_ceil(BLOCK));
        let mut above = Vec::with_capacity(whole.len());
        for block in whole.chunks(BLOCK) {
            let base = block.iter().copied().min()?;
            bases.push(base);
            for v in block {
                above.push(u16::try_from(v.checked_sub(base)?).ok()?);
            }
        }
        Some(Self::Near { bases: bases.into(), above: above.into() })
    }

    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Near { above, .. } => above.len(),
            Self::Whole(numbers) | Self::Decimal { numbers, .. } => numbers.len(),
            Self::Any(values) => values.len(),
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Near { bases, above } => size_of_val(&**bases) + size_of_val(&**above),
            Self::Whole(numbers) | Self::Decimal { numbers, .. } => size_of_val(&**numbers),
            Self::Any(values) => size_of_val(&**values),
        }
    }

    /// Appends the values of a range.
    pub(super) fn append(&self, range: Range<usize>, out: &mut Vec<f64>) {
        match self {
            Self::Near { bases, above } => {
                let mut at = range.start;
                while at < range.end {
                    let block = at / BLOCK;
                    let end = ((block + 1) * BLOCK).min(range.end);
                    let base = bases.get(block).copied().unwrap_or_default();
                    let above = above.get(at..end).unwrap_or_default();
                    out.extend(above.iter().map(|v| f64::from(base + i32::from(*v))));
                    at = end;
                }
            }
            Self::Whole(numbers) => {
                let numbers = numbers.get(range).unwrap_or_default();
                out.extend(numbers.iter().map(|v| f64::from(*v)));
            }
            Self::Decimal { scale, numbers } => {
                let numbers = numbers.get(range).unwrap_or_default();
                out.extend(numbers.iter().map(|v| f64::from(*v) / scale));
            }
            Self::Any(values) => out.extend_from_slice(values.get(range).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    fn back(values: &[f64]) -> Vec<f64> {
        let mut out = Vec::new();
        Values::new(values).append(0..values.len(), &mut out);
        out
    }

    #[test]
    fn every_bit_of_a_value_stays() {
        let odd = [-0.0, f64::NAN, -f64::NAN, f64::INFINITY, 0.5, 3e9, -3e9, f64::MIN_POSITIVE];
        let ends = [0.0, 1.0, -1.0, f64::from(i32::MAX), f64::from(i32::MIN)];
        for values in odd.iter().map(|v| vec![1.0, *v]).chain([ends.to_vec(), Vec::new()]) {
            assert_eq!(bits(&back(&values)), bits(&values));
        }
        assert_eq!(
            bits(&back(&[firesteel_model::stale_nan()])),
            bits(&[firesteel_model::stale_nan()])
        );
    }

    #[test]
    fn what_is_usual_is_small() {
        let per_sample = |value: &dyn Fn(usize) -> f64| {
            let values: Vec<f64> = (0..1200).map(value).collect();
            assert_eq!(bits(&back(&values)), bits(&values));
            Values::new(&values).bytes() / 1200
        };
        assert_eq!(per_sample(&|n| (1_000_000 + n * 400) as f64), 2);
        assert_eq!(per_sample(&|n| (n * 5000) as f64), 4);
        assert_eq!(per_sample(&|n| (n * 7919 % 100_000) as f64 / 100.0), 4);
        assert_eq!(per_sample(&|n| (n as f64).sqrt()), 8);
    }

    proptest! {
        #[test]
        fn ranges_are_what_was_there(
            values in prop_oneof![
                prop::collection::vec((-100_000_i32..100_000).prop_map(f64::from), 0..300),
                prop::collection::vec(any::<i32>().prop_map(f64::from), 0..300),
                prop::collection::vec((any::<i32>()).prop_map(|v| f64::from(v) / 100.0), 0..300),
                prop::collection::vec(any::<f64>(), 0..300),
            ],
            from in 0_usize..300,
            len in 0_usize..300,
        ) {
            let from = from.min(values.len());
            let to = (from + len).min(values.len());
            let kept = Values::new(&values);
            prop_assert_eq!(kept.len(), values.len());
            let mut out = Vec::new();
            kept.append(from..to, &mut out);
            prop_assert_eq!(bits(&out), bits(&values[from..to]));
        }
    }
}
