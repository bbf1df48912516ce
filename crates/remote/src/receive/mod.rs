//! The receiver of remote write 1.0. Source: `storage/remote/write_handler.go`.
//!
//! A request is one transaction: if the storage refuses a sample, nothing of the request is stored,
//! and the sender is told with 400 not to try again. Series with labels that cannot be stored are
//! left out and counted; so are exemplars that are refused. Metadata is read over, as Prometheus
//! does.

mod decode;
mod error;
mod limits;
#[cfg(test)]
mod tests;

use firesteel_model::{
    Exemplar, Labels, Timestamp, Value,
    histogram::{HistogramError, MAX_RESERVED_SCHEMA, MAX_SCHEMA},
    storage::{
        AppendError, AppendOptions, Appendable, Appender, CommitStats, SeriesKey, SeriesRef,
    },
    wire::{Field, Reader},
};

pub use error::WriteError;
pub use limits::WriteLimits;

use decode::{AnyHistogram, HistogramBuffer, LabelBuffer, limit};

/// How far ahead of the clock a sample may be, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// What became of a request; answered with 204.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOutcome {
    /// Float samples appended.
    pub samples: u64,
    /// Native histograms appended.
    pub histograms: u64,
    /// Exemplars appended.
    pub exemplars: u64,
    /// Series left out because of their labels:
    /// `prometheus_api_remote_write_invalid_labels_samples_total`.
    pub invalid_series: u64,
    /// The labels of the first of them, for the log.
    pub invalid_example: Option<String>,
    /// Exemplars that the storage refused, or that were too far ahead.
    pub refused_exemplars: u64,
    /// Metadata entries, which are not stored.
    pub metadata: u64,
    /// What the storage says about the transaction.
    pub commit: CommitStats,
}

/// Takes a request of version 1.0: a snappy block that holds a `prometheus.WriteRequest`. `now` is
/// the clock in milliseconds.
///
/// # Errors
/// The request is refused as a whole; [`WriteError::status`] says how to answer.
pub fn write(
    body: &[u8],
    storage: &dyn Appendable,
    now: Timestamp,
    limits: &WriteLimits,
) -> Result<WriteOutcome, WriteError> {
    write_decoded(&decompress(body, limits)?, storage, now, limits)
}

/// [`write()`] for a body that is decompressed already.
///
/// # Errors
/// As [`write()`].
pub fn write_decoded(
    message: &[u8],
    storage: &dyn Appendable,
    now: Timestamp,
    limits: &WriteLimits,
) -> Result<WriteOutcome, WriteError> {
    let mut request = Request::new(storage.appender(), now, limits);
    let mut reader = Reader::new(message);
    let mut series = 0;
    while let Some(field) = reader.field()? {
        match field.number {
            1 => {
                series += 1;
                limit("series", series, limits.series)?;
                request.series(field.message()?)?;
            }
            3 => request.outcome.metadata += 1,
            _ => {}
        }
    }
    let Request { appender, mut outcome, .. } = request;
    outcome.commit = appender.commit().map_err(WriteError::Commit)?;
    Ok(outcome)
}

fn decompress(body: &[u8], limits: &WriteLimits) -> Result<Vec<u8>, WriteError> {
    let size = snap::raw::decompress_len(body).map_err(|_| WriteError::Snappy)?;
    let by_ratio = limits.ratio.saturating_mul(body.len());
    for (name, limit) in [("decoded_bytes", limits.decoded_bytes), ("ratio", by_ratio)] {
        if size > limit {
            return Err(WriteError::TooLarge { size: size as u64, name, limit: limit as u64 });
        }
    }
    let mut message = vec![0; size];
    let written = snap::raw::Decoder::new().decompress(body, &mut message);
    match written {
        Ok(len) if len == size => Ok(message),
        _ => Err(WriteError::Snappy),
    }
}

/// A request on its way into the storage.
struct Request<'a, 's> {
    appender: Box<dyn Appender + 's>,
    limits: &'s WriteLimits,
    /// The latest time that a sample may have.
    max_time: Timestamp,
    /// Samples, histograms and exemplars so far.
    items: usize,
    labels: LabelBuffer<'a>,
    exemplar_labels: LabelBuffer<'a>,
    packed: Vec<u8>,
    outcome: WriteOutcome,
}

/// A series that is being appended to.
struct Target {
    labels: Labels,
    known: Option<SeriesRef>,
}

impl<'a, 's> Request<'a, 's> {
    fn new(appender: Box<dyn Appender + 's>, now: Timestamp, limits: &'s WriteLimits) -> Self {
        Self {
            appender,
            limits,
            max_time: now.saturating_add(MAX_AHEAD_MS),
            items: 0,
            labels: LabelBuffer::default(),
            exemplar_labels: LabelBuffer::default(),
            packed: Vec::with_capacity(256),
            outcome: WriteOutcome::default(),
        }
    }

