//! Reads series, runs a selector or a range function over each, and either keeps the rows or folds
//! them into an aggregation at once.
//!
//! Series are cut into morsels, which run wherever the executor likes. How they are cut and in
//! which order their results are merged depends on the query and the data alone, so a result is the
//! same whatever the number of threads. Where an aggregation has many groups, series are dealt out
//! by group, so that no group has accumulators in two morsels.

use std::sync::Arc;

use firesteel_model::{
    CounterResetHint, FloatHistogram, HistogramLayout, Timestamp,
    budget::Budget,
    is_stale_nan,
    storage::{
        BatchValues, HistogramBatch, SampleBatch, StorageError,
        merge::{MergedReader, MergedSeries},
    },
};

use super::{
    block::{Block, RowBuf, bits},
    error::EvalError,
    eval::Evaluator,
    executor,
    labels::SetId,
    limits::{self, Room, Samples},
};
use crate::{
    aggregate::fold::{FoldNotes, Folds},
    ast::AggregateOp,
    histogram,
    window::{self, Grid, InstantJob, InstantRunner, Notes, RangeJob, RangeRunner},
};

/// What is computed per series.
#[derive(Clone, Copy)]
pub(crate) enum Job<'a> {
    Instant(InstantJob),
    Range(&'a RangeJob<'a>),
}

impl Job<'_> {
    const fn grid(&self) -> Grid {
        match self {
            Self::Instant(job) => job.grid,
            Self::Range(job) => job.spec.grid,
        }
    }

    /// How many series a morsel has whose rows are kept: fewer the longer each of them takes.
    fn morsel(&self) -> usize {
        let grid = self.grid();
        let window = match self {
            Self::Instant(job) => job.lookback,
            Self::Range(job) => job.spec.range,
        };
        let span = grid.end().saturating_sub(grid.start).saturating_add(window);
        let each = (span / USUAL_INTERVAL).saturating_add(grid.n as i64).max(1);
        usize::try_from(MORSEL_WORK / each).unwrap_or_default().clamp(1, MORSEL)
    }
}

/// Where the series come from.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// Storage, and from what time on resets of histograms are detected sample by sample.
    Series(&'a MergedSeries, Option<Timestamp>),
    /// The rows of a subquery's result, and its times.
    Rows(&'a Block, Grid),
}

impl Input<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Series(series, _) => series.len(),
            Self::Rows(block, _) => block.len(),
        }
    }
}

/// What becomes of the rows.
pub(crate) enum Target<'a> {
    /// They are kept, with these labels.
    Keep { sets: &'a [SetId], drop_name: &'a dyn Fn(usize) -> bool },
    /// They are folded into an aggregation; `groups[series]` is below `count`.
    Fold { op: AggregateOp, groups: &'a [u32], count: usize, drop_name: &'a dyn Fn(usize) -> bool },
}

/// What came out.
pub(crate) enum Output {
    Rows(Block),
    Folds(Folds),
}

/// The result of a scan.
pub(crate) struct Scanned {
    pub(crate) output: Output,
    /// What was noticed, by series.
    pub(crate) notes: Vec<(usize, Notes)>,
    /// Which series gave what.
    pub(crate) seen: Seen,
    /// Samples of all rows, as Prometheus counts them.
    pub(crate) samples: u64,
}

/// Which series gave samples, as bits.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Those that gave any.
    pub(crate) any: Vec<u64>,
    /// Those that gave floats.
    pub(crate) floats: Vec<u64>,
}

impl Seen {
    fn new(series: usize) -> Self {
        let words = bits::words(series);
        Self { any: vec![0; words], floats: vec![0; words] }
    }

    fn merge(&mut self, other: &Self) {
        bits::or(&mut self.any, &other.any);
        bits::or(&mut self.floats, &other.floats);
    }
}

/// Series per morsel at most.
const MORSEL: usize = 256;
/// Steps and samples that are worth a morsel of their own, some 100 us of work.
const MORSEL_WORK: i64 = 32_768;
/// How often series usually have a sample, milliseconds; only the size of morsels depends on it.
const USUAL_INTERVAL: i64 = 15_000;
/// Series per morsel that has accumulators of its own, as long as there are few of these.
const FOLDED: usize = 64;
/// The most morsels that have accumulators of their own.
const MAX_FOLDS: usize = 16;
/// What these may take all together, where there are more than two.
const FOLDS_BYTES: u64 = 16 << 20;
/// From how many groups on series are dealt out by group.
const MANY_GROUPS: usize = 32;

