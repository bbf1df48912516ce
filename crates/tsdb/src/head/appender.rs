//! Transactions on the head.

use std::sync::{Arc, atomic::Ordering};

use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, Timestamp, Value,
    histogram::CounterResetHint,
    is_stale_nan,
    storage::{AppendError, AppendOptions, Appender, CommitStats, SeriesKey, SeriesRef},
};

use super::{
    Head, LOGGED,
    exemplars::Verdict,
    histograms::is_float_histogram,
    pending::{Bounds, Float, HistogramEntry, Pending},
    readers::Guard,
    stripe::{NEVER, stripe_of},
    validate,
};
use crate::wal::record::{exemplars::RefExemplar, histograms::AnyHistogram};

/// A transaction.
pub(super) struct HeadAppender<'a> {
    head: &'a Head,
    pending: Option<Box<Pending>>,
    /// Keeps the numbers of the series that are pending from being used for others.
    _guard: Guard,
    bounds: Bounds,
    /// Start timestamps become samples of 0.
    zeros: bool,
}

/// Where a sample goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    InOrder,
    Late,
    /// It is there already.
    Nowhere,
}

impl Head {
    /// Begins a transaction.
    pub(crate) fn appender(&self) -> Box<dyn Appender + '_> {
        let guard = self.readers.append();
        Box::new(HeadAppender {
            head: self,
            pending: Some(self.take_pending()),
            _guard: guard,
            bounds: self.bounds(),
            zeros: self.formats().zeros_at_starts,
        })
    }

    /// What can be appended now.
    fn bounds(&self) -> Bounds {
        let newest = self.max_time.load(Ordering::Acquire);
        let mut min_valid = self.min_valid.load(Ordering::Acquire);
        if newest != NEVER {
            min_valid = min_valid.max(newest.saturating_sub(self.chunk_range / 2));
        }
        Bounds { min_valid, newest, window: self.late.window() }
    }
}

