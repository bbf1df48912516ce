//! The index in an image of the head.

use std::sync::Arc;

use firesteel_chunk::varint;

use super::{Index, Meta, Name, Schema};
use crate::{
    head::{hash::Keyed, image::ImageError, postings::List},
    wal::record::Cursor,
};

/// Bytes of a series.
const SERIES: usize = 20;

impl Index {
    /// The key of the label hashes.
    pub(in crate::head) const fn key(&self) -> u64 {
        self.hasher.0
    }

    /// Writes a series, or that the number is free.
    pub(in crate::head) fn put_series(&self, id: u32, live: bool, out: &mut Vec<u8>) {
        let dead = Meta { reference: 0, schema: Meta::DEAD, row: 0 };
        let meta = self.meta(id).filter(|_| live).unwrap_or(dead);
        let tag = if live { self.hash(&self.labels(id)) as u32 } else { 0 };
        out.extend_from_slice(&meta.reference.to_le_bytes());
        for x in [meta.schema, meta.row, tag] {
            out.extend_from_slice(&x.to_le_bytes());
        }
    }

    pub(in crate::head) const fn num_schemas(&self) -> usize {
        self.schemas.len()
    }

    /// Writes the names of a schema and returns its number of rows.
    pub(in crate::head) fn put_schema(&self, schema: usize, out: &mut Vec<u8>) -> usize {
        let Some(schema) = self.schemas.get(schema) else { return 0 };
        varint::put_uvarint(out, schema.names.len() as u64);
        for name in schema.names.iter() {
            out.extend_from_slice(&name.to_le_bytes());
        }
        schema.values.len().checked_div(schema.names.len()).unwrap_or(0)
    }

    /// Writes rows of a schema, at most those up to `to` and about `bytes` bytes of them. Returns
    /// how many.
    pub(in crate::head) fn put_rows(
        &self,
        schema: usize,
        from: usize,
        to: usize,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let Some(names) = self.schemas.get(schema).map(|s| s.names.len()) else { return to };
        let rows = (bytes / (names.max(1) * 4)).max(1).min(to - from);
        varint::put_uvarint(out, schema as u64);
        let values = self
            .schemas
            .get(schema)
            .and_then(|s| s.values.get(from * names..(from + rows) * names));
        for value in values.unwrap_or_default() {
            out.extend_from_slice(&value.to_le_bytes());
        }
        rows
    }

    /// An index with nothing but the key of its hashes.
    pub(in crate::head) fn with_key(key: u64) -> Self {
        Self { hasher: Keyed(key), ..Self::default() }
    }

    /// Takes a part with the names of the next schema.
    pub(in crate::head) fn take_schema(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut cursor = Cursor::new(bytes);
        let n = cursor.count(4, "names of a schema")?;
        let names: Arc<[u32]> = words(cursor.bytes(n * 4, "names of a schema")?).collect();
        let number = u32::try_from(self.schemas.len()).ok().filter(|&n| n < Meta::DEAD);
        let number = number.ok_or(ImageError::new("too many schemas"))?;
        if n == 0 || self.by_names.insert(Arc::clone(&names), number).is_some() {
            return Err(ImageError::new("a schema without names, or there already"));
        }
        self.schemas.push(Schema { names, values: Vec::new(), free: Vec::new() });
        Ok(())
    }

    /// Takes a part with rows of a schema.
    pub(in crate::head) fn take_rows(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut cursor = Cursor::new(bytes);
        let schema = cursor.uvarint("schema")?;
        let rest = cursor.bytes(cursor.len(), "rows")?;
        let schema = usize::try_from(schema).ok().and_then(|s| self.schemas.get_mut(s));
        let schema = schema.ok_or(ImageError::new("rows of an unknown schema"))?;
        if rest.len() % (4 * schema.names.len()) != 0 {
            return Err(ImageError::new("a row is cut off"));
        }
        schema.values.extend(words(rest));
        Ok(())
    }