/// What a morsel needs of the query.
struct Shared<'a> {
    input: Input<'a>,
    job: Job<'a>,
    ctx: &'a firesteel_model::storage::QueryContext,
    samples: &'a Samples,
    budget: &'a Budget,
}

/// The result of a morsel.
struct Part {
    output: Output,
    notes: Vec<(usize, Notes)>,
    seen: Seen,
    samples: u64,
}

impl Evaluator<'_> {
    /// Runs a job over all series of an input.
    pub(crate) fn scan(
        &self,
        input: Input<'_>,
        job: Job<'_>,
        target: &Target<'_>,
    ) -> Result<Scanned, EvalError> {
        let shared =
            Shared { input, job, ctx: self.ctx, samples: &self.samples, budget: &self.ctx.budget };
        let n = input.len();
        let mut scanned = Scanned {
            output: Output::Rows(Block::new(job.grid().n)),
            notes: Vec::new(),
            seen: Seen::new(n),
            samples: 0,
        };
        let mut absorb = |part: Part, output: &mut Option<Output>| {
            scanned.notes.extend(part.notes);
            scanned.seen.merge(&part.seen);
            scanned.samples += part.samples;
            *output = Some(match (output.take(), part.output) {
                (None, new) => new,
                (Some(Output::Rows(mut all)), Output::Rows(new)) => {
                    all.append(new);
                    Output::Rows(all)
                }
                (Some(Output::Folds(mut all)), Output::Folds(new)) => {
                    all.merge(new);
                    Output::Folds(all)
                }
                (Some(all), _) => all,
            });
        };
        let mut output = None;
        match target {
            Target::Keep { sets, drop_name } => {
                // Rows are only copied together if there is somebody to share the work with.
                let morsel = if self.executor.parallelism() > 1 { job.morsel() } else { n.max(1) };
                let flags: Vec<bool> = (0..n).map(drop_name).collect();
                let parts = executor::map(self.executor, n.div_ceil(morsel), |i| {
                    let range = i * morsel..n.min((i + 1) * morsel);
                    let block = Block::new(job.grid().n);
                    shared.run(range, block, |block, series, row| {
                        block.push(sets[series], flags[series], row.as_row());
                    })
                });
                for part in parts {
                    absorb(part?.into_rows(), &mut output);
                }
            }
            Target::Fold { op, groups, count, drop_name } => {
                let flags: Vec<bool> = (0..n).map(drop_name).collect();
                let bytes = Folds::bytes(*count, job.grid().n);
                if *count >= MANY_GROUPS {
                    let _reserved = self.ctx.budget.reserve(bytes)?;
                    let deal = deal_by_group(groups, *count);
                    let parts = executor::map(self.executor, deal.cuts.len(), |i| {
                        let (series, first, end) = deal.part(i);
                        let folds = Folds::new(*op, end - first, job.grid().n);
                        shared.run(series.iter().map(|s| *s as usize), folds, |f, series, row| {
                            let group = groups[series] as usize - first;
                            f.fold(group, series, row.as_row(), flags[series]);
                        })
                    });
                    let mut all: Option<Folds> = None;
                    for part in parts {
                        let (folds, rest) = part?.split();
                        match &mut all {
                            None => all = Some(folds),
                            Some(all) => all.append(folds),
                        }
                        scanned.notes.extend(rest.0);
                        scanned.seen.merge(&rest.1);
                        scanned.samples += rest.2;
                    }
                    scanned.notes.sort_by_key(|n| n.0);
                    output = all.map(Output::Folds);
                } else {
                    let few = usize::try_from(FOLDS_BYTES / bytes.max(1)).unwrap_or(MAX_FOLDS);
                    let parts = n.div_ceil(FOLDED).clamp(1, few.clamp(2, MAX_FOLDS));
                    let _reserved = self.ctx.budget.reserve(bytes.saturating_mul(parts as u64))?;
                    let size = n.div_ceil(parts).max(1);
                    let parts = executor::map(self.executor, n.div_ceil(size), |i| {
                        let folds = Folds::new(*op, *count, job.grid().n);
                        let range = i * size..n.min((i + 1) * size);
                        shared.run(range, folds, |f, series, row| {
                            f.fold(groups[series] as usize, series, row.as_row(), flags[series]);
                        })
                    });
                    for part in parts {
                        absorb(part?.into_folds(), &mut output);
                    }
                }
                if output.is_none() {
                    output = Some(Output::Folds(Folds::new(*op, *count, job.grid().n)));
                }
            }
        }
        if let Some(output) = output {
            scanned.output = output;
        }
        Ok(scanned)
    }
}

