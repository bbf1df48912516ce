//! Commit: checked, logged, in memory, visible, in this order.
//!
//! Commits happen one after the other under one lock. Those that come while another is under way
//! queue up, and the next to get the lock does the work of all: one write, one sync.

use std::sync::{Arc, atomic::Ordering};

use firesteel_model::{
    Timestamp,
    metrics::Counter,
    storage::{AppendError, CommitStats},
};

use super::{
    Head, LOGGED, Newest,
    exemplars::Stored,
    late::{LateSample, LateValue},
    pending::{Float, Pending},
    stripe::{ActiveReaders, FloatSample, HistogramSample, NEVER, RUN, stripe_of},
};
use crate::{TsdbError, sync::Mutex, wal::writer::Writer};

/// What the holder of the commit lock works with.
#[derive(Debug, Default)]
pub(super) struct Committer {
    /// The log; `None` for a head that lives in memory alone.
    pub(super) wal: Option<Writer>,
    /// The out-of-order log, beside the log.
    pub(super) wbl: Option<Writer>,
    /// Number of the last batch of late samples in the logs.
    pub(super) late_number: u64,
    /// See [`Head::wbl_is_behind`].
    pub(super) wbl_behind: bool,
    /// Set once the database is closed.
    pub(super) closed: bool,
}

type Outcome = (Result<CommitStats, AppendError>, Box<Pending>);

/// A transaction that waits for whoever holds the commit lock.
#[derive(Debug)]
pub(super) struct Waiting {
    pending: Box<Pending>,
    slot: Arc<Mutex<Option<Outcome>>>,
}

impl Head {
    /// Commits a transaction.
    pub(super) fn commit(&self, pending: Box<Pending>) -> Result<CommitStats, AppendError> {
        let stats = self.commit_or_wait(pending);
        self.spill_if_too_many();
        stats
    }

    fn commit_or_wait(&self, mut pending: Box<Pending>) -> Result<CommitStats, AppendError> {
        if pending.is_empty() {
            self.recycle(pending);
            return Ok(CommitStats::default());
        }
        pending.split();
        if self.logs {
            pending.encode(self);
        }
        if let Some(mut committer) = self.committer.try_lock() {
            let stats = self.lead(&mut committer, &mut [&mut pending]).swap_remove(0);
            drop(committer);
            self.recycle(pending);
            return stats;
        }
        let slot = Arc::new(Mutex::new(None));
        self.queue.lock().push(Waiting { pending, slot: Arc::clone(&slot) });
        let mut committer = self.committer.lock();
        if slot.lock().is_none() {
            let mut waiting = std::mem::take(&mut *self.queue.lock());
            let mut group: Vec<_> = waiting.iter_mut().map(|w| &mut w.pending).collect();
            let results = self.lead(&mut committer, &mut group);
            for (waiting, result) in waiting.into_iter().zip(results) {
                *waiting.slot.lock() = Some((result, waiting.pending));
            }
        }
        drop(committer);
        let outcome = slot.lock().take();
        match outcome {
            Some((result, pending)) => {
                self.recycle(pending);
                result
            }
            None => Err(AppendError::NotReady("a commit was interrupted".to_owned())),
        }
    }

    /// Commits a group.
    fn lead(
        &self,
        committer: &mut Committer,
        group: &mut [&mut Box<Pending>],
    ) -> Vec<Result<CommitStats, AppendError>> {
        if committer.closed {
            let closed = || Err(AppendError::NotReady("the database is closed".to_owned()));
            return group.iter().map(|_| closed()).collect();
        }
        let mut stats = Vec::with_capacity(group.len());
        for pending in &mut *group {
            let (checked, changed) = self.check(pending);
            if changed && self.logs {
                pending.encode(self);
            }
            stats.push(checked);
        }
        if let Err(error) = write(self, committer, group) {
            for pending in group.iter().rev() {
                self.uncheck(pending);
            }
            return group.iter().map(|_| Err(copy_of(&error))).collect();
        }
        self.apply(group, &mut stats);
        stats.into_iter().map(Ok).collect()
    }