    /// Takes a part with series, after all schemas and rows. Calls `each` with the number and
    /// reference of each.
    pub(in crate::head) fn take_series(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u32, u64),
    ) -> Result<(), ImageError> {
        let (series, rest) = bytes.as_chunks::<SERIES>();
        if !rest.is_empty() {
            return Err(ImageError::new("a series is cut off"));
        }
        self.by_labels.reserve(series.len(), |&(_, tag)| Self::spread(tag));
        for bytes in series {
            let (reference, rest) = bytes.split_at(8);
            let reference = words(reference).rev().fold(0, |r, w| r << 32 | u64::from(w));
            let mut rest = words(rest);
            let mut next = || rest.next().unwrap_or(0);
            let meta = Meta { reference, schema: next(), row: next() };
            let tag = next();
            let id = u32::try_from(self.series.len()).map_err(|_| ImageError::new("series"))?;
            self.series.push(meta);
            if meta.schema == Meta::DEAD {
                self.free.push(id);
                continue;
            }
            let rows = self
                .schemas
                .get(meta.schema as usize)
                .map_or(0, |s| s.values.len() / s.names.len());
            if meta.row as usize >= rows || reference == 0 {
                return Err(ImageError::new("a series without labels or reference"));
            }
            self.by_labels
                .insert_unique(Self::spread(tag), (id, tag), |&(_, tag)| Self::spread(tag));
            self.live += 1;
            each(id, reference);
        }
        Ok(())
    }

    /// Checks what was taken and derives the rest, postings excepted: see [`Index::postings_of`].
    pub(in crate::head) fn taken(&mut self) -> Result<(), ImageError> {
        let bound = self.symbols.bound();
        let mut used: Vec<Vec<bool>> = Vec::new();
        for schema in &self.schemas {
            if schema.names.iter().any(|&n| n >= bound) {
                return Err(ImageError::new("a label name that does not exist"));
            }
            used.push(vec![false; schema.values.len() / schema.names.len()]);
        }
        for meta in self.series.iter().filter(|m| m.schema != Meta::DEAD) {
            let row = used.get_mut(meta.schema as usize).and_then(|u| u.get_mut(meta.row as usize));
            // In range, as checked; two series cannot have the same labels.
            if row.is_none_or(|used| std::mem::replace(used, true)) {
                return Err(ImageError::new("two series with the same row"));
            }
        }
        let bad = |&v: &u32| v >= bound || self.symbols.text(v).is_empty();
        for (schema, used) in self.schemas.iter_mut().zip(used) {
            let n = schema.names.len();
            for (row, used) in used.into_iter().enumerate() {
                if used && schema.values[row * n..(row + 1) * n].iter().any(bad) {
                    return Err(ImageError::new("a label value that does not exist"));
                } else if !used {
                    schema.free.push(row as u32);
                }
            }
        }
        // Numbers are taken from the end, so that they come in order.
        self.free.reverse();
        self.check_tags()
    }

    /// Whether hashes are what they were: a few are made again.
    fn check_tags(&self) -> Result<(), ImageError> {
        let step = (self.series.len() / 64).max(1);
        for id in (0..self.bound()).step_by(step) {
            let Some(meta) = self.meta(id) else { continue };
            let labels = self.labels(id);
            if self.find(self.hash(&labels), &labels) != Some(id) {
                let what = format!("the series {} is not found by its labels", meta.reference);
                return Err(ImageError::new(what));
            }
        }
        Ok(())
    }

    /// The columns of all schemas by their name: what [`Index::postings_of`] is asked for.
    pub(in crate::head) fn columns(&self) -> Vec<(u32, Vec<(usize, usize)>)> {
        let mut all = std::collections::BTreeMap::<u32, Vec<(usize, usize)>>::new();
        for (s, schema) in self.schemas.iter().enumerate() {
            for (i, &name) in schema.names.iter().enumerate() {
                all.entry(name).or_default().push((s, i));
            }
        }
        all.into_iter().collect()
    }

    /// Makes the postings of a label, by counting. Only reads, so that several threads can do it
    /// for different labels.
    pub(in crate::head) fn postings_of(&self, columns: &[(usize, usize)]) -> Postings {
        let mut column_of = vec![None; self.schemas.len()];
        for &(schema, column) in columns {
            if let Some(c) = column_of.get_mut(schema) {
                *c = Some(column);
            }
        }
        let value_of = |meta: &Meta| {
            let column = (*column_of.get(meta.schema as usize)?)?;
            let schema = self.schemas.get(meta.schema as usize)?;
            schema.values.get(meta.row as usize * schema.names.len() + column).copied()
        };
        let mut counts = vec![0_u32; self.symbols.bound() as usize];
        let mut series = 0;
        for value in self.series.iter().filter_map(value_of) {
            counts[value as usize] += 1;
            series += 1;
        }
        let distinct = counts.iter().filter(|&&n| n > 0).count();
        // From here on: where the list of a value is, plus one.
        let mut lists = Vec::with_capacity(distinct);
        let mut values = Vec::with_capacity(distinct);
        for (value, count) in counts.iter_mut().enumerate().filter(|(_, n)| **n > 0) {
            lists.push(Vec::with_capacity(*count as usize));
            values.push(value as u32);
            *count = lists.len() as u32;
        }
        for (id, meta) in self.series.iter().enumerate() {
            if let Some(value) = value_of(meta)
                && let Some(list) = lists.get_mut((counts[value as usize] as usize).wrapping_sub(1))
            {
                list.push(id as u32);
            }
        }
        let lists = values.into_iter().zip(lists.into_iter().map(List::from_sorted)).collect();
        Postings { lists, series }
    }

    /// Puts in what [`Index::postings_of`] made.
    pub(in crate::head) fn put_postings(&mut self, name: u32, postings: Postings) {
        if postings.series == 0 {
            return;
        }
        let name = self.names.entry(name).or_default();
        *name = Name { values: postings.lists, series: postings.series };
    }

    /// Makes the list of all series.
    pub(in crate::head) fn put_all(&mut self) {
        let live = |(_, m): &(usize, &Meta)| m.schema != Meta::DEAD;
        let ids: Vec<_> =
            self.series.iter().enumerate().filter(live).map(|(id, _)| id as u32).collect();
        self.all = List::from_sorted(ids);
    }
}

/// The postings of a label.
pub(in crate::head) struct Postings {
    lists: hashbrown::HashMap<u32, List>,
    series: usize,
}

fn words(bytes: &[u8]) -> impl DoubleEndedIterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w))
}