/// A morsel's result with a sink of any type.
struct Done<S> {
    sink: S,
    notes: Vec<(usize, Notes)>,
    seen: Seen,
    samples: u64,
    /// Accounts for the sink's memory.
    room: Room,
}

impl Done<Block> {
    fn into_rows(self) -> Part {
        let Self { mut sink, notes, seen, samples, room } = self;
        room.give(&mut sink);
        Part { output: Output::Rows(sink), notes, seen, samples }
    }
}

impl Done<Folds> {
    fn into_folds(self) -> Part {
        let Self { sink, notes, seen, samples, .. } = self;
        Part { output: Output::Folds(sink), notes, seen, samples }
    }

    fn split(self) -> (Folds, (Vec<(usize, Notes)>, Seen, u64)) {
        (self.sink, (self.notes, self.seen, self.samples))
    }
}

impl Shared<'_> {
    /// Runs the job over some series and gives rows with samples to `sink`.
    fn run<S: Sink>(
        &self,
        series: impl Iterator<Item = usize>,
        mut sink: S,
        mut take: impl FnMut(&mut S, usize, &RowBuf),
    ) -> Result<Done<S>, EvalError> {
        let grid = self.job.grid();
        let mut row = RowBuf::new(grid.n);
        let mut batch = SampleBatch::default();
        let mut feed = Feed::new(self.input, self.ctx);
        let mut instant = match self.job {
            Job::Instant(job) => Some(InstantRunner::new(job)),
            Job::Range(_) => None,
        };
        let mut range = match self.job {
            Job::Range(job) => Some(RangeRunner::new(job).watched(self.ctx)),
            Job::Instant(_) => None,
        };
        let mut done = (Vec::new(), Seen::new(self.input.len()), 0);
        let mut room = Room::new(self.budget)?;
        for (number, series) in series.enumerate() {
            if number % 16 == 0 {
                self.ctx.check()?;
            }
            row.clear();
            feed.open(series)?;
            let mut passing = 0;
            if let Some(runner) = &mut instant {
                runner.series(&mut batch, &mut feed, &mut row)?;
                if runner.has_histograms {
                    return Err(super::error::execution(
                        "this should be an info metric, with float samples",
                    ));
                }
            } else if let Some(runner) = &mut range {
                runner.series(&mut batch, &mut feed, &mut row)?;
                self.samples.add(0, runner.peak_window)?;
                passing = runner.last_window;
                if !runner.notes.is_empty() {
                    done.0.push((series, std::mem::take(&mut runner.notes)));
                }
            }
            if !bits::any(&row.present) {
                continue;
            }
            let view = row.as_row();
            let samples = view.samples();
            done.2 += samples;
            self.samples.add(samples, passing)?;
            bits::set(&mut done.1.any, series);
            let is_float =
                |step: usize| row.histograms.get(step).is_none_or(std::option::Option::is_none);
            if bits::ones(&row.present).any(is_float) {
                bits::set(&mut done.1.floats, series);
            }
            sink.make_room(&mut room)?;
            take(&mut sink, series, &row);
        }
        let add = |counter: &std::sync::atomic::AtomicU64, n| {
            counter.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        };
        if let Some(runner) = range {
            add(&self.samples.total, runner.window_samples);
            if matches!(self.input, Input::Series(..)) {
                add(&self.samples.read, runner.samples_read);
            }
        }
        if let Some(runner) = instant {
            add(&self.samples.total, runner.samples);
            add(&self.samples.read, runner.samples);
        }
        Ok(Done { sink, notes: done.0, seen: done.1, samples: done.2, room })
    }
}

