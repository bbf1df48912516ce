//! Making an image while commits go on.

use std::sync::atomic::Ordering;

use firesteel_chunk::varint;

use super::{PART, Part};
use crate::{
    TsdbError,
    head::{
        Head, LOGGED,
        stripe::{RUN, STRIPES},
    },
    wal::{
        record::{self, exemplars::RefExemplar, tombstones::Stone},
        writer::Writer,
    },
};

/// Takes the parts of an image, one after the other.
pub(crate) type Sink<'a> = dyn FnMut(Part, &[u8]) -> Result<(), TsdbError> + 'a;

/// Collects a part.
struct Buffer<'a, 'b> {
    sink: &'a mut Sink<'b>,
    bytes: Vec<u8>,
}

impl Buffer<'_, '_> {
    fn end(&mut self, part: Part) -> Result<(), TsdbError> {
        if !self.bytes.is_empty() {
            (self.sink)(part, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    fn end_full(&mut self, part: Part) -> Result<(), TsdbError> {
        if self.bytes.len() >= PART { self.end(part) } else { Ok(()) }
    }
}

impl Head {
    /// Makes an image of what is committed when `begin` is called, which happens under the commit
    /// lock, with the log and the number of the last late batch in it. `None` without a log, and
    /// where the out-of-order log lacks some of the late samples, which no image has. No lock is held for longer than a few hundred series take.
    pub(crate) fn write_image<R>(
        &self,
        begin: impl FnOnce(&mut Writer, u64) -> R,
        sink: &mut Sink<'_>,
    ) -> Result<Option<R>, TsdbError> {
        // No series goes and no number is used again meanwhile.
        let _limbo = self.limbo.lock();
        let mut committer = self.committer.lock();
        let late = committer.late_number;
        let wal = (!committer.wbl_behind).then_some(committer.wal.as_mut()).flatten();
        let Some(begun) = wal.map(|wal| begin(wal, late)) else { return Ok(None) };
        let bound = self.index.read().bound();
        drop(committer);
        let mut out = Buffer { sink, bytes: Vec::new() };
        let last_ref = self.last_ref.load(Ordering::Acquire);
        let index = self.index.read();
        for x in [self.chunk_range as u64, u64::from(bound), last_ref, index.key()] {
            out.bytes.extend_from_slice(&x.to_le_bytes());
        }
        drop(index);
        out.end(Part::Head)?;
        let live = self.image_series(bound, &mut out)?;
        self.image_schemas(&mut out)?;
        self.image_symbols(&mut out)?;
        self.image_stripes(bound, &live, &mut out)?;
        self.image_metadata(&live, &mut out)?;
        self.image_records(&live, &mut out)?;
        Ok(Some(begun))
    }

    /// Writes the series, and returns which of them the image has.
    fn image_series(&self, bound: u32, out: &mut Buffer<'_, '_>) -> Result<Live, TsdbError> {
        let mut live = Live(vec![0; (bound as usize).div_ceil(64)]);
        for first in (0..bound).step_by(1024) {
            let index = self.index.read();
            for id in first..bound.min(first.saturating_add(1024)) {
                let reference = index.reference(id);
                let flags = self.flags.get(u64::from(id)).map_or(0, |f| f.load(Ordering::Acquire));
                // Those that the log does not have yet are defined after the image's position.
                let has = flags & LOGGED != 0 && self.lookup(reference) == Some(id);
                if has {
                    live.set(id);
                }
                index.put_series(id, has, &mut out.bytes);
            }
            drop(index);
            out.end_full(Part::Series)?;
        }
        out.end(Part::Series)?;
        Ok(live)
    }

    fn image_schemas(&self, out: &mut Buffer<'_, '_>) -> Result<(), TsdbError> {
        let schemas = self.index.read().num_schemas();
        for schema in 0..schemas {
            let rows = self.index.read().put_schema(schema, &mut out.bytes);
            out.end(Part::Schema)?;
            let mut from = 0;
            while from < rows {
                let n = self.index.read().put_rows(schema, from, rows, PART, &mut out.bytes);
                out.end(Part::Rows)?;
                from += n;
            }
        }
        Ok(())
    }

    fn image_symbols(&self, out: &mut Buffer<'_, '_>) -> Result<(), TsdbError> {
        let bound = self.index.read().symbols.bound();
        let mut next = 0;
        while next < bound {
            next = self.index.read().symbols.put(next, bound, PART, &mut out.bytes);
            out.end(Part::Symbols)?;
        }
        Ok(())
    }

    fn image_stripes(
        &self,
        bound: u32,
        live: &Live,
        out: &mut Buffer<'_, '_>,
    ) -> Result<(), TsdbError> {
        for (number, stripe) in self.stripes.iter().enumerate() {
            let part = Part::Stripe(number as u8);
            let mut first = (number * RUN) as u64;
            while first < u64::from(bound) {
                let ids = first as u32..bound.min((first as u32).saturating_add(RUN as u32));
                let stripe = stripe.lock();
                for id in ids.filter(|&id| live.has(id)) {
                    stripe.put_series(id, &mut out.bytes);
                }
                drop(stripe);
                out.end_full(part)?;
                first += (RUN * STRIPES) as u64;
            }
            out.end(part)?;
        }
        Ok(())
    }

    /// Distinct metadata with the series that have it.
    fn image_metadata(&self, live: &Live, out: &mut Buffer<'_, '_>) -> Result<(), TsdbError> {
        let mut all: Vec<_> = {
            let store = self.metadata.read();
            let all = store.by_series.iter().filter(|(id, _)| live.has(**id));
            all.map(|(&id, m)| (std::sync::Arc::clone(m), id)).collect()
        };
        all.sort_unstable_by_key(|(m, id)| (std::sync::Arc::as_ptr(m), *id));
        for same in all.chunk_by(|a, b| std::sync::Arc::ptr_eq(&a.0, &b.0)) {
            for some in same.chunks(16 << 10) {
                let Some((metadata, _)) = some.first() else { continue };
                let mut text = Vec::new();
                record::metadata::begin(&mut text);
                record::metadata::push(&mut text, 0, metadata);
                varint::put_uvarint(&mut out.bytes, text.len() as u64);
                out.bytes.extend_from_slice(&text);
                varint::put_uvarint(&mut out.bytes, some.len() as u64);
                for (_, id) in some {
                    out.bytes.extend_from_slice(&id.to_le_bytes());
                }
                out.end_full(Part::Metadata)?;
            }
        }
        out.end(Part::Metadata)
    }

    /// Further references, hidden intervals and exemplars, as the log has them.
    fn image_records(&self, live: &Live, out: &mut Buffer<'_, '_>) -> Result<(), TsdbError> {
        let mut aliases: Vec<_> =
            self.aliases.lock().iter().map(|(&id, refs)| (id, refs.clone())).collect();
        aliases.retain(|a| live.has(a.0));
        aliases.sort_unstable();
        let mut bytes = Vec::new();
        for (id, references) in aliases {
            bytes.clear();
            record::series::begin(&mut bytes);
            let index = self.index.read();
            for reference in references {
                record::series::push(&mut bytes, reference, index.text_pairs(id));
            }
            drop(index);
            put_record(&bytes, out)?;
        }
        let mut stones: Vec<_> =
            self.tombstones.read().iter().map(|(&id, hidden)| (id, hidden.clone())).collect();
        stones.retain(|s| live.has(s.0));
        stones.sort_unstable();
        for (id, hidden) in stones {
            let series = self.index.read().reference(id);
            let stones: Vec<_> =
                hidden.into_iter().map(|(mint, maxt)| Stone { series, mint, maxt }).collect();
            bytes.clear();
            record::tombstones::encode(&mut bytes, &stones);
            put_record(&bytes, out)?;
        }
        let exemplars: Vec<_> = {
            let exemplars = self.exemplars.lock();
            let all = exemplars.iter().map(|e| RefExemplar {
                series: e.reference,
                t: e.t,
                v: e.exemplar.value,
                labels: e.exemplar.labels.clone(),
            });
            all.collect()
        };
        for some in exemplars.chunks(1000) {
            bytes.clear();
            record::exemplars::encode(&mut bytes, some);
            put_record(&bytes, out)?;
        }
        out.end(Part::Records)
    }
}

fn put_record(record: &[u8], out: &mut Buffer<'_, '_>) -> Result<(), TsdbError> {
    varint::put_uvarint(&mut out.bytes, record.len() as u64);
    out.bytes.extend_from_slice(record);
    out.end_full(Part::Records)
}

/// The series of an image.
struct Live(Vec<u64>);

impl Live {
    fn set(&mut self, id: u32) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn has(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}
