//! From the evaluator's columns to the result that the caller gets.

use firesteel_model::{Sample, budget::Reservation, storage::SampleBatch};

use super::{
    block::{Block, Row, bits},
    error::{EvalError, execution},
    eval::Evaluator,
    labels::SetId,
    plan::Kind,
};
use crate::{
    Expr, QueryValue, RangeSeries, SampleValue, ValueType, VectorSample,
    window::{Grid, SeriesBuffer, rate},
};

/// Bytes of a sample of a result.
const SAMPLE_BYTES: u64 = 16;
/// Bytes of a series of a result without labels and samples.
const SERIES_BYTES: u64 = 128;

/// What the evaluation of a whole query gave.
pub(crate) enum Evaluated {
    Rows(Block),
    /// A range vector: the rows of a subquery at its own times.
    Subquery(Block, Grid),
    /// A range vector of a selector, and what accounts for its samples.
    Matrix(Vec<(SetId, RangeSeries)>, Reservation),
    Text(String),
}

impl Evaluator<'_> {
    /// Evaluates the whole query.
    pub(crate) fn top_level(
        &mut self,
        expr: &Expr,
        grid: Grid,
        instant: bool,
    ) -> Result<Evaluated, EvalError> {
        let plan = self.plan;
        if let Some(selector) = plan.matrix_selector() {
            let (series, held) = self.matrix(selector, grid)?;
            return Ok(Evaluated::Matrix(series, held));
        }
        match &plan.node(plan.root).kind {
            Kind::String(text) => Ok(Evaluated::Text(text.clone())),
            Kind::Subquery(s) => {
                let (block, times) = self.subquery(s, grid)?;
                let block = self.remove_names(block)?;
                Ok(Evaluated::Subquery(block, times))
            }
            _ => {
                let block = self.eval(plan.root, grid)?;
                let mut block = self.remove_names(block)?;
                if !instant || expr.value_type() != ValueType::Scalar {
                    block.remove_empty_rows();
                }
                Ok(Evaluated::Rows(block))
            }
        }
    }

    /// Makes the result; its memory is reserved before it is taken.
    pub(crate) fn result(
        &self,
        mut evaluated: Evaluated,
        grid: Grid,
        instant: bool,
    ) -> Result<(QueryValue, Reservation), EvalError> {
        let mut held = self.ctx.budget.reserve(match &evaluated {
            Evaluated::Rows(block) | Evaluated::Subquery(block, _) => {
                let sets = block.sets.iter().map(|set| self.labels_bytes(*set)).sum::<u64>();
                sets.saturating_add(block.samples().saturating_mul(SAMPLE_BYTES))
            }
            Evaluated::Matrix(series, _) => series.iter().map(|s| self.labels_bytes(s.0)).sum(),
            Evaluated::Text(_) => 0,
        })?;
        if let Evaluated::Matrix(_, samples) = &mut evaluated {
            // From here on one reservation stands for both.
            let bytes = samples.bytes();
            samples.shrink(bytes);
            held.grow(bytes)?;
        }
        Ok((self.value(evaluated, grid, instant)?, held))
    }

    /// What a series takes in a result without its samples, about.
    fn labels_bytes(&self, set: SetId) -> u64 {
        let text = |id: u32| self.store.interner.text(id).len() as u64 + 2;
        self.store.pairs(set).iter().map(|p| text(p.0) + text(p.1)).sum::<u64>() + SERIES_BYTES
    }

    fn value(
        &self,
        evaluated: Evaluated,
        grid: Grid,
        instant: bool,
    ) -> Result<QueryValue, EvalError> {
        match evaluated {
            Evaluated::Text(value) => Ok(QueryValue::String { t: grid.start, value }),
            Evaluated::Subquery(block, times) => self.range_result(&block, times),
            Evaluated::Matrix(mut series, _) => {
                series.sort_by(|a, b| self.store.compare(a.0, b.0));
                let with_labels = |(set, series): (SetId, RangeSeries)| RangeSeries {
                    labels: self.store.labels(set),
                    ..series
                };
                Ok(QueryValue::Matrix(series.into_iter().map(with_labels).collect()))
            }
            Evaluated::Rows(block) if !instant => self.range_result(&block, grid),
            Evaluated::Rows(block) => {
                if self.value_type(self.plan.root) == ValueType::Scalar {
                    if block.len() == 0 {
                        return Err(execution("a scalar has no value"));
                    }
                    return Ok(QueryValue::Scalar(Sample { t: grid.start, v: block.values(0)[0] }));
                }
                let sample = |row: usize| {
                    let samples = block.row(row);
                    VectorSample {
                        labels: self.store.labels(block.sets[row]),
                        t: grid.start,
                        value: match samples.histogram(0) {
                            Some(h) => SampleValue::Histogram(Box::new((**h).clone())),
                            None => SampleValue::Float(samples.values[0]),
                        },
                    }
                };
                Ok(QueryValue::Vector((0..block.len()).map(sample).collect()))
            }
        }
    }

    fn range_result(&self, block: &Block, grid: Grid) -> Result<QueryValue, EvalError> {
        let mut order: Vec<usize> = (0..block.len()).filter(|r| !block.is_row_empty(*r)).collect();
        order.sort_by(|a, b| self.store.compare(block.sets[*a], block.sets[*b]));
        let series = order.into_iter().map(|row| {
            self.ctx.check()?;
            let mut series = range_series(block.row(row), grid);
            series.labels = self.store.labels(block.sets[row]);
            Ok(series)
        });
        Ok(QueryValue::Matrix(series.collect::<Result<_, EvalError>>()?))
    }

    /// The raw samples of a range selector.
    fn matrix(
        &mut self,
        selector: usize,
        grid: Grid,
    ) -> Result<(Vec<(SetId, RangeSeries)>, Reservation), EvalError> {
        let s = &self.plan.selectors[selector];
        let end = s.at.unwrap_or(grid.start).saturating_sub(s.offset);
        let start = end.saturating_sub(s.range);
        let extended = s.anchored || s.smoothed;
        let from = if extended { start.saturating_sub(self.lookback) } else { start };
        let until = if s.smoothed { end.saturating_add(self.lookback) } else { end };
        let Self { sources, store, .. } = self;
        let sets = sources[s.source].sets(store)?.to_vec();
        let series = &self.sources[s.source].series;
        let mut reader = series.reader(self.ctx);
        let mut batch = SampleBatch::default();
        let mut buffer = SeriesBuffer::default();
        let mut result = Vec::new();
        let mut held = self.ctx.budget.reserve(0)?;
        for (index, set) in sets.into_iter().enumerate() {
            self.ctx.check()?;
            reader.open(index)?;
            buffer.clear();
            while reader.next(&mut batch)? {
                buffer.append(&batch, from, until, false);
                if batch.timestamps.last().is_some_and(|t| *t > until) {
                    break;
                }
            }
            let mut floats: Vec<Sample> =
                buffer.ts.iter().zip(&buffer.vs).map(|(&t, &v)| Sample { t, v }).collect();
            let histograms: Vec<_> = buffer
                .histogram_ts
                .iter()
                .zip(&buffer.histograms)
                .map(|(t, h)| (*t, (**h).clone()))
                .collect();
            if extended {
                if !histograms.is_empty() {
                    let modifier = if s.anchored { "anchored" } else { "smoothed" };
                    return Err(execution(format!(
                        "{modifier} modifier is not supported with histograms"
                    )));
                }
                floats = extend(&floats, start, end, s.smoothed);
            }
            let size = floats.len()
                + histograms.iter().map(|h| super::block::histogram_samples(&h.1)).sum::<usize>();
            self.samples.add(size as u64, 0)?;
            held.grow(size as u64 * SAMPLE_BYTES)?;
            self.samples.total.fetch_add(size as u64, std::sync::atomic::Ordering::Relaxed);
            self.samples.read.fetch_add(size as u64, std::sync::atomic::Ordering::Relaxed);
            if size > 0 {
                result.push((set, RangeSeries { floats, histograms, ..RangeSeries::default() }));
            }
        }
        Ok((result, held))
    }
}

