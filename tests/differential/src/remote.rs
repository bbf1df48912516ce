//! Remote write, and as much of remote read as tells what the storage made of counter resets.

use std::{collections::HashMap, path::Path};

use firesteel_model::{
    CounterResetHint, FloatHistogram, Histogram, Labels, Span, Timestamp,
    wire::{Reader, Writer, get_varint, put_varint},
};

use crate::{
    Result,
    data::{Dataset, END, START, Value},
    http::Client,
    peer::Server,
    subject::{Subject, When},
};

/// How much time a request covers: servers refuse samples that are much older than the newest.
const SLICE: i64 = 600_000;

/// Writes all series, in slices of time.
///
/// # Errors
/// The server refuses something.
pub fn write(client: &mut Client, data: &Dataset) -> Result<()> {
    let mut from = START;
    while from < END + 600_000 {
        // A commit takes floats before histograms, so each run of either has to be in a request of
        // its own.
        for run in 0.. {
            let request = request(data, from, from + SLICE, run);
            if request.is_empty() {
                break;
            }
            let body = snap::raw::Encoder::new().compress_vec(&request)?;
            let headers = [
                "Content-Type: application/x-protobuf",
                "Content-Encoding: snappy",
                "X-Prometheus-Remote-Write-Version: 0.1.0",
            ];
            let (status, body) = client.send("POST", "/api/v1/write", &headers, &body)?;
            if status / 100 != 2 {
                return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
            }
        }
        from += SLICE;
    }
    Ok(())
}

/// A server that holds the data; it ends with this.
#[derive(Debug)]
pub struct Filled {
    client: Client,
    _server: Server,
}

impl Filled {
    /// Starts `program` and writes the data.
    ///
    /// # Errors
    /// It does not start, or refuses something.
    pub fn start(program: &Path, features: &[&str], data: &Dataset) -> Result<Self> {
        let server = Server::start(program, features)?;
        let mut client = Client::new(server.address);
        write(&mut client, data)?;
        Ok(Self { client, _server: server })
    }
}

impl Subject for Filled {
    fn ask(&mut self, query: &str, when: When) -> Result<Vec<u8>> {
        self.client.ask(query, when)
    }
}

