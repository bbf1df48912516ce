//! What blocks, checkpoints and statistics take out of the head.

use std::collections::BinaryHeap;

use firesteel_model::Timestamp;

use super::{
    Head,
    pending::{put_aliases, put_series},
    stripe::{Copied, NEVER, stripe_of},
};
use crate::{
    TsdbError,
    wal::{
        record::{self, exemplars::RefExemplar, tombstones::Stone},
        writer::Batch,
    },
};

/// The strings of some series in order, and the ranks of symbols among them.
pub(crate) struct LabelOrder {
    pub(crate) strings: Vec<String>,
    rank: Vec<u32>,
}

impl LabelOrder {
    /// The label pairs of a series, as ranks.
    pub(crate) fn pairs(&self, head: &Head, id: u32, out: &mut Vec<(u32, u32)>) {
        let rank = |symbol: u32| self.rank.get(symbol as usize).copied().unwrap_or(u32::MAX);
        out.clear();
        out.extend(head.index.read().pairs(id).map(|(n, v)| (rank(n), rank(v))));
    }
}

/// Sizes of the head, as `/api/v1/status/tsdb` shows them. The tables hold the largest entries,
/// largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series.
    pub num_series: u64,
    /// Label pairs.
    pub num_label_pairs: u64,
    /// Chunks.
    pub chunk_count: u64,
    /// Oldest sample, milliseconds; `i64::MAX` where there is none.
    pub min_time: Timestamp,
    /// Newest sample, milliseconds; `i64::MIN` where there is none.
    pub max_time: Timestamp,
    /// Series by metric name.
    pub series_count_by_metric_name: Vec<(String, u64)>,
    /// Distinct values by label name.
    pub label_value_count_by_label_name: Vec<(String, u64)>,
    /// Bytes of the values of all series by label name.
    pub memory_in_bytes_by_label_name: Vec<(String, u64)>,
    /// Series by label pair, written `name=value`.
    pub series_count_by_label_value_pair: Vec<(String, u64)>,
}

/// The `n` largest, largest first; those of the same size by name.
fn largest(n: usize, all: impl Iterator<Item = (u64, String)>) -> Vec<(String, u64)> {
    let mut heap = BinaryHeap::with_capacity(n.min(10_000) + 1);
    for (size, name) in all {
        heap.push((std::cmp::Reverse(size), name));
        if heap.len() > n {
            heap.pop();
        }
    }
    heap.into_sorted_vec().into_iter().map(|(size, name)| (name, size.0)).collect()
}

impl Head {
    /// Sizes, with tables of `limit` entries.
    pub(crate) fn stats(&self, limit: usize) -> HeadStats {
        let chunk_count = self.num_chunks();
        let index = self.index.read();
        let (min_time, max_time) = self.time_range().unwrap_or((Timestamp::MAX, NEVER));
        let count = |n: usize| n as u64;
        HeadStats {
            num_series: count(index.len()),
            num_label_pairs: count(index.num_pairs()),
            chunk_count,
            min_time,
            max_time,
            series_count_by_metric_name: largest(
                limit,
                index.label_values("__name__").map(|(v, n)| (count(n), v.to_owned())),
            ),
            label_value_count_by_label_name: largest(
                limit,
                index.label_sizes().map(|(name, values, _)| (count(values), name.to_owned())),
            ),
            memory_in_bytes_by_label_name: largest(
                limit,
                index.label_sizes().map(|(name, _, bytes)| (count(bytes), name.to_owned())),
            ),
            series_count_by_label_value_pair: largest(
                limit,
                index.pair_sizes().map(|(name, value, n)| (count(n), format!("{name}={value}"))),
            ),
        }
    }

    /// Number of chunks.
    pub(crate) fn num_chunks(&self) -> u64 {
        let in_order: usize = self.stripes.iter().map(|s| s.lock().num_chunks()).sum();
        (in_order + self.late.num_chunks()) as u64
    }

    /// Exemplars kept, series that have some, and how many can be kept.
    pub(crate) fn exemplar_sizes(&self) -> (usize, usize, usize) {
        self.exemplars.lock().sizes()
    }

    /// Bytes of label strings.
    pub(crate) fn symbol_bytes(&self) -> usize {
        self.index.read().symbols.bytes()
    }

    /// Copies what a series has between two times, both inclusive.
    pub(crate) fn copy(&self, id: u32, mint: Timestamp, maxt: Timestamp, out: &mut Copied) {
        self.stripes[stripe_of(id)].lock().copy(id, mint, maxt, out);
    }