/// The samples of a row.
fn range_series(row: Row<'_>, grid: Grid) -> RangeSeries {
    let mut series = RangeSeries::default();
    if row.histograms.is_empty() {
        let count = bits::count(row.present);
        series.floats.reserve_exact(count);
        if count == row.values.len() {
            let samples = row.values.iter().enumerate();
            series.floats.extend(samples.map(|(i, v)| Sample { t: grid.time(i), v: *v }));
            return series;
        }
    }
    for step in bits::ones(row.present) {
        let t = grid.time(step);
        match row.histogram(step) {
            Some(h) => series.histograms.push((t, (**h).clone())),
            None => series.floats.push(Sample { t, v: row.values[step] }),
        }
    }
    series
}

/// Samples of a range under `anchored` or `smoothed`: those inside, and one at each edge.
fn extend(samples: &[Sample], start: i64, end: i64, smoothed: bool) -> Vec<Sample> {
    let Some(mut last) = samples.len().checked_sub(1) else { return Vec::new() };
    let mut first = rate::search(last, |i| samples[i].t > start).saturating_sub(1);
    if smoothed {
        last = rate::search(last, |i| samples[i].t >= end);
    }
    if samples[last].t <= start {
        return Vec::new();
    }
    let point = |i: usize| (samples[i].t, samples[i].v);
    let left = if smoothed && samples[first].t < start {
        rate::interpolate(point(first), point(first + 1), start, false)
    } else {
        samples[first].v
    };
    let right = if smoothed && last > 0 && samples[last].t > end {
        rate::interpolate(point(last - 1), point(last), end, false)
    } else {
        samples[last].v
    };
    if samples[first].t <= start {
        first += 1;
    }
    let stop = if samples[last].t >= end { last } else { last + 1 };
    let mut extended = vec![Sample { t: start, v: left }];
    extended.extend_from_slice(samples.get(first..stop).unwrap_or_default());
    extended.push(Sample { t: end, v: right });
    extended
}
