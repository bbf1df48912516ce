//! The notation of series: `metric{label="value"} 1 2+3x4 _ stale {{schema:1 buckets:[5 10]}}`.
//! Source: Prometheus `docs/configuration/unit_testing_rules.md`.

use firesteel_model::{Labels, stale_nan};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take_while1},
    character::complete::{char, one_of, space0, space1, u64 as unsigned},
    combinator::{map, map_opt, not, opt, peek, recognize, value},
    multi::separated_list0,
    sequence::{delimited, preceded, terminated},
};

use super::histogram::{HistogramPoint, histogram};
use crate::syntax::parse_metric;

/// More values than this are refused: the notation multiplies.
const MAX_POINTS: usize = 1_000_000;

/// A series in series notation.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// Its values, one per step.
    pub points: Vec<Point>,
}

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// `_`: no sample.
    Omitted,
    /// A float; `stale` is the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram(HistogramPoint),
}

/// One item of the notation, before it is expanded.
#[derive(Clone, Debug)]
enum Item {
    Blanks(u64),
    Floats {
        first: f64,
        delta: f64,
        repeat: u64,
    },
    Histograms {
        first: Box<HistogramPoint>,
        delta: Option<Box<(Delta, HistogramPoint)>>,
        repeat: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Delta {
    Add,
    Subtract,
}

/// Reads a series in series notation.
///
/// # Errors
/// What is wrong, and where it begins.
pub fn parse_series(text: &str) -> Result<Series, String> {
    let (metric, values) = text.split_at(metric_end(text));
    let labels = parse_metric(metric).map_err(|e| e.to_string())?;
    Ok(Series { labels, points: parse_points(values)? })
}

/// Where the metric ends: at the first blank outside of braces and quotes.
pub(super) fn metric_end(text: &str) -> usize {
    let (mut braces, mut quote, mut escaped) = (false, None, false);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(q), '\\') => escaped = q != '`',
            (Some(q), _) => quote = (c != q).then_some(q),
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces = true,
            (None, '}') => return i + 1,
            (None, ' ' | '\t') if !braces => {
                // The braces may follow after blanks.
                let rest = text.get(i..).unwrap_or_default().trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return i;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn parse_points(text: &str) -> Result<Vec<Point>, String> {
    let result = delimited(space0, separated_list0(space1, item), space0).parse(text);
    let (rest, items): (&str, Vec<Item>) =
        result.map_err(|e| format!("unexpected series values: {e}"))?;
    if !rest.is_empty() {
        let excerpt: String = rest.chars().take(20).collect();
        return Err(format!("unexpected text in series values: {excerpt:?}"));
    }
    let mut points = Vec::new();
    for item in items {
        item.expand(&mut points)?;
    }
    Ok(points)
}

impl Item {
    fn expand(self, points: &mut Vec<Point>) -> Result<(), String> {
        let repeat = match self {
            Self::Blanks(n) => n,
            Self::Floats { repeat, .. } | Self::Histograms { repeat, .. } => repeat,
        };
        if repeat >= (MAX_POINTS - points.len().min(MAX_POINTS)) as u64 {
            return Err(format!("more than {MAX_POINTS} values"));
        }
        match self {
            Self::Blanks(n) => points.extend((0..n).map(|_| Point::Omitted)),
            Self::Floats { first, delta, repeat } => {
                // Added up step by step, not multiplied, as in Prometheus.
                let mut v = first;
                for _ in 0..=repeat {
                    points.push(Point::Float(v));
                    v += delta;
                }
            }
            Self::Histograms { first, delta, repeat } => {
                let mut current = *first;
                for i in 0..=repeat {
                    points.push(Point::Histogram(current.clone()));
                    if let Some(delta) = delta.as_ref().filter(|_| i < repeat) {
                        let subtract = matches!(delta.0, Delta::Subtract);
                        current = current.combined(&delta.1, subtract)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn item(input: &str) -> IResult<&str, Item> {
    alt((blanks, histograms, floats)).parse(input)
}

fn repeat(input: &str) -> IResult<&str, u64> {
    preceded(char('x'), unsigned).parse(input)
}

fn blanks(input: &str) -> IResult<&str, Item> {
    let (input, n) = preceded(char('_'), opt(repeat)).parse(input)?;
    Ok((input, Item::Blanks(n.unwrap_or(1))))
}

fn floats(input: &str) -> IResult<&str, Item> {
    let (input, first) = alt((value(stale_nan(), word("stale")), signed)).parse(input)?;
    let (input, tail) = opt((opt(with_sign), repeat)).parse(input)?;
    let (delta, repeat) = tail.unwrap_or_default();
    let delta = delta.unwrap_or(0.0);
    Ok((input, Item::Floats { first, delta, repeat }))
}

fn histograms(input: &str) -> IResult<&str, Item> {
    let sign = alt((value(Delta::Add, char('+')), value(Delta::Subtract, char('-'))));
    let (input, first) = histogram(input)?;
    let (input, tail) = opt((opt((sign, histogram)), repeat)).parse(input)?;
    let (delta, repeat) = tail.unwrap_or_default();
    let (first, delta) = (Box::new(first), delta.map(Box::new));
    Ok((input, Item::Histograms { first, delta, repeat }))
}

/// A word that no letter or digit follows.
fn word<'a>(
    word: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
    terminated(tag(word), not(peek(take_while1(|c: char| c.is_ascii_alphanumeric()))))
}

/// A number that may have a sign.
pub(super) fn signed(input: &str) -> IResult<&str, f64> {
    alt((with_sign, number)).parse(input)
}

fn with_sign(input: &str) -> IResult<&str, f64> {
    let (input, sign) = one_of("+-").parse(input)?;
    map(number, |v| if sign == '-' { -v } else { v }).parse(input)
}

fn number(input: &str) -> IResult<&str, f64> {
    let digits = || take_while1(|c: char| c.is_ascii_digit() || c == '_');
    let exponent = || (one_of("eE"), opt(one_of("+-")), digits());
    let decimal = recognize((
        alt((
            recognize((digits(), opt((char('.'), opt(digits()))))),
            recognize((char('.'), digits())),
        )),
        opt(exponent()),
    ));
    alt((
        value(f64::INFINITY, tag_no_case("inf")),
        value(f64::NAN, tag_no_case("nan")),
        map_opt(decimal, |text: &str| crate::syntax::number(text).ok()),
    ))
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<Option<f64>> {
        let series = parse_series(text).unwrap();
        series
            .points
            .iter()
            .map(|p| match p {
                Point::Omitted => None,
                Point::Float(v) => Some(*v),
                Point::Histogram(_) => panic!("no histogram expected"),
            })
            .collect()
    }

    #[test]
    fn reads_floats() {
        let some = |v: &[f64]| v.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(floats("m 1 2 3"), some(&[1.0, 2.0, 3.0]));
        assert_eq!(floats("m 1+2x3"), some(&[1.0, 3.0, 5.0, 7.0]));
        assert_eq!(floats("m{a=\"b c\"} 1-2x2 5x1"), some(&[1.0, -1.0, -3.0, 5.0, 5.0]));
        assert_eq!(floats("m -1.5e3 +.5 2."), some(&[-1500.0, 0.5, 2.0]));
        assert_eq!(floats("m _ _x2 1"), [None, None, None, Some(1.0)]);
        assert_eq!(floats("m Inf -Inf"), some(&[f64::INFINITY, f64::NEG_INFINITY]));
        assert_eq!(floats("m stale")[0].map(f64::to_bits), Some(firesteel_model::STALE_NAN));
        assert_eq!(floats("m "), []);
        assert_eq!(floats("{}   1"), [Some(1.0)]);
        assert_eq!(parse_series("{} 1").unwrap().labels, Labels::empty());
        let labels = parse_series("{\"a.b\", x='}'} 1").unwrap().labels;
        assert_eq!(labels, Labels::from_pairs([("__name__", "a.b"), ("x", "}")]));
        for bad in ["m 1x", "m stalex", "m 1,2", "m{a} 1", "m 1+x3", "m 1x99999999999", "m foo"] {
            assert!(parse_series(bad).is_err(), "{bad}");
        }
    }
}
