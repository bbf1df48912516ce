//! `create-blocks-from openmetrics`: blocks from a file.
//!
//! The file is read once to learn its times, then once for every range of time that has samples,
//! so that no more than one block's samples are in memory, compressed. Source of what is accepted
//! and how blocks are cut: Prometheus `cmd/promtool/backfill.go`.

use std::{
    collections::{BTreeSet, HashMap},
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firesteel_chunk::{Encoding, XorEncoder};
use firesteel_exposition::{Entry, Format, Parser};
use firesteel_model::{Labels, LabelsBuilder};
use firesteel_tsdb::{
    block::{BlockMeta, BlockWriter, Compaction, EncodedChunk, SymbolTable, Ulid},
    fs::{Fs, OsFs},
};

use crate::{Failure, Outcome, list, progress::Progress};

/// The shortest range of a block, milliseconds.
const RANGE: i64 = 2 * 3_600_000;
/// Samples that are taken together: within them, those out of order are left out, later they are an
/// error.
const BATCH: u64 = 5000;
/// Samples per chunk that are aimed at.
const SAMPLES: usize = 120;
/// A chunk of more bytes takes no more samples.
const BYTES: usize = 1024 - 19;

/// How blocks are made.
pub(crate) struct Options {
    /// Whether the blocks made are listed for people.
    pub(crate) human: bool,
    /// Whether they are not listed.
    pub(crate) quiet: bool,
    /// The longest range of a block.
    pub(crate) longest: Duration,
    /// Labels for all series.
    pub(crate) labels: Vec<(String, String)>,
}

/// Makes the blocks of `input` in `output`, which is made where it is missing.
pub(crate) fn run(input: &Path, output: &Path, options: &Options, out: &mut dyn Write) -> Outcome {
    let fs: Arc<dyn Fs> = Arc::new(OsFs::mapped());
    let name = |e: std::io::Error| Failure::Message(format!("open {}: {e}", input.display()));
    let regular = fs.metadata(input).is_ok_and(|m| m.len > 0);
    // A pipe has no length and cannot be read twice.
    let (mapped, piped);
    let page: &[u8] = if regular {
        mapped = fs.read_all(input).map_err(name)?;
        &mapped
    } else {
        piped = std::fs::read(input).map_err(name)?;
        &piped
    };
    fs.create_dir_all(output).map_err(|e| Failure::Message(format!("create output dir: {e}")))?;
    let Some((mint, maxt)) = times(page)? else { return Ok(()) };
    let range = block_range(options.longest);
    let mut progress = Progress::new();
    let mut next = mint / range * range;
    let mut header = true;
    while next <= maxt {
        let from = next;
        progress.at("blocks", (from - mint).max(0) as u64, (maxt - mint).max(1) as u64);
        let mut samples = Samples::new(options, range);
        let later = samples.read(page, from, from.saturating_add(range))?;
        if let Some(meta) = samples.write(&fs, output)? {
            progress.clear();
            report(&meta, output, &mut header, options, out)?;
        }
        // Ranges without samples are passed over.
        let Some(later) = later else { break };
        next = from.saturating_add(range).max(later / range * range);
    }
    Ok(())
}

/// Lists a block that was made.
pub(crate) fn report(
    meta: &BlockMeta,
    output: &Path,
    header: &mut bool,
    options: &Options,
    out: &mut dyn Write,
) -> Outcome {
    if options.quiet {
        return Ok(());
    }
    let block = list::open(output, &meta.ulid.to_string())?;
    list::print(&[block], std::mem::take(header), options.human, out)?;
    Ok(out.flush()?)
}

/// The longest range of those that compaction makes that is not longer than asked for.
pub(crate) fn block_range(longest: Duration) -> i64 {
    let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
    let ranges = (0..10_u32).map(|i| RANGE * 3_i64.pow(i));
    ranges.take_while(|r| *r <= longest).last().unwrap_or(RANGE)
}

/// Oldest and newest time of a page; `None` without samples.
fn times(page: &[u8]) -> Result<Option<(i64, i64)>, Failure> {
    let fail = |what: String| Failure::Message(format!("getting min and max timestamp: {what}"));
    let mut parser = Parser::new(Format::OpenMetrics, page);
    let mut range: Option<(i64, i64)> = None;
    while let Some(entry) = parser.next_entry().map_err(|e| fail(format!("next: {e}")))? {
        if let Entry::Series(series) = entry {
            let none = || fail("expected timestamp for series got none".to_owned());
            let t = series.timestamp.ok_or_else(none)?;
            range = Some(range.map_or((t, t), |r| (r.0.min(t), r.1.max(t))));
        }
    }
    Ok(range)
}

/// The samples of a block.
pub(crate) struct Samples<'o> {
    options: &'o Options,
    /// How much time a chunk spans at most, twice a block's: as promtool has it.
    chunk_range: i64,
    /// Numbers of series by their text on the page.
    seen: HashMap<Box<[u8]>, usize>,
    numbers: HashMap<Labels, usize>,
    series: Vec<Series>,
    builder: LabelsBuilder,
    batch: u64,
    taken: u64,
    range: Option<(i64, i64)>,
}

