//! Requests, sound and not, into a storage that remembers what it was asked.

use std::sync::{Arc, Mutex};

use firesteel_model::{
    CounterResetHint, FloatHistogram, Histogram, HistogramLayout, Span,
    wire::{Writer, to_zigzag},
};
use proptest::prelude::*;

use super::*;

/// What an appender was given, as text: committed transactions only.
#[derive(Default)]
struct Recorder {
    log: Arc<Mutex<Vec<String>>>,
    /// The error for samples at this time.
    refuse: Option<(Timestamp, fn() -> AppendError)>,
}

struct RecorderAppender<'a> {
    recorder: &'a Recorder,
    pending: Vec<String>,
    series: Vec<Labels>,
}

impl Appendable for Recorder {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(RecorderAppender { recorder: self, pending: Vec::new(), series: Vec::new() })
    }
}

impl RecorderAppender<'_> {
    fn resolve(&mut self, key: SeriesKey<'_>) -> Result<(Labels, SeriesRef), AppendError> {
        match key {
            SeriesKey::Ref(r) => {
                let labels = self.series.get(r.0 as usize - 1).ok_or(AppendError::UnknownSeries)?;
                Ok((labels.clone(), r))
            }
            SeriesKey::Labels(labels) => {
                self.series.push(labels.clone());
                Ok((labels.clone(), SeriesRef(self.series.len() as u64)))
            }
        }
    }
}

impl Appender for RecorderAppender<'_> {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: Timestamp,
        value: Value<'_>,
        _: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        if let Some((_, error)) = self.recorder.refuse.filter(|(at, _)| *at == t) {
            return Err(error());
        }
        let (labels, series) = self.resolve(series)?;
        self.pending.push(match value {
            Value::Float(v) => format!("{labels} {v} @{t}"),
            Value::Histogram(h) => format!("{labels} {h} {:?} @{t}", h.counter_reset_hint),
            Value::FloatHistogram(h) => format!("{labels} float {h} @{t}"),
        });
        Ok(series)
    }

    fn append_exemplars(
        &mut self,
        series: SeriesKey<'_>,
        exemplars: &[Exemplar],
    ) -> Result<(), AppendError> {
        let (labels, _) = self.resolve(series)?;
        for e in exemplars {
            let t = e.timestamp.unwrap_or_default();
            if t < 0 {
                return Err(AppendError::OutOfOrderExemplar);
            }
            self.pending.push(format!("{labels} # {} {} @{t}", e.labels, e.value));
        }
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        let samples = self.pending.len() as u64;
        self.recorder.log.lock().unwrap().extend(self.pending);
        Ok(CommitStats { samples, ..CommitStats::default() })
    }
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn put_labels(out: &mut Writer<'_>, labels: Pairs<'_>) {
    for (name, value) in labels {
        out.message(1, |w| {
            w.bytes(1, name.as_bytes());
            w.bytes(2, value.as_bytes());
        });
    }
}

fn put_sample(out: &mut Writer<'_>, t: i64, v: f64) {
    out.message(2, |w| {
        w.double(1, v);
        w.int64(2, t);
    });
}

