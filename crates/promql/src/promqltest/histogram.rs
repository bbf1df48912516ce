//! The notation of native histograms: `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`.

use firesteel_model::{CounterResetHint, FloatHistogram, Span};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case},
    character::complete::{char, i64 as integer, space0, space1},
    combinator::{map, map_opt, value},
    multi::separated_list0,
    sequence::{delimited, preceded, terminated},
};

use super::series::signed;
use crate::histogram::{added, subtracted};

/// A native histogram of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPoint {
    /// The histogram.
    pub histogram: FloatHistogram,
    /// Whether the script states the hint, so that it counts when results are compared.
    pub states_hint: bool,
}

#[derive(Clone, Debug)]
enum Field {
    Schema(i32),
    Sum(f64),
    Count(f64),
    ZeroCount(f64),
    ZeroThreshold(f64),
    Custom(Vec<f64>),
    Positive(Vec<f64>),
    Negative(Vec<f64>),
    PositiveOffset(i32),
    NegativeOffset(i32),
    Hint(CounterResetHint),
}

pub(super) fn histogram(input: &str) -> IResult<&str, HistogramPoint> {
    let fields = terminated(separated_list0(space1, field), space0);
    map(delimited((tag("{{"), space0), fields, tag("}}")), build).parse(input)
}

fn field(input: &str) -> IResult<&str, Field> {
    fn key<'a>(
        name: &'static str,
    ) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
        terminated(tag_no_case(name), char(':'))
    }
    let int = || map_opt(integer, |n| i32::try_from(n).ok());
    alt((
        map(preceded(key("schema"), int()), Field::Schema),
        map(preceded(key("sum"), signed), Field::Sum),
        map(preceded(key("count"), signed), Field::Count),
        map(preceded(key("z_bucket"), signed), Field::ZeroCount),
        map(preceded(key("z_bucket_w"), signed), Field::ZeroThreshold),
        map(preceded(key("custom_values"), list), Field::Custom),
        map(preceded(key("buckets"), list), Field::Positive),
        map(preceded(key("n_buckets"), list), Field::Negative),
        map(preceded(key("offset"), int()), Field::PositiveOffset),
        map(preceded(key("n_offset"), int()), Field::NegativeOffset),
        map(preceded(key("counter_reset_hint"), hint), Field::Hint),
    ))
    .parse(input)
}

fn list(input: &str) -> IResult<&str, Vec<f64>> {
    let numbers = terminated(separated_list0(space1, signed), space0);
    delimited((char('['), space0), numbers, char(']')).parse(input)
}

fn hint(input: &str) -> IResult<&str, CounterResetHint> {
    alt((
        value(CounterResetHint::Unknown, tag_no_case("unknown")),
        value(CounterResetHint::NotReset, tag_no_case("not_reset")),
        value(CounterResetHint::Reset, tag_no_case("reset")),
        value(CounterResetHint::Gauge, tag_no_case("gauge")),
    ))
    .parse(input)
}

fn build(fields: Vec<Field>) -> HistogramPoint {
    let mut h = FloatHistogram::default();
    let (mut positive, mut negative, mut states_hint) = (0, 0, false);
    for field in fields {
        match field {
            Field::Schema(schema) => h.layout.schema = schema,
            Field::Sum(v) => h.sum = v,
            Field::Count(v) => h.count = v,
            Field::ZeroCount(v) => h.zero_count = v,
            Field::ZeroThreshold(v) => h.layout.zero_threshold = v,
            Field::Custom(bounds) => h.layout.custom_values = bounds,
            Field::Positive(buckets) => h.positive_buckets = buckets,
            Field::Negative(buckets) => h.negative_buckets = buckets,
            Field::PositiveOffset(offset) => positive = offset,
            Field::NegativeOffset(offset) => negative = offset,
            Field::Hint(hint) => {
                h.counter_reset_hint = hint;
                states_hint = true;
            }
        }
    }
    let spans = |offset, buckets: &[f64]| match buckets.len() {
        0 => Vec::new(),
        n => vec![Span { offset, length: n as u32 }],
    };
    h.layout.positive_spans = spans(positive, &h.positive_buckets);
    h.layout.negative_spans = spans(negative, &h.negative_buckets);
    HistogramPoint { histogram: h, states_hint }
}

impl HistogramPoint {
    /// The histogram plus or minus `delta`.
    pub(super) fn combined(&self, delta: &Self, subtract: bool) -> Result<Self, String> {
        let (from, to) = (delta.histogram.layout.schema, self.histogram.layout.schema);
        if to > from {
            return Err(format!(
                "error combining histograms: cannot merge from schema {from} to {to}"
            ));
        }
        let combine = if subtract { subtracted } else { added };
        let (histogram, _) = combine(&self.histogram, &delta.histogram)
            .map_err(|_| "error combining histograms: incompatible buckets".to_owned())?;
        Ok(Self { histogram, states_hint: delta.states_hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_histograms() {
        let text = "{{schema:1 sum:-3.5 count:22 z_bucket:2 z_bucket_w:0.001 buckets:[5 10 7] \
                    offset:-1 n_buckets:[1 2] counter_reset_hint:gauge}}";
        let (rest, point) = histogram(text).unwrap();
        assert_eq!(rest, "");
        assert!(point.states_hint);
        let h = point.histogram;
        assert_eq!((h.layout.schema, h.sum, h.count, h.zero_count), (1, -3.5, 22.0, 2.0));
        assert_eq!(h.layout.positive_spans, [Span { offset: -1, length: 3 }]);
        assert_eq!(
            (h.positive_buckets, h.negative_buckets),
            (vec![5.0, 10.0, 7.0], vec![1.0, 2.0])
        );
        assert_eq!(h.counter_reset_hint, CounterResetHint::Gauge);
        assert_eq!(histogram("{{}}").unwrap().1.histogram, FloatHistogram::default());
        let custom =
            histogram("{{ schema:-53 custom_values:[5 10] buckets:[1 Inf 4 ] }}").unwrap().1;
        assert_eq!(custom.histogram.layout.custom_values, [5.0, 10.0]);
        assert!(histogram("{{foo:1}}").is_err() && histogram("{{sum:1").is_err());
    }

    #[test]
    fn adds_and_subtracts() {
        let point = |text: &str| histogram(text).unwrap().1;
        let a = point("{{count:3 sum:5 buckets:[1 2]}}");
        let b = point("{{count:4 sum:1 buckets:[4] offset:3}}");
        let sum = a.combined(&b, false).unwrap().histogram;
        assert_eq!((sum.count, sum.sum), (7.0, 6.0));
        let back = HistogramPoint { histogram: sum, states_hint: false };
        let back = back.combined(&b, true).unwrap().histogram;
        assert_eq!((back.count, back.sum), (3.0, 5.0));
        let finer = point("{{schema:1}}");
        assert!(a.combined(&finer, false).is_ok() && finer.combined(&a, false).is_err());
    }
}