#[derive(Default)]
struct Series {
    labels: Labels,
    done: Vec<Chunk>,
    open: XorEncoder,
    /// Time of the open chunk's first sample, and where it ends.
    first: i64,
    next_at: i64,
    /// The last sample, and the one that was last when the batch began.
    last: Option<(i64, f64)>,
    committed: Option<(i64, f64)>,
    batch: u64,
}

struct Chunk {
    mint: i64,
    maxt: i64,
    data: Vec<u8>,
}

impl<'o> Samples<'o> {
    pub(crate) fn new(options: &'o Options, range: i64) -> Self {
        Self {
            options,
            chunk_range: range.saturating_mul(2),
            seen: HashMap::new(),
            numbers: HashMap::new(),
            series: Vec::new(),
            builder: LabelsBuilder::new(),
            batch: 0,
            taken: 0,
            range: None,
        }
    }

    /// Takes the samples of `[from, to)`. Returns the oldest time after them, if there is any.
    fn read(&mut self, page: &[u8], from: i64, to: i64) -> Result<Option<i64>, Failure> {
        let fail =
            |what: String| Failure::Message(format!("block creation: process blocks: {what}"));
        let mut parser = Parser::new(Format::OpenMetrics, page);
        let mut later: Option<i64> = None;
        while let Some(entry) = parser.next_entry().map_err(|e| fail(format!("parse: {e}")))? {
            let Entry::Series(series) = entry else { continue };
            let Some(t) = series.timestamp else {
                let labels = series.to_labels().map_err(|e| fail(format!("parse: {e}")))?;
                let what = format!("expected timestamp for series {labels}, got none");
                return Err(fail(what));
            };
            if t < from {
                continue;
            }
            if t >= to {
                later = Some(later.map_or(t, |l| l.min(t)));
                continue;
            }
            let number = match self.seen.get(series.raw) {
                Some(&number) => number,
                None => {
                    self.builder.clear();
                    series
                        .labels_into(&mut self.builder)
                        .map_err(|e| fail(format!("parse: {e}")))?;
                    for (name, value) in &self.options.labels {
                        self.builder.set(name, value);
                    }
                    let number = self.number();
                    self.seen.insert(series.raw.into(), number);
                    number
                }
            };
            self.add(number, t, series.value)
                .map_err(|what| fail(format!("add sample: {what}")))?;
        }
        Ok(later)
    }

    /// Takes the samples of a series, which come in order of time.
    pub(crate) fn add_series(
        &mut self,
        labels: &Labels,
        samples: impl IntoIterator<Item = (i64, f64)>,
    ) -> Result<(), Failure> {
        self.builder.clear();
        for (name, value) in labels {
            self.builder.set(name, value);
        }
        let number = self.number();
        for (t, v) in samples {
            self.add(number, t, v).map_err(|what| Failure::Message(format!("add: {what}")))?;
        }
        Ok(())
    }

    /// The number of the series that the builder has.
    fn number(&mut self) -> usize {
        let labels = self.builder.build();
        let next = self.series.len();
        let number = *self.numbers.entry(labels.clone()).or_insert(next);
        if number == next {
            self.series.push(Series { labels, ..Series::default() });
        }
        number
    }

