//! One metric of a family, decoded: fields are taken where they stand, strings stay in the page.

use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, MetricType, Span, Timestamp,
    histogram::{CounterResetHint, span_buckets},
    wire::{Field, Reader, WireError},
};

use crate::{NativeHistogram, entry::RawLabel, text::MAX_LABELS};

/// What can be wrong with a metric.
#[derive(Debug)]
pub(crate) enum Problem {
    Wire(WireError),
    Other(String),
}

impl From<WireError> for Problem {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

/// A bucket of a classic histogram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket<'a> {
    count: u64,
    count_float: f64,
    pub(crate) bound: f64,
    pub(crate) exemplar: Option<&'a [u8]>,
}

impl Bucket<'_> {
    /// The cumulative count; the float one where it is set.
    pub(crate) const fn value(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }
}

/// A metric. The parts that its family's type does not use stay empty.
#[derive(Debug, Default)]
pub(crate) struct Metric<'a> {
    /// Milliseconds; 0 where there is none, as proto3 cannot tell.
    pub(crate) timestamp: Timestamp,
    /// When it began to count, in milliseconds.
    pub(crate) start: Option<Timestamp>,
    /// Of a counter, gauge or untyped metric.
    pub(crate) value: f64,
    /// Of a counter: the message, not decoded.
    pub(crate) exemplar: Option<&'a [u8]>,
    count: u64,
    count_float: f64,
    pub(crate) sum: f64,
    pub(crate) quantiles: Vec<(f64, f64)>,
    pub(crate) buckets: Vec<Bucket<'a>>,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    positive: Side,
    negative: Side,
    /// Of a native histogram: the messages, not decoded.
    exemplars: Vec<&'a [u8]>,
}

/// One side of a native histogram.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn clear(&mut self) {
        self.spans.clear();
        self.deltas.clear();
        self.counts.clear();
    }

    /// A field whose number is `first` (spans), one more (deltas) or two more (counts).
    fn read(&mut self, field: &Field<'_>, first: u32) -> Result<(), WireError> {
        match field.number - first {
            0 => self.spans.push(field.span()?),
            1 => field.read_sint64s(&mut self.deltas)?,
            _ => field.read_doubles(&mut self.counts)?,
        }
        Ok(())
    }
}

/// A `google.protobuf.Timestamp` in milliseconds.
fn timestamp(mut message: Reader<'_>) -> Result<Timestamp, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    while let Some(field) = message.field()? {
        match field.number {
            1 => seconds = field.int64()?,
            2 => nanos = field.int64()? as i32,
            _ => {}
        }
    }
    Ok(seconds.wrapping_mul(1000).wrapping_add(i64::from(nanos / 1_000_000)))
}

impl<'a> Metric<'a> {
    fn clear(&mut self) {
        // Field by field: replacing the whole, with its lists kept, is a tenth of a page's time.
        self.timestamp = 0;
        (self.start, self.exemplar) = (None, None);
        (self.value, self.sum, self.count, self.count_float) = (0.0, 0.0, 0, 0.0);
        (self.schema, self.zero_threshold) = (0, 0.0);
        (self.zero_count, self.zero_count_float) = (0, 0.0);
        self.quantiles.clear();
        self.buckets.clear();
        self.positive.clear();
        self.negative.clear();
        self.exemplars.clear();
    }

