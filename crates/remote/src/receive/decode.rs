//! The messages within a request. Strings are borrowed from it, values go into buffers that are
//! kept.

use firesteel_model::{
    CounterResetHint, Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, METRIC_NAME,
    Sample, Timestamp,
    wire::{Field, Reader, WireError, get_varint},
};

use super::{WriteError, WriteLimits};

/// The labels of a series or an exemplar, as they stand in the request.
#[derive(Debug, Default)]
pub(super) struct LabelBuffer<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    /// One of them is not UTF-8.
    not_utf8: bool,
}

impl<'a> LabelBuffer<'a> {
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
        self.not_utf8 = false;
    }

    /// Adds a `Label` message.
    pub(super) fn push(
        &mut self,
        field: &Field<'a>,
        limits: &WriteLimits,
    ) -> Result<(), WriteError> {
        let (name, value) = match plain_label(field.bytes()?) {
            Some((name, value)) => (Some(name), Some(value)),
            None => {
                let (name, value) = label(field.message()?)?;
                (std::str::from_utf8(name).ok(), std::str::from_utf8(value).ok())
            }
        };
        // Bad UTF-8 makes the series invalid, not the request.
        let (Some(name), Some(value)) = (name, value) else {
            self.not_utf8 = true;
            return Ok(());
        };
        limit("label_name_bytes", name.len(), limits.label_name_bytes)?;
        limit("label_value_bytes", value.len(), limits.label_value_bytes)?;
        limit("labels", self.pairs.len() + 1, limits.labels)?;
        self.pairs.push((name, value));
        Ok(())
    }

    /// Sorts the labels, which senders should have done.
    pub(super) fn sort(&mut self) {
        if !self.pairs.is_sorted_by(|a, b| a.0 <= b.0) {
            self.pairs.sort_by(|a, b| a.0.cmp(b.0));
        }
    }

    /// Whether the labels, which are sorted, can be a series. A label without a value is as good as
    /// none, but its name counts.
    pub(super) fn is_series(&self) -> bool {
        let named = self.pairs.iter().any(|(n, v)| *n == METRIC_NAME && !v.is_empty());
        let all_named = self.pairs.first().is_none_or(|(n, _)| !n.is_empty());
        named && all_named && !self.not_utf8 && !self.has_duplicate()
    }

    /// Whether two labels, which are sorted, have the same name.
    fn has_duplicate(&self) -> bool {
        self.pairs.windows(2).any(|w| matches!(w, [a, b] if a.0 == b.0))
    }

    /// The label set, if the labels are sorted and without duplicates.
    pub(super) fn to_labels(&self, buffer: &mut Vec<u8>) -> Labels {
        Labels::from_sorted_in(buffer, self.pairs.iter().copied())
    }

    /// How an invalid series is shown in a log.
    pub(super) fn describe(&self) -> String {
        let mut text = String::from("{");
        for (i, (name, value)) in self.pairs.iter().take(64).enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            text += &format!("{comma}{name:.256}={value:.256?}");
        }
        text + "}"
    }
}

/// Fast path: a label as every encoder writes it, name before value and both short. As the bytes
/// between them are ASCII, the whole is UTF-8 exactly if both are, which is checked once.
#[inline]
fn plain_label(message: &[u8]) -> Option<(&str, &str)> {
    let [0x0a, name_len @ ..0x80, ..] = *message else { return None };
    let text = std::str::from_utf8(message).ok()?;
    let (name, rest) = text.get(2..)?.split_at_checked(usize::from(name_len))?;
    let &[0x12, value_len @ ..0x80, ..] = rest.as_bytes() else { return None };
    let value = rest.get(2..)?;
    (value.len() == usize::from(value_len)).then_some((name, value))
}