    /// Appends a `TimeSeries` message. Its fields may come in any order, so it is read first for
    /// its labels and then, from the first that is not a label, for what there is of samples,
    /// exemplars and histograms.
    fn series(&mut self, message: Reader<'a>) -> Result<(), WriteError> {
        self.labels.clear();
        let (mut samples, mut exemplars, mut histograms) = (0, 0, 0);
        let mut fields = message;
        let mut only_labels = true;
        let mut message = fields.clone();
        while let Some(field) = fields.field()? {
            if field.number == 1 {
                self.labels.push(&field, self.limits)?;
                if only_labels {
                    message = fields.clone();
                }
                continue;
            }
            only_labels = false;
            match field.number {
                2 => samples += 1,
                3 => exemplars += 1,
                4 => histograms += 1,
                _ => {}
            }
        }
        self.items += samples + exemplars + histograms;
        limit("samples", self.items, self.limits.samples)?;
        self.labels.sort();
        if !self.labels.is_series() {
            self.outcome.invalid_series += 1;
            self.outcome.invalid_example.get_or_insert_with(|| self.labels.describe());
            return Ok(());
        }
        let labels = self.labels.to_labels(&mut self.packed);
        let mut target = Target { labels, known: None };
        if samples > 0 {
            self.each(&message, 2, |request, field| request.sample(&mut target, &field))?;
        }
        if exemplars > 0 {
            self.each(&message, 3, |request, field| request.exemplar(&target, &field))?;
        }
        if histograms > 0 {
            self.each(&message, 4, |request, field| request.histogram(&mut target, &field))?;
        }
        Ok(())
    }

    /// Calls `take` for each field with this number.
    fn each(
        &mut self,
        message: &Reader<'a>,
        number: u32,
        mut take: impl FnMut(&mut Self, Field<'a>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut fields = message.clone();
        while let Some(field) = fields.field()? {
            if field.number == number {
                take(self, field)?;
            }
        }
        Ok(())
    }

    fn sample(&mut self, target: &mut Target, field: &Field<'a>) -> Result<(), WriteError> {
        let sample = decode::sample(field)?;
        self.append(target, sample.t, Value::Float(sample.v))?;
        self.outcome.samples += 1;
        Ok(())
    }

    fn histogram(&mut self, target: &mut Target, field: &Field<'a>) -> Result<(), WriteError> {
        let buffer = HistogramBuffer::read(field.message()?)?;
        let t = buffer.t;
        let mut histogram = buffer.finish();
        if let Err(error) = make_storable(&mut histogram) {
            return Err(WriteError::Histogram { error, series: target.labels.clone(), t });
        }
        let value = match &histogram {
            AnyHistogram::Integer(h) => Value::Histogram(h),
            AnyHistogram::Float(h) => Value::FloatHistogram(h),
        };
        self.append(target, t, value)?;
        self.outcome.histograms += 1;
        Ok(())
    }

    fn append(
        &mut self,
        target: &mut Target,
        t: Timestamp,
        value: Value<'_>,
    ) -> Result<(), WriteError> {
        if t > self.max_time {
            return Err(WriteError::TooFarAhead { series: target.labels.clone(), t });
        }
        let options = AppendOptions::default();
        let by_labels = SeriesKey::Labels(&target.labels);
        let key = target.known.map_or(by_labels, SeriesKey::Ref);
        let appended = match self.appender.append(key, t, value, &options) {
            // The storage has dropped the series meanwhile.
            Err(AppendError::UnknownSeries) if target.known.is_some() => {
                self.appender.append(by_labels, t, value, &options)
            }
            appended => appended,
        };
        match appended {
            Ok(series) => {
                target.known = Some(series);
                Ok(())
            }
            Err(error) => Err(WriteError::Sample { error, series: target.labels.clone(), t }),
        }
    }

    /// Appends an exemplar; a refused one is only counted.
    fn exemplar(&mut self, target: &Target, field: &Field<'a>) -> Result<(), WriteError> {
        let (labels, packed) = (&mut self.exemplar_labels, &mut self.packed);
        let exemplar = decode::exemplar(field.message()?, labels, packed, self.limits)?;
        let in_time = |e: &Exemplar| e.timestamp.is_none_or(|t| t <= self.max_time);
        let key = target.known.map_or(SeriesKey::Labels(&target.labels), SeriesKey::Ref);
        let appended = exemplar
            .filter(in_time)
            .is_some_and(|e| self.appender.append_exemplars(key, &[e]).is_ok());
        if appended {
            self.outcome.exemplars += 1;
        } else {
            self.outcome.refused_exemplars += 1;
        }
        Ok(())
    }
}

/// Lowers a resolution that is too fine to be stored, and checks the histogram.
fn make_storable(histogram: &mut AnyHistogram) -> Result<(), HistogramError> {
    let too_fine = MAX_SCHEMA + 1..=MAX_RESERVED_SCHEMA;
    match histogram {
        AnyHistogram::Integer(h) => {
            if too_fine.contains(&h.layout.schema) {
                h.reduce_resolution(MAX_SCHEMA)?;
            }
            h.validate()
        }
        AnyHistogram::Float(h) => {
            if too_fine.contains(&h.layout.schema) {
                h.reduce_resolution(MAX_SCHEMA)?;
            }
            h.validate()
        }
    }
}