impl HeadAppender<'_> {
    fn pending(&mut self) -> &mut Pending {
        let head = self.head;
        self.pending.get_or_insert_with(|| head.take_pending())
    }

    /// The number of a series, and its reference.
    #[inline]
    fn series(&mut self, key: SeriesKey<'_>) -> Result<(u32, u64), AppendError> {
        let (id, reference) = match key {
            SeriesKey::Ref(SeriesRef(reference)) => {
                (self.head.lookup(reference).ok_or(AppendError::UnknownSeries)?, reference)
            }
            SeriesKey::Labels(labels) => self.by_labels(labels)?,
        };
        if self.head.unlogged.load(Ordering::Acquire) > 0 {
            let flags = self.head.flags.get(u64::from(id));
            if flags.is_some_and(|f| f.load(Ordering::Acquire) & LOGGED == 0) {
                self.pending().unlogged.push(id);
            }
        }
        Ok((id, reference))
    }

    fn by_labels(&mut self, labels: &Labels) -> Result<(u32, u64), AppendError> {
        if labels.is_empty() {
            return Err(AppendError::InvalidLabels("empty labelset".to_owned()));
        }
        let (id, reference, created) = self.head.get_or_create(labels)?;
        if created {
            self.pending().created += 1;
        }
        Ok((id, reference))
    }

    /// Where a sample goes that does not come in order, if it may be late at all. `same` says
    /// whether it is the series' last one; `None` where that has another time.
    #[cold]
    fn late(
        &self,
        (id, t, is_float): (u32, Timestamp, bool),
        may_be_late: bool,
        same: impl FnOnce(&super::stripe::Stripe) -> Option<bool>,
    ) -> Result<Place, AppendError> {
        let (counts, bounds) = (&self.head.counts, &self.bounds);
        if t >= bounds.min_valid && t == self.head.newest(id) {
            let stripe = self.head.stripes[stripe_of(id)].lock();
            // What another transaction is about to commit is not in the stripe yet.
            match same(&stripe) {
                Some(true) => return Ok(Place::Nowhere),
                Some(false) => return Err(AppendError::DuplicateTimestamp),
                None => {}
            }
        }
        let late_by = bounds.newest.saturating_sub(t);
        if late_by > 0 {
            counts.late_by.observe(late_by as f64 / 1000.0);
        }
        if bounds.takes_late(t) {
            if may_be_late {
                return Ok(Place::Late);
            }
            counts.out_of_order.inc(is_float);
            return Err(AppendError::OutOfOrder);
        }
        if bounds.window > 0 {
            counts.too_old.inc(is_float);
            return Err(AppendError::TooOld);
        }
        if t < bounds.min_valid {
            counts.out_of_bounds.inc(is_float);
            return Err(AppendError::OutOfBounds);
        }
        counts.out_of_order.inc(is_float);
        Err(AppendError::OutOfOrder)
    }

    /// Whether a sample is newer than what its series has, and not too old for the head.
    #[inline]
    fn is_in_order(&self, id: u32, t: Timestamp) -> bool {
        t > self.head.newest(id) && t >= self.bounds.min_valid
    }

    fn float(
        &mut self,
        (id, reference): (u32, u64),
        (t, start): (Timestamp, Timestamp),
        v: f64,
        may_be_late: bool,
    ) -> Result<(), AppendError> {
        let mut place = Place::InOrder;
        if !self.is_in_order(id, t) {
            place =
                self.late((id, t, true), may_be_late, |stripe| match stripe.last_float(id) {
                    Some((last, value)) if last == t => Some(value.to_bits() == v.to_bits()),
                    _ => stripe.last_histogram(id).is_some_and(|h| h.t == t).then_some(false),
                })?;
        }
        if place != Place::Nowhere {
            let late = place == Place::Late;
            let float = Float { reference, t, v, before: NEVER, id, part: 0, valid: true, late };
            self.pending().push_float(float, start);
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        (id, reference): (u32, u64),
        (t, start): (Timestamp, Timestamp),
        value: AnyHistogram,
        may_be_late: bool,
    ) -> Result<(), AppendError> {
        let mut place = Place::InOrder;
        if !self.is_in_order(id, t) {
            let same = |stripe: &super::stripe::Stripe| match stripe.last_histogram(id) {
                Some(last) if last.t == t => Some(same_histogram(&last.value, &value)),
                _ => stripe.last_float(id).is_some_and(|f| f.0 == t).then_some(false),
            };
            place = self.late((id, t, false), may_be_late, same)?;
        }
        if place != Place::Nowhere {
            let (value, before) = (Arc::new(value), NEVER);
            let (part, valid, late) = (0, true, place == Place::Late);
            self.pending().histograms.push(HistogramEntry {
                reference,
                t,
                start,
                value,
                before,
                id,
                part,
                valid,
                late,
            });
        }
        Ok(())
    }

    /// A sample of 0 where the counter began, if that is news: each of its samples says the same.
    /// Source: `bestEffortAppendSTZeroSample` in `tsdb/head_append_v2.go`.
    #[cold]
    fn zero(&mut self, series: (u32, u64), start: Timestamp, value: Value<'_>) {
        if !self.is_in_order(series.0, start) {
            return;
        }
        let layout = |like: &HistogramLayout| HistogramLayout {
            schema: like.schema,
            zero_threshold: like.zero_threshold,
            custom_values: like.custom_values.clone(),
            ..HistogramLayout::default()
        };
        let (time, counter_reset_hint) = ((start, 0), CounterResetHint::Reset);
        let _ = match value {
            Value::Float(_) => self.float(series, time, 0.0, false),
            Value::Histogram(h) => {
                let layout = layout(&h.layout);
                let zero = Histogram { layout, counter_reset_hint, ..Histogram::default() };
                self.histogram(series, time, AnyHistogram::Int(zero), false)
            }
            Value::FloatHistogram(h) => {
                let layout = layout(&h.layout);
                let zero =
                    FloatHistogram { layout, counter_reset_hint, ..FloatHistogram::default() };
                self.histogram(series, time, AnyHistogram::Float(zero), false)
            }
        };
    }

    /// A staleness marker of the kind that the series' last sample has.
    #[cold]
    fn stale(&self, id: u32) -> Option<AnyHistogram> {
        let pending = self.pending.as_ref();
        let in_batch = pending.and_then(|p| p.histograms.iter().rev().find(|h| h.id == id));
        let float = |h: &AnyHistogram| matches!(h, AnyHistogram::Float(_));
        let is_float = if let Some(entry) = in_batch {
            float(&entry.value)
        } else {
            let stripe = self.head.stripes[stripe_of(id)].lock();
            let (t, encoding) = stripe.last_encoding(id)?;
            if t != self.head.newest(id) || encoding.is_float() {
                return None;
            }
            is_float_histogram(encoding)
        };
        let sum = firesteel_model::stale_nan();
        Some(if is_float {
            AnyHistogram::Float(FloatHistogram { sum, ..FloatHistogram::default() })
        } else {
            AnyHistogram::Int(Histogram { sum, ..Histogram::default() })
        })
    }

    fn exemplars(
        &mut self,
        (id, reference): (u32, u64),
        t: Timestamp,
        exemplars: &[Exemplar],
    ) -> Result<(), AppendError> {
        for e in exemplars {
            let at = e.timestamp.unwrap_or(t);
            validate::exemplar(e)?;
            match self.head.exemplars.lock().check(reference, at) {
                Verdict::Take => {}
                Verdict::Ignore => continue,
                Verdict::OutOfOrder => return Err(AppendError::OutOfOrderExemplar),
            }
            let labels = e.labels.clone();
            let entry = RefExemplar { series: reference, t: at, v: e.value, labels };
            self.pending().exemplars.push((id, entry));
        }
        Ok(())
    }
}