/// A request of series with these labels and samples.
fn request(series: &[(Pairs<'_>, &[(i64, f64)])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (labels, samples) in series {
        Writer::new(&mut out).message(1, |w| {
            put_labels(w, labels);
            for (t, v) in *samples {
                put_sample(w, *t, *v);
            }
        });
    }
    out
}

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

const NOW: Timestamp = 1_000_000;

/// Writes a message; the outcome and what arrived.
fn take(message: &[u8]) -> (Result<WriteOutcome, WriteError>, Vec<String>) {
    take_with(Recorder::default(), message, &WriteLimits::default())
}

fn take_with(
    recorder: Recorder,
    message: &[u8],
    limits: &WriteLimits,
) -> (Result<WriteOutcome, WriteError>, Vec<String>) {
    let outcome = write(&compress(message), &recorder, NOW, limits);
    let log = recorder.log.lock().unwrap().clone();
    (outcome, log)
}

const UP: Pairs<'static> = &[("__name__", "up"), ("job", "a")];

#[test]
fn takes_samples_in_any_order_of_labels() {
    let message = request(&[
        (UP, &[(1, 1.0), (2, 0.5)]),
        (&[("z", "1"), ("__name__", "m"), ("empty", "")], &[(3, -1.0)]),
        (&[("__name__", "nothing")], &[]),
    ]);
    let (outcome, log) = take(&message);
    assert_eq!(outcome.unwrap().samples, 3);
    assert_eq!(
        log,
        [
            r#"{__name__="up", job="a"} 1 @1"#,
            r#"{__name__="up", job="a"} 0.5 @2"#,
            r#"{__name__="m", z="1"} -1 @3"#,
        ]
    );
}

#[test]
fn fields_may_come_in_any_order() {
    let mut message = Vec::new();
    Writer::new(&mut message).message(1, |w| {
        w.varint(99, 7);
        put_sample(w, 1, 2.0);
        put_labels(w, UP);
    });
    let (outcome, log) = take(&message);
    assert_eq!((outcome.unwrap().samples, log.len()), (1, 1));
}

#[test]
fn series_that_cannot_be_stored_are_left_out_and_counted() {
    let samples: &[(i64, f64)] = &[(1, 1.0)];
    let mut message = request(&[
        (&[("job", "a")], samples),
        (&[("__name__", "")], samples),
        (&[("__name__", "m"), ("", "x")], samples),
        (&[("__name__", "m"), ("a", "1"), ("a", "2")], samples),
        (UP, samples),
    ]);
    Writer::new(&mut message).message(1, |w| {
        w.message(1, |w| {
            w.bytes(1, b"__name__");
            w.bytes(2, b"\xff");
        });
        put_sample(w, 1, 1.0);
    });
    Writer::new(&mut message).message(3, |w| w.bytes(2, b"up"));
    let (outcome, log) = take(&message);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.invalid_series, outcome.samples, outcome.metadata), (5, 1, 1));
    assert_eq!(outcome.invalid_example.as_deref(), Some(r#"{job="a"}"#));
    assert_eq!(log.len(), 1);
}

#[test]
fn a_refused_sample_refuses_the_request() {
    let rows: &[(fn() -> AppendError, u16, &str)] = &[
        (|| AppendError::OutOfOrder, 400, "out of order sample"),
        (|| AppendError::OutOfBounds, 400, "out of bounds"),
        (|| AppendError::TooOld, 400, "too old sample"),
        (|| AppendError::DuplicateTimestamp, 400, "duplicate sample for timestamp"),
        (|| AppendError::NotReady("x".into()), 503, "storage is not ready: x"),
        (|| AppendError::Limit("no".into()), 500, "no"),
    ];
    for (error, status, text) in rows {
        let recorder = Recorder { refuse: Some((2, *error)), ..Recorder::default() };
        let message = request(&[(UP, &[(1, 1.0), (2, 1.0), (3, 1.0)])]);
        let (outcome, log) = take_with(recorder, &message, &WriteLimits::default());
        let error = outcome.unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (*status, *text));
        assert_eq!(log, [""; 0]);
    }
}

#[test]
fn samples_far_ahead_are_refused() {
    let at = |t| request(&[(UP, &[(t, 1.0)])]);
    assert!(take(&at(NOW + MAX_AHEAD_MS)).0.is_ok());
    let error = take(&at(NOW + MAX_AHEAD_MS + 1)).0.unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(error.to_string(), "out of bounds: timestamp is too far in the future");
}

fn put_histogram(w: &mut Writer<'_>, h: &Histogram, t: i64) {
    w.message(4, |w| {
        w.varint(1, h.count);
        w.double(3, h.sum);
        w.sint64(4, h.layout.schema.into());
        w.double(5, h.layout.zero_threshold);
        w.varint(6, h.zero_count);
        for span in &h.layout.positive_spans {
            w.message(11, |w| {
                w.sint64(1, span.offset.into());
                w.varint(2, span.length.into());
            });
        }
        w.packed_varints(12, h.positive_deltas.iter().map(|d| to_zigzag(*d)));
        w.varint(14, h.counter_reset_hint as u64);
        w.int64(15, t);
        w.packed_doubles(16, &h.layout.custom_values);
    });
}