    /// Decides which samples go in, and which of them late, and takes the times of the others as the
    /// series' newest, so that what comes later in the group is measured against them. Also returns
    /// whether that is not as the transaction assumed.
    fn check(&self, pending: &mut Pending) -> (CommitStats, bool) {
        let bounds = pending.bounds;
        // A block may have been made since the transaction began.
        let min_valid = self.min_valid.load(Ordering::Acquire).max(bounds.min_valid);
        let (mut changed, mut num_late) = (false, 0);
        let mut stats = CommitStats { series_created: pending.created, ..CommitStats::default() };
        // Series that were there when the transaction began still are if none went since.
        let sure = pending.unlinks == self.unlinks.load(Ordering::Acquire);
        let mut verdict = |id: u32, reference: u64, t: Timestamp, assumed_late: bool| {
            let cell = self.newest.get(u64::from(id));
            let newest = cell.map_or(NEVER, Newest::get);
            let gone = || !sure && self.lookup(reference) != Some(id);
            let in_order = t > newest && t >= min_valid;
            // What is there already does not come late.
            let late = !in_order && (t != newest || t < min_valid) && bounds.takes_late(t);
            if !(in_order || late) || gone() {
                changed = true;
                stats.rejected += 1;
                return (false, false, newest);
            }
            changed |= late != assumed_late;
            num_late += usize::from(late);
            if in_order && let Some(cell) = cell {
                cell.set(t);
            }
            stats.samples += 1;
            (true, late, newest)
        };
        let (mut floats, mut histograms) = (&mut *pending.floats, &mut *pending.histograms);
        for part in 0..=pending.last_part {
            let (now, later) = floats.split_at_mut(floats.partition_point(|f| f.part <= part));
            for f in now {
                (f.valid, f.late, f.before) = verdict(f.id, f.reference, f.t, f.late);
            }
            floats = later;
            let end = histograms.partition_point(|h| h.part <= part);
            let (now, later) = histograms.split_at_mut(end);
            for h in now {
                (h.valid, h.late, h.before) = verdict(h.id, h.reference, h.t, h.late);
            }
            histograms = later;
        }
        pending.num_late = num_late;
        (stats, changed)
    }

    /// Takes [`Head::check`] back.
    fn uncheck(&self, pending: &Pending) {
        for part in (0..=pending.last_part).rev() {
            let histograms = pending.histograms.iter().rev();
            for h in histograms.filter(|h| h.valid && !h.late && h.part == part) {
                self.set_newest(h.id, h.before);
            }
            let floats = pending.floats.iter().rev();
            for f in floats.filter(|f| f.valid && !f.late && f.part == part) {
                self.set_newest(f.id, f.before);
            }
        }
    }

    /// Puts a logged group into memory and makes it visible.
    fn apply(&self, group: &mut [&mut Box<Pending>], stats: &mut [CommitStats]) {
        let epoch = self.readers.published() + 1;
        let readers = self.readers.active();
        let (mut oldest, mut newest) = (Timestamp::MAX, NEVER);
        for (pending, stats) in group.iter_mut().zip(stats) {
            if pending.has_late() {
                let oldest_reader = readers.epochs.first().copied().unwrap_or(epoch - 1);
                stats.samples -= self.apply_late(pending, epoch, oldest_reader);
            }
            let mut done = 0;
            for part in 0..=pending.last_part {
                let rest = pending.floats.get(done..).unwrap_or_default();
                let n = rest.partition_point(|f| f.part <= part);
                let floats = rest.get(..n).unwrap_or_default();
                let starts = pending.starts.get(done..done + n).unwrap_or_default();
                let (first, last, appended) = self.apply_floats(floats, starts, epoch, &readers);
                done += n;
                self.counts.floats.add(appended);
                (oldest, newest) = (oldest.min(first), newest.max(last));
                let range = self.apply_histograms(pending, part, epoch, &readers);
                (oldest, newest) = (oldest.min(range.0), newest.max(range.1));
            }
            self.apply_rest(pending);
        }
        self.extend_time(oldest, newest);
        self.readers.publish(epoch);
    }

