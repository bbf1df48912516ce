//! JSON of query results, written straight into a buffer. Source of the forms:
//! `web/api/v1/json_codec.go`, `util/jsonutil/marshal.go`.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use firesteel_model::{Exemplar, FloatHistogram, Labels, Timestamp, float};
use firesteel_promql::{Executor, QueryValue, RangeSeries, SampleValue, VectorSample};

/// Appends a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut start = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..i]);
        start = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// Appends a label set as an object.
pub(crate) fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    write_pairs(out, labels.iter());
}

/// [`write_labels`] of pairs in order.
pub(crate) fn write_pairs<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (i, (name, value)) in pairs.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Appends a timestamp: seconds, with exactly three decimals where there are milliseconds.
fn write_timestamp(out: &mut Vec<u8>, t: Timestamp) {
    let mut buffer = itoa::Buffer::new();
    if t < 0 {
        out.push(b'-');
    }
    let t = t.unsigned_abs();
    out.extend_from_slice(buffer.format(t / 1000).as_bytes());
    let ms = t % 1000;
    if ms != 0 {
        out.push(b'.');
        out.extend([ms / 100, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8));
    }
}

struct ValueWriter {
    text: String,
}

impl ValueWriter {
    fn float(&mut self, out: &mut Vec<u8>, v: f64) {
        self.text.clear();
        float::write_json(&mut self.text, v);
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'"');
    }

    fn point(&mut self, out: &mut Vec<u8>, t: Timestamp, v: f64) {
        out.push(b'[');
        write_timestamp(out, t);
        out.push(b',');
        self.float(out, v);
        out.push(b']');
    }

    /// A series of an instant vector.
    fn sample(&mut self, out: &mut Vec<u8>, i: usize, sample: &VectorSample) {
        out.extend_from_slice(if i > 0 { b",{\"metric\":" } else { b"{\"metric\":" });
        write_labels(out, &sample.labels);
        match &sample.value {
            SampleValue::Float(v) => {
                out.extend_from_slice(b",\"value\":");
                self.point(out, sample.t, *v);
            }
            SampleValue::Histogram(h) => {
                out.extend_from_slice(b",\"histogram\":");
                self.histogram_point(out, sample.t, h);
            }
        }
        out.push(b'}');
    }

    /// A series of a matrix.
    fn series(&mut self, out: &mut Vec<u8>, i: usize, one: &RangeSeries) {
        out.extend_from_slice(if i > 0 { b",{\"metric\":" } else { b"{\"metric\":" });
        write_labels(out, &one.labels);
        for (k, sample) in one.floats.iter().enumerate() {
            out.extend_from_slice(if k > 0 { b"," } else { b",\"values\":[" });
            self.point(out, sample.t, sample.v);
        }
        if !one.floats.is_empty() {
            out.push(b']');
        }
        for (k, (t, h)) in one.histograms.iter().enumerate() {
            out.extend_from_slice(if k > 0 { b"," } else { b",\"histograms\":[" });
            self.histogram_point(out, *t, h);
        }
        if !one.histograms.is_empty() {
            out.push(b']');
        }
        out.push(b'}');
    }

    fn histogram_point(&mut self, out: &mut Vec<u8>, t: Timestamp, h: &FloatHistogram) {
        out.push(b'[');
        write_timestamp(out, t);
        out.extend_from_slice(b",{\"count\":");
        self.float(out, h.count);
        out.extend_from_slice(b",\"sum\":");
        self.float(out, h.sum);
        let mut any = false;
        // A negative zero bucket, as of a difference, is left out; other negative buckets are not.
        for bucket in h.bucket_iter().filter(|b| b.count > 0.0 || b.lower != -b.upper) {
            out.extend_from_slice(if any { b",[" } else { b",\"buckets\":[[" });
            any = true;
            let boundaries = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (true, true) => b'3',
                (false, false) => b'2',
                (true, false) => b'1',
                (false, true) => b'0',
            };
            out.push(boundaries);
            for v in [bucket.lower, bucket.upper, bucket.count] {
                out.push(b',');
                self.float(out, v);
            }
            out.push(b']');
        }
        if any {
            out.push(b']');
        }
        out.extend_from_slice(b"}]");
    }
}