/// Something whose memory may grow with the rows it is given.
trait Sink {
    /// Makes room for one more row.
    fn make_room(&mut self, room: &mut Room) -> Result<(), EvalError>;
}

impl Sink for Block {
    fn make_room(&mut self, room: &mut Room) -> Result<(), EvalError> {
        room.row(self)
    }
}

impl Sink for Folds {
    /// Reserved beforehand.
    fn make_room(&mut self, _: &mut Room) -> Result<(), EvalError> {
        Ok(())
    }
}

/// Gives the batches of series after series.
enum Feed<'a> {
    Series(MergedReader<'a>, Option<Resets>),
    Rows { block: &'a Block, grid: Grid, row: usize, given: bool, pending: Vec<SampleBatch> },
}

impl<'a> Feed<'a> {
    fn new(input: Input<'a>, ctx: &firesteel_model::storage::QueryContext) -> Self {
        match input {
            Input::Series(series, from) => {
                Self::Series(series.reader(ctx), from.map(|from| Resets { from, last: None }))
            }
            Input::Rows(block, grid) => {
                Self::Rows { block, grid, row: 0, given: true, pending: Vec::new() }
            }
        }
    }

    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        match self {
            Self::Series(reader, resets) => {
                if let Some(resets) = resets {
                    resets.last = None;
                }
                reader.open(index)
            }
            Self::Rows { row, given, pending, .. } => {
                (*row, *given) = (index, false);
                pending.clear();
                Ok(())
            }
        }
    }
}

impl window::Samples for Feed<'_> {
    fn append(
        &mut self,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        match self {
            Self::Series(reader, None) => reader.append(times, values),
            _ => Ok(false),
        }
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        match self {
            Self::Series(reader, resets) => {
                let more = reader.next(batch)?;
                if let Some(resets) = resets {
                    resets.detect(batch);
                }
                Ok(more)
            }
            Self::Rows { block, grid, row, given, pending } => {
                if *given {
                    let Some(next) = pending.pop() else {
                        batch.clear_floats();
                        return Ok(false);
                    };
                    *batch = next;
                    return Ok(true);
                }
                *given = true;
                let source = block.row(*row);
                if source.histograms.is_empty() {
                    let (ts, vs) = batch.clear_floats();
                    for step in bits::ones(source.present) {
                        ts.push(grid.time(step));
                        vs.push(source.values[step]);
                    }
                    return Ok(!ts.is_empty());
                }
                *pending = mixed_batches(source, *grid);
                self.next(batch)
            }
        }
    }
}

/// Detects resets of a series' histograms, sample by sample, and drops their buckets: only sums and
/// counts are asked for.
struct Resets {
    /// Samples before are not known to the query.
    from: Timestamp,
    last: Option<Box<FloatHistogram>>,
}

impl Resets {
    /// Replaces hints that say nothing, and drops buckets. It shows that they are gone: resets of
    /// gauges are looked for by their counts alone.
    ///
    /// Source: Prometheus `promql/histogram_stats_iterator.go`.
    fn detect(&mut self, batch: &mut SampleBatch) {
        let BatchValues::Histograms(column) = &mut batch.values else { return };
        for (i, t) in batch.timestamps.iter().enumerate() {
            let Some(mut h) = column.row(i).filter(|h| *t >= self.from && !is_stale_nan(h.sum))
            else {
                continue;
            };
            if let (CounterResetHint::Unknown, Some(last)) = (h.counter_reset_hint, &self.last) {
                h.counter_reset_hint = if histogram::detect_reset(&h, last) {
                    CounterResetHint::Reset
                } else {
                    CounterResetHint::NotReset
                };
                if let Some(hint) = column.hints.get_mut(i) {
                    *hint = h.counter_reset_hint;
                }
            }
            self.last = Some(Box::new(h));
        }
        let schema = column.layout.schema;
        column.layout = Arc::new(HistogramLayout { schema, ..HistogramLayout::default() });
        column.zero_counts.fill(0.0);
        column.positive.clear();
        column.negative.clear();
    }
}