fn put_float_histogram(w: &mut Writer<'_>, h: &FloatHistogram, t: i64) {
    w.message(4, |w| {
        w.double(2, h.count);
        w.double(3, h.sum);
        w.sint64(4, h.layout.schema.into());
        w.double(7, h.zero_count);
        for span in &h.layout.negative_spans {
            w.message(8, |w| {
                w.sint64(1, span.offset.into());
                w.varint(2, span.length.into());
            });
        }
        // Not packed, as old encoders do.
        for count in &h.negative_buckets {
            w.double(10, *count);
        }
        w.int64(15, t);
    });
}

fn integer_histogram(schema: i32) -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::Gauge,
        layout: HistogramLayout {
            schema,
            zero_threshold: 0.25,
            positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }],
            ..HistogramLayout::default()
        },
        zero_count: 1,
        count: 7,
        sum: 2.5,
        positive_deltas: vec![1, 1, 1],
        ..Histogram::default()
    }
}

fn series_with(put: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
    let mut message = Vec::new();
    Writer::new(&mut message).message(1, |w| {
        put_labels(w, UP);
        put(w);
    });
    message
}

#[test]
fn takes_histograms_of_both_kinds() {
    let float = FloatHistogram {
        layout: HistogramLayout {
            negative_spans: vec![Span { offset: 0, length: 2 }],
            ..HistogramLayout::default()
        },
        zero_count: 0.5,
        count: 3.5,
        negative_buckets: vec![1.0, 2.0],
        ..FloatHistogram::default()
    };
    let (outcome, log) = take(&series_with(|w| {
        put_histogram(w, &integer_histogram(0), 1);
        put_float_histogram(w, &float, 2);
        // Too fine to be stored: four buckets of schema 10 make one of schema 8.
        put_histogram(w, &integer_histogram(10), 3);
    }));
    assert_eq!(outcome.unwrap().histograms, 3);
    let start = r#"{__name__="up", job="a"}"#;
    assert_eq!(
        log[0],
        format!(
            "{start} {{count:7, sum:2.5, [-0.25,0.25]:1, (0.25,0.5]:1, (0.5,1]:2, (2,4]:3}} Gauge @1"
        )
    );
    assert_eq!(
        log[1],
        format!("{start} float {{count:3.5, sum:0, [-2,-1):2, [-1,-0.5):1, [-0,0]:0.5}} @2")
    );
    assert!(log[2].contains("1]:3, (1,1.002"), "{}", log[2]);
}

#[test]
fn histograms_that_contradict_themselves_refuse_the_request() {
    let bad = Histogram { count: 6, ..integer_histogram(0) };
    let (outcome, log) = take(&series_with(|w| {
        put_sample(w, 1, 1.0);
        put_histogram(w, &bad, 2);
    }));
    let error = outcome.unwrap_err();
    assert_eq!((error.status(), log.len()), (400, 0));
    assert!(error.to_string().starts_with("7 observations found in buckets, but the Count"));
}

#[test]
fn exemplars_need_no_sample_and_refuse_nothing() {
    let exemplar = |w: &mut Writer<'_>, labels: Pairs<'_>, t: i64| {
        w.message(3, |w| {
            put_labels(w, labels);
            w.double(2, 0.25);
            w.int64(3, t);
        });
    };
    let (outcome, log) = take(&series_with(|w| {
        exemplar(w, &[("trace", "abc")], 5);
        exemplar(w, &[], 6);
        exemplar(w, &[], -1);
        exemplar(w, &[("a", "1"), ("a", "2")], 7);
        exemplar(w, &[], NOW + MAX_AHEAD_MS + 1);
    }));
    let outcome = outcome.unwrap();
    assert_eq!((outcome.exemplars, outcome.refused_exemplars, outcome.samples), (2, 3, 0));
    assert_eq!(log[0], r#"{__name__="up", job="a"} # {trace="abc"} 0.25 @5"#);
}

#[test]
fn limits_refuse_by_name() {
    let message = request(&[(UP, &[(1, 1.0), (2, 1.0)]), (UP, &[(3, 1.0)])]);
    let refused = |change: fn(&mut WriteLimits)| {
        let mut limits = WriteLimits::default();
        change(&mut limits);
        let (outcome, log) = take_with(Recorder::default(), &message, &limits);
        assert!(log.is_empty());
        outcome.unwrap_err().to_string()
    };
    for (change, name) in [
        ((|l| l.series = 1) as fn(&mut WriteLimits), "series of 1"),
        (|l| l.samples = 2, "samples of 2"),
        (|l| l.labels = 1, "labels of 1"),
        (|l| l.label_name_bytes = 7, "label_name_bytes of 7"),
        (|l| l.label_value_bytes = 1, "label_value_bytes of 1"),
    ] {
        assert_eq!(refused(change), format!("remote write request exceeds limit {name}"));
    }
    let len = message.len();
    let text = refused(|l| l.decoded_bytes = 10);
    assert_eq!(text, format!("request of {len} bytes is too large: limit decoded_bytes is 10"));
    // A body that claims far more than it can hold.
    let bomb = [0xff, 0xff, 0xff, 0x0f, 0, 0];
    let error = write(&bomb, &Recorder::default(), NOW, &WriteLimits::default()).unwrap_err();
    assert_eq!(error.status(), 413);
    assert!(error.to_string().contains("limit ratio is 192"), "{error}");
}

#[test]
fn damage_is_a_bad_request() {
    let limits = WriteLimits::default();
    for body in [&[][..], &[5], &[5, 0, 0, 0, 0, 0, 0], b"not snappy at all"] {
        let error = write(body, &Recorder::default(), NOW, &limits).unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (400, "snappy: corrupt input"));
    }
    let message = request(&[(UP, &[(1, 1.0)])]);
    let error = take(&message[..message.len() - 1]).0.unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(
        error.to_string(),
        "invalid remote write request: unexpected end of message at byte 2"
    );
}

