//! `analyze`: what a block is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    ops::ControlFlow,
    path::Path,
};

use firesteel_chunk::histogram;
use firesteel_model::{Labels, Matcher};
use firesteel_promql::parse_metric_selector;
use firesteel_tsdb::block::{Block, ChunkInfo};

use crate::{Failure, Outcome, list, progress::Progress, text};

/// What to show.
pub(crate) struct Options {
    /// The block; the last one where it is not named.
    pub(crate) block: Option<String>,
    /// Lines of each list.
    pub(crate) limit: usize,
    /// Whether to read the chunks.
    pub(crate) extended: bool,
    /// Only series that this selects.
    pub(crate) selector: Option<String>,
}

/// Counts of label names and pairs.
#[derive(Default)]
struct Counts {
    matched: u64,
    entries: u64,
    names: BTreeMap<String, Name>,
    pairs: BTreeMap<String, Pair>,
    metrics: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Name {
    uncovered: u64,
    values: BTreeSet<String>,
}

#[derive(Default)]
struct Pair {
    uncovered: u64,
    count: u64,
}

/// Sizes of chunks.
#[derive(Default)]
struct Sizes {
    total: usize,
    float_samples: Vec<i64>,
    float_bytes: Vec<i64>,
    histogram_samples: Vec<i64>,
    histogram_bytes: Vec<i64>,
    histogram_buckets: Vec<i64>,
}

/// Prints the lists of a block.
pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Outcome {
    let selector = options.selector.as_deref().filter(|s| !s.is_empty());
    let matchers = match selector {
        Some(selector) => parse_metric_selector(selector).map_err(Failure::new)?,
        None => Vec::new(),
    };
    let name = match options.block.clone().filter(|b| !b.is_empty()) {
        Some(name) => name,
        None => {
            let none = || Failure::new("no blocks found");
            list::names(path)?.iter().max().ok_or_else(none)?.to_string()
        }
    };
    let block = list::open(path, &name)?;
    let meta = block.meta();
    writeln!(out, "Block ID: {}", meta.ulid)?;
    writeln!(out, "Duration: {}", text::duration(meta.max_time.saturating_sub(meta.min_time)))?;
    writeln!(out, "Total Series: {}", meta.stats.num_series)?;
    if let Some(selector) = selector {
        writeln!(out, "Matcher: {selector}")?;
    }
    let mut progress = Progress::new();
    let (mut counts, mut sizes) = (Counts::default(), Sizes::default());
    let range = meta.max_time.wrapping_sub(meta.min_time) as u64;
    let (mut done, total) = (0, meta.stats.num_series);
    let mut failed = None;
    let visited = block.visit(&mut |labels, chunks| {
        done += 1;
        progress.at("series", done, total);
        if selected(&matchers, labels) {
            counts.add(labels, chunks, range);
            if options.extended
                && let Err(error) = sizes.add(&block, chunks)
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    progress.clear();
    if let Some(failure) = failed {
        return Err(failure);
    }
    visited.map_err(|e| Failure::of("reading the block", &e))?;
    counts.print(selector.is_some(), range, options.limit, out)?;
    if options.extended { sizes.print(out) } else { Ok(()) }
}

fn selected(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
}

impl Counts {
    fn add(&mut self, labels: &Labels, chunks: &[ChunkInfo], range: u64) {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return };
        // What of the block's time it has no samples in.
        let uncovered = range.wrapping_sub(last.maxt.wrapping_sub(first.mint) as u64);
        self.matched += 1;
        for (name, value) in labels.iter() {
            self.entries += 1;
            let entry = match self.names.get_mut(name) {
                Some(entry) => entry,
                None => self.names.entry(name.to_owned()).or_default(),
            };
            entry.uncovered = entry.uncovered.wrapping_add(uncovered);
            if !entry.values.contains(value) {
                entry.values.insert(value.to_owned());
            }
            let pair = self.pairs.entry(format!("{name}={value}")).or_default();
            pair.uncovered = pair.uncovered.wrapping_add(uncovered);
            pair.count += 1;
        }
        if let Some(metric) = labels.metric_name() {
            *self.metrics.entry(metric.to_owned()).or_default() += 1;
        }
    }

    fn print(&self, matched: bool, range: u64, limit: usize, out: &mut dyn Write) -> Outcome {
        writeln!(out, "Label names: {}", self.names.len())?;
        if matched {
            writeln!(out, "Matched series: {}", self.matched)?;
        }
        writeln!(out, "Postings (unique label pairs): {}", self.pairs.len())?;
        writeln!(out, "Postings entries (total label pairs): {}", self.entries)?;
        let share = |uncovered: u64| (uncovered as f64 / range as f64) as u64;
        let pairs = || self.pairs.iter();
        let names = || self.names.iter();
        let mut list =
            |title: &str, entries: Vec<(&String, u64)>| print_list(title, entries, limit, out);
        list(
            "Label pairs most involved in churning",
            pairs().map(|(k, p)| (k, share(p.uncovered))).collect(),
        )?;
        list(
            "Label names most involved in churning",
            names().map(|(k, n)| (k, share(n.uncovered))).collect(),
        )?;
        list("Most common label pairs", pairs().map(|(k, p)| (k, p.count)).collect())?;
        let length = |n: &Name| n.values.iter().map(|v| v.len() as u64).sum();
        list(
            "Label names with highest cumulative label value length",
            names().map(|(k, n)| (k, length(n))).collect(),
        )?;
        list(
            "Highest cardinality labels",
            names().map(|(k, n)| (k, n.values.len() as u64)).collect(),
        )?;
        list(
            "Highest cardinality metric names",
            self.metrics.iter().map(|(k, n)| (k, *n)).collect(),
        )
    }
}

/// Prints the largest first; of equal ones the first in the alphabet.
fn print_list(
    title: &str,
    mut entries: Vec<(&String, u64)>,
    limit: usize,
    out: &mut dyn Write,
) -> Outcome {
    writeln!(out, "\n{title}:")?;
    entries.sort_by_key(|e| std::cmp::Reverse(e.1));
    for (name, number) in entries.into_iter().take(limit) {
        writeln!(out, "{number} {name}")?;
    }
    Ok(())
}

impl Sizes {
    fn add(&mut self, block: &Block, chunks: &[ChunkInfo]) -> Result<(), Failure> {
        let mut damaged = None;
        let read = block.visit_chunks(chunks, &mut |encoding, data| {
            self.total += 1;
            let samples = encoding.num_samples(data).unwrap_or(0) as i64;
            if encoding.is_float() {
                self.float_samples.push(samples);
                self.float_bytes.push(data.len() as i64);
                return;
            }
            self.histogram_samples.push(samples);
            self.histogram_bytes.push(data.len() as i64);
            match histogram::decode(encoding, data) {
                Ok(found) => {
                    // A stale sample has no buckets.
                    let stale = found.sums.iter().filter(|s| firesteel_model::is_stale_nan(**s));
                    let full = found.sums.len() - stale.count();
                    self.histogram_buckets.push((found.layout.num_buckets() * full) as i64);
                }
                Err(error) => damaged = Some(error),
            }
        });
        read.map_err(|e| Failure::of("reading the block", &e))?;
        damaged.map_or(Ok(()), |e| Err(Failure::of("reading a chunk", &e)))
    }

    fn print(mut self, out: &mut dyn Write) -> Outcome {
        writeln!(out, "\nCompaction analysis:\n")?;
        for (title, numbers) in [
            ("samples per float chunk", &mut self.float_samples),
            ("bytes per float chunk", &mut self.float_bytes),
            ("samples per histogram chunk", &mut self.histogram_samples),
            ("bytes per histogram chunk", &mut self.histogram_bytes),
            ("buckets per histogram chunk", &mut self.histogram_buckets),
        ] {
            print_distribution(title, numbers, self.total, out)?;
        }
        Ok(())
    }
}

/// Prints how numbers are distributed.
fn print_distribution(
    title: &str,
    numbers: &mut [i64],
    total: usize,
    out: &mut dyn Write,
) -> Outcome {
    numbers.sort_unstable();
    let (Some(&least), Some(&most)) = (numbers.first(), numbers.last()) else {
        return Ok(writeln!(out, "{title}: N/A\n")?);
    };
    let (start, end, step) = steps(least, most);
    let mut buckets = vec![0_i64; ((end - start) / step + 1) as usize];
    for n in &*numbers {
        if let Some(count) = buckets.get_mut(((n - start) / step) as usize) {
            *count += 1;
        }
    }
    let average = numbers.iter().sum::<i64>() / numbers.len() as i64;
    writeln!(out, "{title} (min/avg/max): {least}/{average}/{most}")?;
    let width = |n: i64| n.to_string().len();
    let (left, right) = (width(end), width(end + step));
    let counts = width(buckets.iter().copied().max().unwrap_or(0));
    for (i, count) in buckets.iter().enumerate() {
        let (from, to) = (i as i64 * step + start + 1, (i as i64 + 1) * step + start);
        let bar = "#".repeat((100 * count / (total as i64).max(1)) as usize);
        writeln!(out, "[{from:left$}, {to:right$}]: {count:counts$} {bar}")?;
    }
    Ok(writeln!(out)?)
}

/// First bound, last bound and width of about ten buckets.
fn steps(least: i64, most: i64) -> (i64, i64, i64) {
    let tenth = (most - least) / 10;
    let mut step = 10;
    while step < tenth && step <= 10_000 {
        step *= 10;
    }
    (least - least % step, most - most % step + step, step)
}