/// Batches of a row that has histograms, last first.
fn mixed_batches(row: super::block::Row<'_>, grid: Grid) -> Vec<SampleBatch> {
    let mut batches: Vec<SampleBatch> = Vec::new();
    for step in bits::ones(row.present) {
        let t = grid.time(step);
        match row.histogram(step) {
            Some(h) => {
                let mut h = (**h).clone();
                // Between steps of a subquery anything may have happened.
                if matches!(
                    h.counter_reset_hint,
                    CounterResetHint::Reset | CounterResetHint::NotReset
                ) {
                    h.counter_reset_hint = CounterResetHint::Unknown;
                }
                let mut column = HistogramBatch::new(Arc::new(h.layout.clone()));
                column.push(&h);
                let values = BatchValues::Histograms(column);
                batches.push(SampleBatch { timestamps: vec![t], values, ..SampleBatch::default() });
            }
            None => match batches.last_mut().map(|b| (&mut b.timestamps, &mut b.values)) {
                Some((ts, BatchValues::Floats(vs))) => {
                    ts.push(t);
                    vs.push(row.values[step]);
                }
                _ => {
                    let values = BatchValues::Floats(vec![row.values[step]]);
                    batches.push(SampleBatch {
                        timestamps: vec![t],
                        values,
                        ..SampleBatch::default()
                    });
                }
            },
        }
    }
    batches.reverse();
    batches
}

/// Series dealt out by group.
struct Deal {
    /// Series ordered by group, within a group by index.
    order: Vec<u32>,
    /// Per part: end in `order`, first group, group behind the last.
    cuts: Vec<(usize, usize, usize)>,
}

impl Deal {
    fn part(&self, i: usize) -> (&[u32], usize, usize) {
        let start = i.checked_sub(1).map_or(0, |before| self.cuts[before].0);
        let (end, first, last) = self.cuts[i];
        (&self.order[start..end], first, last)
    }
}

fn deal_by_group(groups: &[u32], count: usize) -> Deal {
    let mut ends = vec![0_usize; count];
    groups.iter().for_each(|g| ends[*g as usize] += 1);
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    let mut order = vec![0_u32; groups.len()];
    let mut next = ends.clone();
    for (series, group) in groups.iter().enumerate().rev() {
        next[*group as usize] -= 1;
        order[next[*group as usize]] = series as u32;
    }
    let size = groups.len().div_ceil(MAX_FOLDS).max(FOLDED);
    let (mut cuts, mut first) = (Vec::new(), 0);
    for (group, &end) in ends.iter().enumerate() {
        let start = cuts.last().map_or(0, |c: &(usize, usize, usize)| c.0);
        if end - start >= size || group + 1 == count {
            cuts.push((end, first, group + 1));
            first = group + 1;
        }
    }
    Deal { order, cuts }
}

/// The remarks of a fold, as the caller needs them.
pub(crate) fn finish_folds(
    budget: &Budget,
    folds: Folds,
    sets: &[SetId],
) -> Result<(Block, FoldNotes), EvalError> {
    let reserved = limits::reserve_rows(budget, sets.len(), 0)?;
    let (mut block, notes) = folds.finish(sets);
    block.reserved = Some(reserved);
    limits::account(budget, &mut block)?;
    Ok((block, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealing_keeps_groups_together_and_series_in_order() {
        let groups: Vec<u32> = (0..2000).map(|i| i % 40).collect();
        let deal = deal_by_group(&groups, 40);
        let mut seen = 0;
        let mut next_group = 0;
        for i in 0..deal.cuts.len() {
            let (series, first, end) = deal.part(i);
            assert_eq!(first, next_group);
            next_group = end;
            seen += series.len();
            assert!(series.iter().all(|s| (first..end).contains(&(groups[*s as usize] as usize))));
            assert!(
                series
                    .windows(2)
                    .all(|p| groups[p[0] as usize] < groups[p[1] as usize] || p[0] < p[1])
            );
        }
        assert_eq!((seen, next_group), (2000, 40));
    }
}