fn message(out: &mut Vec<u8>, number: u32, fill: impl FnOnce(&mut Writer<'_>)) {
    let mut inner = Vec::new();
    fill(&mut Writer::new(&mut inner));
    Writer::new(out).bytes(number, &inner);
}

/// The samples of a slice of time, of each series those of its run with this number.
fn request(data: &Dataset, from: Timestamp, to: Timestamp, run: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for series in data.series() {
        let all = series.samples.iter().filter(|(t, _)| (from..to).contains(t));
        let all: Vec<_> = all.collect();
        let mut runs = all.chunk_by(|a, b| is_float(&a.1) == is_float(&b.1));
        let Some(samples) = runs.nth(run) else { continue };
        let mut inner = Vec::new();
        for (name, value) in series.labels.iter() {
            message(&mut inner, 1, |w| {
                w.bytes(1, name.as_bytes());
                w.bytes(2, value.as_bytes());
            });
        }
        for (t, value) in samples {
            match value {
                Value::Float(v) => message(&mut inner, 2, |w| {
                    w.double(1, *v);
                    w.int64(2, *t);
                }),
                Value::Integers(h) => message(&mut inner, 4, |w| integers(w, h, *t)),
                Value::Floats(h) => message(&mut inner, 4, |w| floats(w, h, *t)),
            }
        }
        Writer::new(&mut out).bytes(1, &inner);
    }
    out
}

const fn is_float(value: &Value) -> bool {
    matches!(value, Value::Float(_))
}

fn spans(w: &mut Writer<'_>, number: u32, spans: &[Span]) {
    for span in spans {
        let mut inner = Vec::new();
        let mut s = Writer::new(&mut inner);
        s.sint64(1, i64::from(span.offset));
        s.varint(2, u64::from(span.length));
        w.bytes(number, &inner);
    }
}

fn packed_deltas(w: &mut Writer<'_>, number: u32, deltas: &[i64]) {
    let mut inner = Vec::new();
    for delta in deltas {
        put_varint(&mut inner, ((delta << 1) ^ (delta >> 63)).cast_unsigned());
    }
    w.bytes(number, &inner);
}

fn packed_doubles(w: &mut Writer<'_>, number: u32, values: &[f64]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    w.bytes(number, &bytes);
}

fn integers(w: &mut Writer<'_>, h: &Histogram, t: Timestamp) {
    w.varint(1, h.count);
    w.double(3, h.sum);
    w.sint64(4, i64::from(h.layout.schema));
    w.double(5, h.layout.zero_threshold);
    w.varint(6, h.zero_count);
    spans(w, 8, &h.layout.negative_spans);
    packed_deltas(w, 9, &h.negative_deltas);
    spans(w, 11, &h.layout.positive_spans);
    packed_deltas(w, 12, &h.positive_deltas);
    w.varint(14, h.counter_reset_hint as u64);
    w.int64(15, t);
    packed_doubles(w, 16, &h.layout.custom_values);
}

fn floats(w: &mut Writer<'_>, h: &FloatHistogram, t: Timestamp) {
    w.double(2, h.count);
    w.double(3, h.sum);
    w.sint64(4, i64::from(h.layout.schema));
    w.double(5, h.layout.zero_threshold);
    w.double(7, h.zero_count);
    spans(w, 8, &h.layout.negative_spans);
    packed_doubles(w, 10, &h.negative_buckets);
    spans(w, 11, &h.layout.positive_spans);
    packed_doubles(w, 13, &h.positive_buckets);
    w.varint(14, h.counter_reset_hint as u64);
    w.int64(15, t);
    packed_doubles(w, 16, &h.layout.custom_values);
}

/// What a server holds of a series, by time: histograms, and where floats are.
pub type Held = HashMap<Timestamp, Option<FloatHistogram>>;

/// Reads back what a server holds, by series. The hints that its storage gives to histograms, and
/// their empty buckets, depend on where it cut chunks, and queries see them.
///
/// # Errors
/// The server refuses, or its answer is damaged.
pub fn read(client: &mut Client) -> Result<HashMap<Labels, Held>> {
    let mut request = Vec::new();
    message(&mut request, 1, |w| {
        w.int64(1, START - 3_600_000);
        w.int64(2, END + 3_600_000);
        let mut matcher = Vec::new();
        let mut m = Writer::new(&mut matcher);
        m.varint(1, 1);
        m.bytes(2, b"__name__");
        m.bytes(3, b"");
        w.bytes(3, &matcher);
    });
    let body = snap::raw::Encoder::new().compress_vec(&request)?;
    let headers = ["Content-Type: application/x-protobuf", "Content-Encoding: snappy"];
    let (status, body) = client.send("POST", "/api/v1/read", &headers, &body)?;
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    let body = snap::raw::Decoder::new().decompress_vec(&body)?;
    let mut held = HashMap::new();
    let mut response = Reader::new(&body);
    while let Some(result) = response.field()? {
        let mut result = result.message()?;
        while let Some(series) = result.field()? {
            let (labels, one) = read_series(series.message()?)?;
            held.insert(labels, one);
        }
    }
    Ok(held)
}

fn read_series(mut series: Reader<'_>) -> Result<(Labels, Held)> {
    let mut pairs = Vec::new();
    let mut held = Held::new();
    while let Some(field) = series.field()? {
        let mut inner = field.message()?;
        let (mut pair, mut t) = ([String::new(), String::new()], 0);
        if field.number == 4 {
            let (t, h) = read_histogram(inner)?;
            held.insert(t, Some(h));
            continue;
        }
        while let Some(value) = inner.field()? {
            match (field.number, value.number) {
                (1, 1) => value.string()?.clone_into(&mut pair[0]),
                (1, 2) => value.string()?.clone_into(&mut pair[1]),
                (2, 2) => t = value.int64()?,
                _ => {}
            }
        }
        match field.number {
            1 => pairs.push(pair),
            2 => drop(held.insert(t, None)),
            _ => {}
        }
    }
    let labels = Labels::from_pairs(pairs.iter().map(|[name, value]| (name, value)));
    Ok((labels, held))
}

fn read_histogram(mut message: Reader<'_>) -> Result<(Timestamp, FloatHistogram)> {
    let (mut t, mut h) = (0, FloatHistogram::default());
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    while let Some(field) = message.field()? {
        match field.number {
            1 => h.count = field.varint()? as f64,
            2 => h.count = field.double()?,
            3 => h.sum = field.double()?,
            4 => h.layout.schema = i32::try_from(field.sint64()?)?,
            5 => h.layout.zero_threshold = field.double()?,
            6 => h.zero_count = field.varint()? as f64,
            7 => h.zero_count = field.double()?,
            8 => h.layout.negative_spans.push(read_span(field.message()?)?),
            9 => read_deltas(field.bytes()?, &mut negative)?,
            10 => read_doubles(field.bytes()?, &mut h.negative_buckets),
            11 => h.layout.positive_spans.push(read_span(field.message()?)?),
            12 => read_deltas(field.bytes()?, &mut positive)?,
            13 => read_doubles(field.bytes()?, &mut h.positive_buckets),
            14 => {
                h.counter_reset_hint = match field.varint()? {
                    1 => CounterResetHint::Reset,
                    2 => CounterResetHint::NotReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                }
            }
            15 => t = field.int64()?,
            16 => read_doubles(field.bytes()?, &mut h.layout.custom_values),
            _ => {}
        }
    }
    h.positive_buckets.extend(positive);
    h.negative_buckets.extend(negative);
    Ok((t, h))
}

fn read_span(mut message: Reader<'_>) -> Result<Span> {
    let mut span = Span { offset: 0, length: 0 };
    while let Some(field) = message.field()? {
        match field.number {
            1 => span.offset = i32::try_from(field.sint64()?)?,
            _ => span.length = u32::try_from(field.varint()?)?,
        }
    }
    Ok(span)
}

/// Differences from count to count, as counts.
fn read_deltas(mut packed: &[u8], out: &mut Vec<f64>) -> Result<()> {
    let mut count = 0_i64;
    while !packed.is_empty() {
        let (value, len) = get_varint(packed).ok_or("a damaged histogram")?;
        count += (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
        out.push(count as f64);
        packed = &packed[len..];
    }
    Ok(())
}

fn read_doubles(packed: &[u8], out: &mut Vec<f64>) {
    let (values, _) = packed.as_chunks::<8>();
    out.extend(values.iter().map(|bytes| f64::from_le_bytes(*bytes)));
}