    /// Reads a metric of a family of type `kind`; its labels go to `labels`.
    pub(crate) fn read(
        &mut self,
        mut message: Reader<'a>,
        kind: MetricType,
        labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<(), Problem> {
        self.clear();
        labels.clear();
        while let Some(field) = message.field()? {
            match (field.number, kind) {
                (1, _) => {
                    if labels.len() >= MAX_LABELS {
                        return Err(Problem::Other(format!("more than {MAX_LABELS} labels")));
                    }
                    labels.push(match plain_label(field.bytes()?) {
                        Some(label) => label,
                        None => label(field.message()?)?,
                    });
                }
                (2, MetricType::Gauge) | (5, MetricType::Unknown) | (3, MetricType::Counter) => {
                    self.read_value(field.message()?)?;
                }
                (4, MetricType::Summary) => self.read_summary(field.message()?)?,
                (7, MetricType::Histogram | MetricType::GaugeHistogram) => {
                    self.read_histogram(field.message()?)?;
                }
                (6, _) => self.timestamp = field.int64()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A `Gauge`, `Untyped` or `Counter`.
    fn read_value(&mut self, mut message: Reader<'a>) -> Result<(), Problem> {
        while let Some(field) = message.field()? {
            match field.number {
                1 => self.value = field.double()?,
                2 => self.exemplar = Some(field.bytes()?),
                3 => self.start = Some(timestamp(field.message()?)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_summary(&mut self, mut message: Reader<'a>) -> Result<(), Problem> {
        while let Some(field) = message.field()? {
            match field.number {
                1 => self.count = field.varint()?,
                2 => self.sum = field.double()?,
                3 => {
                    let mut quantile = (0.0, 0.0);
                    let mut message = field.message()?;
                    while let Some(field) = message.field()? {
                        match field.number {
                            1 => quantile.0 = field.double()?,
                            2 => quantile.1 = field.double()?,
                            _ => {}
                        }
                    }
                    self.quantiles.push(quantile);
                }
                4 => self.start = Some(timestamp(field.message()?)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_histogram(&mut self, mut message: Reader<'a>) -> Result<(), Problem> {
        while let Some(field) = message.field()? {
            match field.number {
                1 => self.count = field.varint()?,
                2 => self.sum = field.double()?,
                3 => self.read_bucket(field.message()?)?,
                4 => self.count_float = field.double()?,
                5 => self.schema = field.sint64()? as i32,
                6 => self.zero_threshold = field.double()?,
                7 => self.zero_count = field.varint()?,
                8 => self.zero_count_float = field.double()?,
                9..=11 => self.negative.read(&field, 9)?,
                12..=14 => self.positive.read(&field, 12)?,
                15 => self.start = Some(timestamp(field.message()?)?),
                16 => self.exemplars.push(field.bytes()?),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_bucket(&mut self, mut message: Reader<'a>) -> Result<(), Problem> {
        let mut bucket = Bucket::default();
        while let Some(field) = message.field()? {
            match field.number {
                1 => bucket.count = field.varint()?,
                2 => bucket.bound = field.double()?,
                3 => bucket.exemplar = Some(field.bytes()?),
                4 => bucket.count_float = field.double()?,
                _ => {}
            }
        }
        self.buckets.push(bucket);
        Ok(())
    }

    /// The count of a summary or a histogram; the float one where it is set.
    pub(crate) const fn count(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// Whether it is a native histogram. One without any observation and without a span cannot be
    /// told from a classic one, which is why clients write an empty span.
    pub(crate) fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    /// The native histogram, without needless buckets. Its buffers are taken.
    pub(crate) fn native(&mut self, gauge: bool) -> Result<NativeHistogram, String> {
        let is_float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        for (side, name) in [(&self.positive, "positive"), (&self.negative, "negative")] {
            let have = if is_float { side.counts.len() } else { side.deltas.len() };
            let total = span_buckets(&side.spans);
            if total != have as u64 {
                return Err(format!("{name} side: spans require {total} buckets, have {have}"));
            }
        }
        let layout = HistogramLayout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            positive_spans: std::mem::take(&mut self.positive.spans),
            negative_spans: std::mem::take(&mut self.negative.spans),
            custom_values: Vec::new(),
        };
        let counter_reset_hint =
            if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        if is_float {
            let mut h = FloatHistogram {
                counter_reset_hint,
                layout,
                zero_count: self.zero_count_float,
                count: self.count_float,
                sum: self.sum,
                positive_buckets: std::mem::take(&mut self.positive.counts),
                negative_buckets: std::mem::take(&mut self.negative.counts),
            };
            h.compact(0);
            return Ok(NativeHistogram::Float(h));
        }
        let mut h = Histogram {
            counter_reset_hint,
            layout,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_deltas: std::mem::take(&mut self.positive.deltas),
            negative_deltas: std::mem::take(&mut self.negative.deltas),
        };
        h.compact(0);
        Ok(NativeHistogram::Integer(h))
    }

    /// The exemplars of the whole histogram: its own or, where it has none, those of its buckets.
    /// Those without a timestamp are left out.
    pub(crate) fn native_exemplars(&self) -> Result<Vec<Exemplar>, Problem> {
        let of_buckets = self.buckets.iter().filter_map(|b| b.exemplar);
        let own = self.exemplars.iter().copied();
        let mut labels = Vec::new();
        let mut all = Vec::new();
        let mut add = |message: &'a [u8]| {
            let read = exemplar(message, &mut labels)?;
            if let Some((value, timestamp @ Some(_))) = read {
                let pairs = labels.iter().map(|l: &RawLabel<'_>| (l.name, l.value));
                all.push(Exemplar { labels: Labels::from_pairs(pairs), value, timestamp });
            }
            Ok::<_, Problem>(())
        };
        if self.exemplars.is_empty() {
            of_buckets.into_iter().try_for_each(&mut add)?;
        } else {
            own.into_iter().try_for_each(&mut add)?;
        }
        Ok(all)
    }
}

/// Fast path: a label pair as every client writes it, name and value of less than 128 bytes. Most of
/// a page is these.
#[inline]
fn plain_label(message: &[u8]) -> Option<RawLabel<'_>> {
    let &[0x0a, name_len @ 1..0x80, ref rest @ ..] = message else { return None };
    let (name, rest) = rest.split_at_checked(name_len.into())?;
    let &[0x12, value_len @ 0..0x80, ref value @ ..] = rest else { return None };
    if value.len() != usize::from(value_len) {
        return None;
    }
    // One check for both: the bytes between them are text as well.
    let text = std::str::from_utf8(message.get(2..)?).ok()?;
    let name = text.get(..name.len())?;
    let value = text.get(name.len() + 2..)?;
    Some(RawLabel { name, value, name_escaped: false, value_escaped: false })
}

/// A label pair.
fn label(mut message: Reader<'_>) -> Result<RawLabel<'_>, Problem> {
    let (mut name, mut value) = ("", "");
    while let Some(field) = message.field()? {
        let text = match field.number {
            1 | 2 => std::str::from_utf8(field.bytes()?),
            _ => continue,
        };
        let what = if field.number == 1 { "name" } else { "value" };
        let text = text.ok().filter(|t| field.number == 2 || !t.is_empty());
        let Some(text) = text else {
            let shown = String::from_utf8_lossy(field.bytes()?);
            return Err(Problem::Other(format!("invalid label {what}: {shown}")));
        };
        *(if field.number == 1 { &mut name } else { &mut value }) = text;
    }
    Ok(RawLabel { name, value, name_escaped: false, value_escaped: false })
}

/// Value and timestamp of an exemplar.
pub(crate) type ExemplarValue = (f64, Option<Timestamp>);

/// Decodes an exemplar; its labels go to `labels`. `None` for one whose labels are not UTF-8:
/// Prometheus does not look, but we have no place for such bytes.
pub(crate) fn exemplar<'a>(
    message: &'a [u8],
    labels: &mut Vec<RawLabel<'a>>,
) -> Result<Option<ExemplarValue>, Problem> {
    labels.clear();
    let mut reader = Reader::new(message);
    let mut read = (0.0, None);
    let mut sound = true;
    while let Some(field) = reader.field()? {
        match field.number {
            1 => {
                let (mut name, mut value) = (&b""[..], &b""[..]);
                let mut pair = field.message()?;
                while let Some(field) = pair.field()? {
                    match field.number {
                        1 => name = field.bytes()?,
                        2 => value = field.bytes()?,
                        _ => {}
                    }
                }
                match (std::str::from_utf8(name), std::str::from_utf8(value)) {
                    (Ok(name), Ok(value)) if labels.len() < MAX_LABELS => labels.push(RawLabel {
                        name,
                        value,
                        name_escaped: false,
                        value_escaped: false,
                    }),
                    _ => sound = false,
                }
            }
            2 => read.0 = field.double()?,
            3 => read.1 = Some(timestamp(field.message()?)?),
            _ => {}
        }
    }
    Ok(sound.then_some(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::wire::Writer;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fast_path_reads_labels_as_the_slow_one(
            name in prop::collection::vec(any::<u8>(), 0..140),
            value in "\\PC{0,60}",
            cut in 0_usize..300,
            order: bool,
        ) {
            let mut message = Vec::new();
            let mut w = Writer::new(&mut message);
            let fields = [(1, &*name), (2, value.as_bytes())];
            let fields = if order { fields } else { [fields[1], fields[0]] };
            for (number, bytes) in fields {
                w.bytes(number, bytes);
            }
            message.truncate(cut);
            if let Some(fast) = plain_label(&message) {
                let slow = label(Reader::new(&message)).map_err(|_| "an error").unwrap();
                prop_assert_eq!((fast.name, fast.value), (slow.name, slow.value));
            }
        }

        #[test]
        fn labels_of_clients_take_the_fast_path(name in "[a-z]{1,20}", value in "\\PC{0,30}") {
            let mut message = Vec::new();
            let mut w = Writer::new(&mut message);
            w.bytes(1, name.as_bytes());
            w.bytes(2, value.as_bytes());
            prop_assert!(plain_label(&message).is_some() || message.len() > 120);
        }
    }
}