/// Appends `"resultType":...,"result":...` of a query result, the inside of an object.
pub fn write_query_value(out: &mut Vec<u8>, value: &QueryValue) {
    let mut writer = ValueWriter { text: String::with_capacity(32) };
    write_head(out, value);
    match value {
        QueryValue::Scalar(_) | QueryValue::String { .. } => {}
        QueryValue::Vector(samples) => {
            for (i, sample) in samples.iter().enumerate() {
                writer.sample(out, i, sample);
            }
            out.push(b']');
        }
        QueryValue::Matrix(series) => {
            for (i, one) in series.iter().enumerate() {
                writer.series(out, i, one);
            }
            out.push(b']');
        }
    }
}

/// Points of a matrix that are worth a task of their own, some 0.3 ms of work.
const TASK_POINTS: usize = 4096;

/// The same, for large results: each series is given back when it is written, and `written` is
/// called behind it, to take what is in `out` away, or to stop. Where there are many series,
/// `executor` writes several at a time.
pub(crate) fn write_large_query_value<E>(
    out: &mut Vec<u8>,
    value: QueryValue,
    executor: &dyn Executor,
    mut written: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    write_head(out, &value);
    match value {
        QueryValue::Scalar(_) | QueryValue::String { .. } => {}
        QueryValue::Vector(samples) => {
            let mut writer = ValueWriter { text: String::with_capacity(32) };
            for (i, sample) in samples.into_iter().enumerate() {
                writer.sample(out, i, &sample);
                written(out)?;
            }
            out.push(b']');
        }
        QueryValue::Matrix(mut series) => {
            for wave in tasks(&series).chunks(executor.parallelism() * 2) {
                let texts: Vec<Mutex<Vec<u8>>> = wave.iter().map(|_| Mutex::default()).collect();
                executor.run(wave.len(), &|task| {
                    let mut writer = ValueWriter { text: String::with_capacity(32) };
                    let mut text = Vec::new();
                    for i in wave[task].clone() {
                        writer.series(&mut text, i, &series[i]);
                    }
                    *texts[task].lock().unwrap_or_else(PoisonError::into_inner) = text;
                });
                for (range, text) in wave.iter().zip(texts) {
                    series[range.clone()].fill_with(RangeSeries::default);
                    out.append(&mut text.into_inner().unwrap_or_else(PoisonError::into_inner));
                    written(out)?;
                }
            }
            out.push(b']');
        }
    }
    Ok(())
}

/// Runs of series with about [`TASK_POINTS`] points each.
fn tasks(series: &[RangeSeries]) -> Vec<Range<usize>> {
    let (mut tasks, mut start, mut points) = (Vec::new(), 0, 0);
    for (i, one) in series.iter().enumerate() {
        points += one.floats.len() + 16 * one.histograms.len();
        if points >= TASK_POINTS || i + 1 == series.len() {
            tasks.push(start..i + 1);
            (start, points) = (i + 1, 0);
        }
    }
    tasks
}

/// The type, and a scalar or string whole, or the bracket before the series.
fn write_head(out: &mut Vec<u8>, value: &QueryValue) {
    out.extend_from_slice(b"\"resultType\":\"");
    out.extend_from_slice(value.value_type().as_str().as_bytes());
    out.extend_from_slice(b"\",\"result\":[");
    match value {
        QueryValue::Scalar(sample) => {
            // Never with an exponent, unlike the samples of series: `promql/value.go`.
            let value = float::format_f(sample.v);
            write_timestamp(out, sample.t);
            out.extend_from_slice(format!(",\"{value}\"]").as_bytes());
        }
        QueryValue::String { t, value } => {
            write_timestamp(out, *t);
            out.push(b',');
            write_string(out, value);
            out.push(b']');
        }
        QueryValue::Vector(_) | QueryValue::Matrix(_) => {}
    }
}