    /// Puts late samples into memory. Returns how many were there already.
    fn apply_late(&self, pending: &Pending, epoch: u64, oldest_reader: u64) -> u64 {
        let mut known = 0;
        let (counts, formats) = (&self.counts, self.formats());
        let mut insert = |id: u32, t: Timestamp, value: LateValue, counts: [&Counter; 2]| {
            let sample = LateSample { t, epoch, value };
            if self.late.insert(id, sample, formats, oldest_reader) {
                counts.iter().for_each(|c| c.inc());
            } else {
                known += 1;
            }
        };
        for part in 0..=pending.last_part {
            let late = |f: &Float| f.valid && f.late && f.part == part;
            for (i, f) in pending.floats.iter().enumerate().filter(|(_, f)| late(f)) {
                let counts = [&counts.floats, &counts.late_floats];
                let start = pending.starts.get(i).copied().unwrap_or(0);
                insert(f.id, f.t, LateValue::Float(f.v, start), counts);
            }
            let late = pending.histograms.iter().filter(|h| h.valid && h.late && h.part == part);
            for h in late {
                let value = LateValue::Histogram(Arc::clone(&h.value), h.start);
                insert(h.id, h.t, value, [&counts.histograms, &counts.late_histograms]);
            }
        }
        known
    }

    /// Puts floats into memory, those that are valid and in order; `starts` are their start
    /// timestamps, or nothing. Returns the oldest and the newest time and how many there were.
    fn apply_floats(
        &self,
        floats: &[Float],
        starts: &[Timestamp],
        epoch: u64,
        readers: &ActiveReaders,
    ) -> (Timestamp, Timestamp, u64) {
        let (mut oldest, mut newest, mut appended) = (Timestamp::MAX, NEVER, 0);
        let xor2 = self.formats().xor2;
        let mut rest = floats;
        while let Some(first) = rest.first() {
            // One lock for all samples of the same stripe that come in a row.
            let number = stripe_of(first.id);
            let run = rest.iter().take(RUN).position(|f| stripe_of(f.id) != number);
            let (now, later) = rest.split_at(run.unwrap_or(rest.len().min(RUN)));
            let mut stripe = self.stripes[number].lock();
            stripe.forget_undo(readers);
            stripe.warm(now.iter().map(|f| f.id));
            let waiting = stripe.waiting_bytes();
            let in_order = |f: &&Float| f.valid && !f.late;
            let range = self.chunk_range;
            if xor2 {
                let starts = starts.get(floats.len() - rest.len()..).unwrap_or_default();
                let starts = starts.iter().copied().chain(std::iter::repeat(0));
                for (f, start) in now.iter().zip(starts).filter(|(f, _)| in_order(f)) {
                    let sample = FloatSample { t: f.t, start, v: f.v };
                    let taken = stripe.append_xor2(f.id, sample, f.before, epoch, range, readers);
                    appended += u64::from(taken);
                }
            } else {
                for f in now.iter().filter(in_order) {
                    let sample = (f.t, f.v);
                    let taken = stripe.append_float(f.id, sample, f.before, epoch, range, readers);
                    appended += u64::from(taken);
                }
            }
            for f in now.iter().filter(in_order) {
                oldest = oldest.min(f.t);
                newest = newest.max(f.t);
            }
            let more = stripe.waiting_bytes() - waiting;
            drop(stripe);
            if more > 0 {
                self.waiting.fetch_add(more, Ordering::AcqRel);
            }
            rest = later;
        }
        (oldest, newest, appended)
    }