/// A `Label` message: name and value.
fn label(mut message: Reader<'_>) -> Result<(&[u8], &[u8]), WireError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = message.field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Refuses `count` if it is above a limit.
#[inline]
pub(super) fn limit(name: &'static str, count: usize, limit: usize) -> Result<(), WriteError> {
    if count > limit {
        return Err(WriteError::Limit { name, limit: limit as u64 });
    }
    Ok(())
}

/// A `Sample` message.
pub(super) fn sample(field: &Field<'_>) -> Result<Sample, WireError> {
    if let Some(sample) = plain_sample(field.bytes()?) {
        return Ok(sample);
    }
    let mut message = field.message()?;
    let mut sample = Sample { t: 0, v: 0.0 };
    while let Some(field) = message.field()? {
        match field.number {
            1 => sample.v = field.double()?,
            2 => sample.t = field.int64()?,
            _ => {}
        }
    }
    Ok(sample)
}

/// Fast path: a sample as every encoder writes it, value before time, neither of them 0.
#[inline]
fn plain_sample(message: &[u8]) -> Option<Sample> {
    let (&[0x09, a, b, c, d, e, f, g, h, 0x10], time) = message.split_first_chunk::<10>()? else {
        return None;
    };
    let (t, len) = get_varint(time)?;
    let v = f64::from_le_bytes([a, b, c, d, e, f, g, h]);
    (len == time.len()).then_some(Sample { t: t.cast_signed(), v })
}

/// An `Exemplar` message. `None` if its labels are not UTF-8 or not unique.
pub(super) fn exemplar<'a>(
    mut message: Reader<'a>,
    labels: &mut LabelBuffer<'a>,
    buffer: &mut Vec<u8>,
    limits: &WriteLimits,
) -> Result<Option<Exemplar>, WriteError> {
    labels.clear();
    let (mut value, mut t) = (0.0, 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => labels.push(&field, limits)?,
            2 => value = field.double()?,
            3 => t = field.int64()?,
            _ => {}
        }
    }
    labels.sort();
    if labels.not_utf8 || labels.has_duplicate() {
        return Ok(None);
    }
    Ok(Some(Exemplar { labels: labels.to_labels(buffer), value, timestamp: Some(t) }))
}

/// A `Histogram` message as it is read: which kind it is shows only at its end.
#[derive(Debug, Default)]
pub(super) struct HistogramBuffer {
    pub(super) t: Timestamp,
    float: bool,
    hint: CounterResetHint,
    layout: HistogramLayout,
    sum: f64,
    count: Number,
    zero_count: Number,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
}

/// A count that is given as one of two kinds.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    integer: u64,
    float: f64,
}

/// A histogram of either kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnyHistogram {
    Integer(Histogram),
    Float(FloatHistogram),
}

impl HistogramBuffer {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self, WireError> {
        let mut histogram = Self::default();
        while let Some(field) = message.field()? {
            histogram.read_field(&field)?;
        }
        Ok(histogram)
    }

    fn read_field(&mut self, field: &Field<'_>) -> Result<(), WireError> {
        match field.number {
            1 => {
                self.float = false;
                self.count = Number { integer: field.varint()?, float: 0.0 };
            }
            2 => {
                self.float = true;
                self.count = Number { integer: 0, float: field.double()? };
            }
            3 => self.sum = field.double()?,
            // A sint32, of which protobuf keeps the lower half.
            4 => self.layout.schema = field.sint64()? as i32,
            5 => self.layout.zero_threshold = field.double()?,
            6 => self.zero_count = Number { integer: field.varint()?, float: 0.0 },
            7 => self.zero_count = Number { integer: 0, float: field.double()? },
            8 => self.layout.negative_spans.push(field.span()?),
            9 => field.read_sint64s(&mut self.negative_deltas)?,
            10 => field.read_doubles(&mut self.negative_counts)?,
            11 => self.layout.positive_spans.push(field.span()?),
            12 => field.read_sint64s(&mut self.positive_deltas)?,
            13 => field.read_doubles(&mut self.positive_counts)?,
            14 => self.hint = hint(field.varint()?),
            15 => self.t = field.int64()?,
            16 => field.read_doubles(&mut self.layout.custom_values)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> AnyHistogram {
        if self.float {
            AnyHistogram::Float(FloatHistogram {
                counter_reset_hint: self.hint,
                layout: self.layout,
                zero_count: self.zero_count.float,
                count: self.count.float,
                sum: self.sum,
                positive_buckets: self.positive_counts,
                negative_buckets: self.negative_counts,
            })
        } else {
            AnyHistogram::Integer(Histogram {
                counter_reset_hint: self.hint,
                layout: self.layout,
                zero_count: self.zero_count.integer,
                count: self.count.integer,
                sum: self.sum,
                positive_deltas: self.positive_deltas,
                negative_deltas: self.negative_deltas,
            })
        }
    }
}

const fn hint(number: u64) -> CounterResetHint {
    match number {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}