/// Appends exemplars by series.
pub(crate) fn write_exemplars(out: &mut Vec<u8>, all: &[(Labels, Vec<Exemplar>)]) {
    let mut writer = ValueWriter { text: String::with_capacity(32) };
    out.push(b'[');
    for (i, (series, exemplars)) in all.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",{\"seriesLabels\":" } else { b"{\"seriesLabels\":" });
        write_labels(out, series);
        out.extend_from_slice(b",\"exemplars\":[");
        for (k, exemplar) in exemplars.iter().enumerate() {
            out.extend_from_slice(if k > 0 { b",{\"labels\":" } else { b"{\"labels\":" });
            write_labels(out, &exemplar.labels);
            out.extend_from_slice(b",\"value\":");
            writer.float(out, exemplar.value);
            out.extend_from_slice(b",\"timestamp\":");
            write_timestamp(out, exemplar.timestamp.unwrap_or_default());
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use firesteel_model::Sample;

    use super::*;

    #[test]
    fn timestamps_have_three_decimals_or_none() {
        for (t, text) in [(0, "0"), (1500, "1.500"), (1000, "1"), (-1, "-0.001"), (-2500, "-2.500")]
        {
            let mut out = Vec::new();
            write_timestamp(&mut out, t);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn scalars_have_no_exponent_and_negative_zero_buckets_are_left_out() {
        use firesteel_model::{HistogramLayout, Sample, Span};
        let text = |value: &QueryValue| {
            let mut out = Vec::new();
            write_query_value(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        let scalar = text(&QueryValue::Scalar(Sample { t: 1000, v: 1e-7 }));
        assert_eq!(scalar, r#""resultType":"scalar","result":[1,"0.0000001"]"#);
        let h = FloatHistogram {
            layout: HistogramLayout {
                zero_threshold: 0.5,
                positive_spans: vec![Span { offset: 1, length: 1 }],
                ..HistogramLayout::default()
            },
            zero_count: -1.0,
            count: -3.0,
            sum: -2.0,
            positive_buckets: vec![-2.0],
            ..FloatHistogram::default()
        };
        let sample = firesteel_promql::VectorSample {
            labels: Labels::empty(),
            t: 0,
            value: SampleValue::Histogram(Box::new(h)),
        };
        let vector = text(&QueryValue::Vector(vec![sample]));
        assert!(vector.contains(r#""buckets":[[0,"1","2","-2"]]"#), "{vector}");
    }

    #[test]
    fn large_results_are_the_same_text() {
        let series = |i: i64| RangeSeries {
            labels: Labels::from_pairs([("i", i.to_string().as_str())]),
            floats: (0..i % 1500).map(|t| Sample { t, v: (t * i) as f64 / 3.0 }).collect(),
            ..RangeSeries::default()
        };
        for n in [0, 1, 40] {
            let value = QueryValue::Matrix((0..n).map(|i| series(i * 97)).collect());
            let mut whole = Vec::new();
            write_query_value(&mut whole, &value);
            for threads in [1, 3] {
                let (mut out, mut all) = (Vec::new(), Vec::new());
                let executor = firesteel_promql::ScopedThreads(threads);
                write_large_query_value(&mut out, value.clone(), &executor, |out| {
                    all.append(out);
                    Ok::<(), ()>(())
                })
                .unwrap();
                all.append(&mut out);
                assert_eq!(all, whole);
            }
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = Vec::new();
        write_string(&mut out, "a\"b\\c\n\u{1}d\u{e9}");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"b\\\\c\\n\\u0001d\u{e9}\"");
    }
}