    fn apply_histograms(
        &self,
        pending: &mut Pending,
        part: u16,
        epoch: u64,
        readers: &ActiveReaders,
    ) -> (Timestamp, Timestamp) {
        let (mut oldest, mut newest) = (Timestamp::MAX, NEVER);
        let end = pending.histograms.partition_point(|h| h.part <= part);
        for h in pending.histograms.drain(..end).filter(|h| h.valid && !h.late) {
            let sample = HistogramSample { t: h.t, start: h.start, value: h.value };
            let range = (self.chunk_range, self.formats());
            let mut stripe = self.stripes[stripe_of(h.id)].lock();
            let waiting = stripe.waiting_bytes();
            if !stripe.append_histogram(h.id, sample, h.before, epoch, range, readers) {
                tracing::error!(series = h.reference, t = h.t, "a histogram cannot be encoded");
            }
            let more = stripe.waiting_bytes() - waiting;
            drop(stripe);
            self.waiting.fetch_add(more, Ordering::AcqRel);
            oldest = oldest.min(h.t);
            newest = newest.max(h.t);
            self.counts.histograms.inc();
        }
        (oldest, newest)
    }

    /// Exemplars, metadata, and that the series are in the log now.
    fn apply_rest(&self, pending: &mut Pending) {
        for &id in &pending.unlogged {
            if let Some(flags) = self.flags.get(u64::from(id))
                && flags.fetch_or(LOGGED, Ordering::AcqRel) & LOGGED == 0
            {
                self.unlogged.fetch_sub(1, Ordering::AcqRel);
            }
        }
        if !pending.exemplars.is_empty() {
            let index = self.index.read();
            let mut exemplars = self.exemplars.lock();
            for (id, e) in pending.exemplars.drain(..) {
                let exemplar = firesteel_model::Exemplar {
                    labels: e.labels,
                    value: e.v,
                    timestamp: Some(e.t),
                };
                let series = index.labels(id);
                exemplars.add(Stored { reference: e.series, series, t: e.t, exemplar });
            }
        }
        if !pending.metadata.is_empty() {
            let mut metadata = self.metadata.write();
            for (id, _, m) in pending.metadata.drain(..) {
                metadata.set(id, m);
            }
        }
    }
}

/// Writes a group into the log, and what of it is late into the out-of-order log. After a failure
/// neither has anything of it.
fn write(
    head: &Head,
    committer: &mut Committer,
    group: &mut [&mut Box<Pending>],
) -> Result<(), TsdbError> {
    let Some(wal) = &mut committer.wal else { return Ok(()) };
    let mut any_late = false;
    for pending in group.iter_mut().filter(|p| p.has_late()) {
        committer.late_number += 1;
        pending.encode_late(head, committer.late_number);
        any_late = true;
    }
    let mut batches: Vec<_> =
        group.iter_mut().map(|p| &mut p.batch).filter(|b| !b.is_empty()).collect();
    if batches.is_empty() {
        return Ok(());
    }
    wal.write(&mut batches)?;
    let Some(wbl) = committer.wbl.as_mut().filter(|_| any_late) else { return Ok(()) };
    let mut late: Vec<_> =
        group.iter_mut().filter(|p| p.has_late()).filter_map(|p| p.late_batch.as_mut()).collect();
    match wbl.write(&mut late) {
        Err(error) if wal.take_back() => Err(error),
        // It is in the log for good, and thereby committed.
        Err(_) => {
            committer.wbl_behind = true;
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The same error for each transaction of a group.
fn copy_of(error: &TsdbError) -> AppendError {
    if error.is_out_of_space() {
        let TsdbError::Io { action, path, source } = error else {
            return AppendError::OutOfSpace(error.to_string());
        };
        return AppendError::OutOfSpace(format!("{action} {}: {source}", path.display()));
    }
    let cause = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    AppendError::Other { context: format!("write-ahead log: {error}"), source: cause.into() }
}