    /// The series that may have samples between two times, both inclusive.
    pub(crate) fn series_with_samples(&self, mint: Timestamp, maxt: Timestamp) -> Vec<u32> {
        let mut ids = self.index.read().all();
        ids.retain(|&id| {
            self.newest(id) >= mint
                && self.stripes[stripe_of(id)].lock().has_samples(id, mint, maxt)
        });
        ids
    }

    /// The oldest sample of all.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let ids = self.index.read().all();
        ids.iter().filter_map(|&id| self.stripes[stripe_of(id)].lock().oldest(id)).min()
    }

    /// Sorts series by their labels.
    pub(crate) fn label_order(&self, ids: &mut [u32]) -> LabelOrder {
        let index = self.index.read();
        let mut used = vec![false; index.symbols.bound() as usize];
        for &id in &*ids {
            for (name, value) in index.pairs(id) {
                used[name as usize] = true;
                used[value as usize] = true;
            }
        }
        let mut symbols: Vec<u32> =
            (0..index.symbols.bound()).filter(|&s| used[s as usize]).collect();
        drop(used);
        symbols.sort_unstable_by(|&a, &b| index.symbols.text(a).cmp(index.symbols.text(b)));
        let mut rank = vec![u32::MAX; index.symbols.bound() as usize];
        for (i, &symbol) in symbols.iter().enumerate() {
            rank[symbol as usize] = i as u32;
        }
        let ranks = |id: u32| index.pairs(id).map(|(n, v)| (rank[n as usize], rank[v as usize]));
        ids.sort_unstable_by(|&a, &b| ranks(a).cmp(ranks(b)));
        let strings = symbols.iter().map(|&s| index.symbols.text(s).to_owned()).collect();
        drop(index);
        LabelOrder { strings, rank }
    }

    /// Passes on the records of a checkpoint, batch by batch: all series, their metadata and hidden
    /// intervals, exemplars from `mint` on. Samples are not in it: a checkpoint covers only segments
    /// whose samples are all in blocks.
    pub(crate) fn checkpoint(
        &self,
        mint: Timestamp,
        write: &mut dyn FnMut(&Batch) -> Result<(), TsdbError>,
    ) -> Result<(), TsdbError> {
        const SERIES: usize = 1000;
        let mut batch = Batch::new(self.compression);
        // Else nothing would say that these numbers were in the log.
        let late = self.late_number();
        batch.record(|out| record::batch::encode_late(out, 0, late));
        write(&batch)?;
        let ids = self.index.read().all();
        for part in ids.chunks(SERIES) {
            batch.clear();
            let index = self.index.read();
            batch.record(|out| put_series(out, &index, part));
            let aliases = self.aliases.lock();
            batch.record(|out| put_aliases(out, &index, &aliases, part));
            drop(aliases);
            let metadata = self.metadata.read();
            batch.record(|out| {
                for &id in part {
                    if let Some(m) = metadata.by_series.get(&id) {
                        if out.is_empty() {
                            record::metadata::begin(out);
                        }
                        record::metadata::push(out, index.reference(id), m);
                    }
                }
            });
            drop(metadata);
            if !batch.is_empty() {
                write(&batch)?;
            }
        }
        for &id in &ids {
            batch.clear();
            self.checkpoint_tombstones(id, &mut batch);
            if !batch.is_empty() {
                write(&batch)?;
            }
        }
        batch.clear();
        let entries: Vec<_> = self
            .exemplars
            .lock()
            .iter()
            .filter(|e| e.t >= mint)
            .map(|e| RefExemplar {
                series: e.reference,
                t: e.t,
                v: e.exemplar.value,
                labels: e.exemplar.labels.clone(),
            })
            .collect();
        for part in entries.chunks(SERIES) {
            batch.record(|out| record::exemplars::encode(out, part));
        }
        if batch.is_empty() { Ok(()) } else { write(&batch) }
    }

    fn checkpoint_tombstones(&self, id: u32, batch: &mut Batch) {
        let hidden = self.tombstones_of(id);
        if hidden.is_empty() {
            return;
        }
        let series = self.index.read().reference(id);
        let stones: Vec<_> =
            hidden.into_iter().map(|(mint, maxt)| Stone { series, mint, maxt }).collect();
        batch.record(|out| record::tombstones::encode(out, &stones));
    }
}