/// Whether two histograms are the same sample, NaN sums included.
fn same_histogram(a: &AnyHistogram, b: &AnyHistogram) -> bool {
    let stale = |h: &AnyHistogram| is_stale_nan(h.sum());
    a == b
        || (stale(a) && stale(b))
        || (a.sum().to_bits() == b.sum().to_bits() && format!("{a:?}") == format!("{b:?}"))
}

impl Appender for HeadAppender<'_> {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: Timestamp,
        value: Value<'_>,
        options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        let bounds = &mut self.bounds;
        if bounds.newest == NEVER {
            // The first sample of all decides what the others may be, as in Prometheus.
            let from = t.saturating_sub(self.head.chunk_range / 2);
            (bounds.newest, bounds.min_valid) = (t, bounds.min_valid.max(from));
        }
        if bounds.window == 0 && t < bounds.min_valid {
            // Before a series is made for it.
            self.head.counts.out_of_bounds.inc(matches!(value, Value::Float(_)));
            return Err(AppendError::OutOfBounds);
        }
        let may_be_late = !options.reject_out_of_order;
        let (id, reference) = self.series(series)?;
        let start = options.start_timestamp.unwrap_or(0);
        if self.zeros && start != 0 && start < t {
            self.zero((id, reference), start, value);
        }
        match value {
            Value::Float(v) => match is_stale_nan(v).then(|| self.stale(id)).flatten() {
                Some(marker) => {
                    self.histogram((id, reference), (t, start), marker, may_be_late)?;
                }
                None => self.float((id, reference), (t, start), v, may_be_late)?,
            },
            Value::Histogram(h) => {
                validate::histogram(h)?;
                let value = AnyHistogram::Int(h.clone());
                self.histogram((id, reference), (t, start), value, may_be_late)?;
            }
            Value::FloatHistogram(h) => {
                validate::float_histogram(h)?;
                let value = AnyHistogram::Float(h.clone());
                self.histogram((id, reference), (t, start), value, may_be_late)?;
            }
        }
        if !options.exemplars.is_empty() {
            self.exemplars((id, reference), t, options.exemplars)?;
        }
        if let Some(metadata) = options.metadata
            && !self.head.metadata.read().is(id, metadata)
        {
            self.pending().metadata.push((id, reference, metadata.clone()));
        }
        Ok(SeriesRef(reference))
    }

    fn append_exemplars(
        &mut self,
        series: SeriesKey<'_>,
        exemplars: &[Exemplar],
    ) -> Result<(), AppendError> {
        let known = match series {
            SeriesKey::Ref(SeriesRef(reference)) => {
                self.head.lookup(reference).map(|id| (id, reference))
            }
            SeriesKey::Labels(labels) => self.head.find(labels),
        };
        // One without a time of its own has no sample to take it from.
        let timed = exemplars.iter().all(|e| e.timestamp.is_some());
        if !timed {
            return Err(AppendError::InvalidExemplar("it has no timestamp".to_owned()));
        }
        self.exemplars(known.ok_or(AppendError::UnknownSeries)?, 0, exemplars)
    }

    fn commit(mut self: Box<Self>) -> Result<CommitStats, AppendError> {
        match self.pending.take() {
            Some(mut pending) => {
                pending.bounds = self.bounds;
                self.head.commit(pending)
            }
            None => Ok(CommitStats::default()),
        }
    }
}

impl Drop for HeadAppender<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.head.recycle(pending);
        }
    }
}