    fn add(&mut self, number: usize, t: i64, v: f64) -> Result<(), String> {
        let Some(series) = self.series.get_mut(number) else { return Ok(()) };
        if series.batch != self.batch {
            series.batch = self.batch;
            series.committed = series.last;
        }
        self.taken += 1;
        if self.taken.is_multiple_of(BATCH) {
            self.batch += 1;
        }
        match series.committed {
            Some((before, _)) if t < before => return Err("out of order sample".to_owned()),
            Some((before, same)) if t == before && v.to_bits() != same.to_bits() => {
                return Err(format!(
                    "duplicate sample for timestamp {t}; overrides not allowed: existing {}, new value {}",
                    g(same),
                    g(v)
                ));
            }
            _ => {}
        }
        if series.last.is_some_and(|last| t <= last.0) {
            return Ok(());
        }
        series.append(t, v, self.chunk_range)?;
        self.range = Some(self.range.map_or((t, t), |r| (r.0.min(t), r.1.max(t))));
        Ok(())
    }

    /// Writes the block; `None`, and no block, where there are no samples.
    pub(crate) fn write(
        mut self,
        fs: &Arc<dyn Fs>,
        output: &Path,
    ) -> Result<Option<BlockMeta>, Failure> {
        let failed =
            |e: &dyn std::error::Error| Failure::of("block creation: process blocks: flush", e);
        let Some((mint, maxt)) = self.range else { return Ok(None) };
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let strings = self.series.iter().flat_map(|s| s.labels.iter()).flat_map(|(n, v)| [n, v]);
        let strings: BTreeSet<&str> = strings.collect();
        let symbols = SymbolTable::new(strings).map_err(|e| failed(&e))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ulid = Ulid::generate(now.as_millis() as i64, &mut fastrand::Rng::new());
        let meta = BlockMeta::new(ulid, mint, maxt + 1, Compaction::first_level(ulid));
        let mut writer =
            BlockWriter::create(Arc::clone(fs), output, meta, symbols).map_err(|e| failed(&e))?;
        let mut pairs = Vec::new();
        for series in &mut self.series {
            series.end();
            let number =
                |text: &str| writer.symbols().and_then(|s| s.find(text)).unwrap_or(u32::MAX);
            pairs.clear();
            pairs.extend(series.labels.iter().map(|(n, v)| (number(n), number(v))));
            let chunk = |c| {
                let &Chunk { mint, maxt, ref data } = c;
                EncodedChunk { mint, maxt, encoding: Encoding::Xor, data }
            };
            let chunks: Vec<_> = series.done.iter().map(chunk).collect();
            writer.add_series(&pairs, &chunks).map_err(|e| failed(&e))?;
        }
        writer.finish().map_err(|e| failed(&e))
    }
}

impl Series {
    /// Appends a sample; chunks are cut as in a head of Prometheus.
    fn append(&mut self, t: i64, v: f64, range: i64) -> Result<(), String> {
        let samples = self.open.num_samples();
        if samples == SAMPLES / 4 {
            let last = self.last.map_or(self.first, |l| l.0);
            self.next_at = chunk_end(self.first, last, self.next_at);
        }
        if samples > 0
            && (t >= self.next_at || samples >= 2 * SAMPLES || self.open.bytes().len() > BYTES)
        {
            self.end();
        }
        if self.open.num_samples() == 0 {
            self.first = t;
            self.next_at = (t / range).saturating_mul(range).saturating_add(range);
        }
        self.open.append(t, v).map_err(|e| e.to_string())?;
        self.last = Some((t, v));
        Ok(())
    }

    fn end(&mut self) {
        if let Some((maxt, _)) = self.last
            && self.open.num_samples() > 0
        {
            let data = self.open.bytes().to_vec();
            self.done.push(Chunk { mint: self.first, maxt, data });
            self.open.clear();
        }
    }
}

/// When a chunk that is a quarter full should end, so that chunks fill their range evenly.
fn chunk_end(first: i64, last: i64, max: i64) -> i64 {
    let left = max.saturating_sub(first) as f64;
    let chunks = left / (last.saturating_sub(first).saturating_add(1) as f64 * 4.0);
    if chunks <= 1.0 { max } else { (first as f64 + left / chunks.floor()) as i64 }
}

fn g(v: f64) -> String {
    let mut out = String::new();
    firesteel_model::float::write_g(&mut out, v);
    out
}