/// What Prometheus 3.5 sends about itself: a request as it came over the wire, native
/// histograms among it.
#[test]
fn takes_what_prometheus_sends() {
    let body = include_bytes!("../../testdata/prometheus-3.5.snappy");
    let recorder = Recorder::default();
    let outcome = write(body, &recorder, i64::MAX, &WriteLimits::default()).unwrap();
    assert_eq!((outcome.invalid_series, outcome.refused_exemplars), (0, 0));
    // As another decoder counts them.
    assert_eq!((outcome.samples, outcome.histograms), (497, 3));
    let log = recorder.log.lock().unwrap();
    let named = |name: &str| log.iter().any(|line| line.contains(&format!("__name__=\"{name}\"")));
    assert!(named("up") && named("prometheus_build_info"));
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let label = ("(__name__|[a-c]{0,2})", "[a-z]{0,3}");
    let series = (
        prop::collection::vec(label, 0..4),
        prop::collection::vec((0..10_i64, any::<f64>()), 0..3),
        prop::option::of(-60..60_i32),
    );
    prop::collection::vec(series, 0..4).prop_map(|all| {
        let mut message = Vec::new();
        for (labels, samples, schema) in &all {
            Writer::new(&mut message).message(1, |w| {
                let labels: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                put_labels(w, &labels);
                for (t, v) in samples {
                    put_sample(w, *t, *v);
                }
                if let Some(schema) = schema {
                    put_histogram(w, &integer_histogram(*schema), 1);
                }
            });
        }
        message
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = WriteLimits::default();
        drop(write(&bytes, &Recorder::default(), NOW, &limits));
        drop(write_decoded(&bytes, &Recorder::default(), NOW, &limits));
    }

    #[test]
    fn damaged_requests_never_panic(
        message in any_request(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let limits = WriteLimits::default();
        let mut message = message;
        let whole = message.clone();
        for (at, byte) in flips.iter().filter(|_| !whole.is_empty()) {
            message[at.index(whole.len())] ^= byte;
        }
        let recorder = Recorder::default();
        let outcome = write_decoded(&message, &recorder, NOW, &limits);
        // Nothing is stored of what is refused.
        prop_assert!(outcome.is_ok() || recorder.log.lock().unwrap().is_empty());
        let len = cut.index(message.len() + 1);
        drop(write_decoded(&message[..len], &Recorder::default(), NOW, &limits));
        let mut body = compress(&whole);
        if let Some((at, byte)) = flips.first() {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        drop(write(&body, &Recorder::default(), NOW, &limits));
    }

    #[test]
    fn what_is_counted_has_arrived(message in any_request()) {
        let (outcome, log) = take(&message);
        if let Ok(outcome) = outcome {
            prop_assert_eq!((outcome.samples + outcome.histograms) as usize, log.len());
        }
    }
}
