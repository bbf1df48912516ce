//! The samples of a series in an image of the head.
//!
//! ```text
//! id u32 | flags u8
//! open chunk, flag 1:  state 26 bytes | next_at i64 | uvarint length | chunk
//! closed, flag 2:      uvarint count | count x (varint mint | varint maxt | encoding u8 | data)
//! histograms, flag 4:  uvarint count | count x (varint start | uvarint length | WAL record)
//! ```

use firesteel_chunk::{Encoding, XorState, varint, xor};

use super::{EPOCH_BITS, Handle, HistogramSample, NEVER, Sealed, Stripe, first_time, place};
use crate::{
    head::image::ImageError,
    wal::record::{Cursor, histograms},
};

const OPEN: u8 = 1;
const CLOSED: u8 = 2;
const HISTOGRAMS: u8 = 4;

/// What a series of an image has, as far as the head must know.
#[derive(Clone, Copy, Debug)]
pub(in crate::head) struct Taken {
    pub(in crate::head) id: u32,
    /// Its oldest and newest sample; nothing where `newest` is [`NEVER`].
    pub(in crate::head) oldest: i64,
    pub(in crate::head) newest: i64,
    pub(in crate::head) samples: u64,
}

impl Stripe {
    /// Writes a series.
    pub(in crate::head) fn put_series(&self, id: u32, out: &mut Vec<u8>) {
        let (Some(hot), Some(cold)) = (self.hot(id), self.cold(id)) else { return };
        let open = hot.state.num_samples() > 0;
        let flags = u8::from(open) * OPEN
            + u8::from(!cold.sealed.is_empty()) * CLOSED
            + u8::from(cold.histograms.is_some()) * HISTOGRAMS;
        if flags == 0 {
            return;
        }
        out.extend_from_slice(&id.to_le_bytes());
        out.push(flags);
        if open {
            let chunk = self.slab.get(hot.buffer).get(..hot.state.len()).unwrap_or_default();
            out.extend_from_slice(&hot.state.to_bytes());
            out.extend_from_slice(&hot.next_at.to_le_bytes());
            varint::put_uvarint(out, chunk.len() as u64);
            let at = out.len();
            out.extend_from_slice(chunk);
            hot.state.put_header(out.get_mut(at..).unwrap_or_default());
        }
        if !cold.sealed.is_empty() {
            varint::put_uvarint(out, cold.sealed.len() as u64);
            for chunk in &cold.sealed {
                put_sealed(chunk, out);
            }
        }
        if let Some(all) = &cold.histograms {
            varint::put_uvarint(out, all.len() as u64);
            let mut record = Vec::new();
            for h in all.iter() {
                record.clear();
                let kind = h.value.record_type();
                histograms::encode(&mut record, kind, [(0, h.t, &*h.value)]);
                varint::put_varint(out, h.start);
                varint::put_uvarint(out, record.len() as u64);
                out.extend_from_slice(&record);
            }
        }
    }

    /// Takes the series of a part; only `known` ones can be in it. Samples before `min_valid` are
    /// left out, those in chunks with newer ones excepted. Calls `taken` for each.
    pub(in crate::head) fn take_series(
        &mut self,
        bytes: &[u8],
        (min_valid, epoch): (i64, u64),
        known: impl Fn(u32) -> bool,
        mut taken: impl FnMut(Taken),
    ) -> Result<(), ImageError> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let id = cursor.bytes(4, "series number")?.first_chunk().copied().unwrap_or_default();
            let id = u32::from_le_bytes(id);
            let flags = cursor.u8("flags")?;
            if !known(id) || !self.is_empty(id) {
                return Err(ImageError::new(format!("samples of series {id}, which has none")));
            }
            self.ensure(id);
            let samples = self.take_one(id, flags, &mut cursor, min_valid)?;
            let (page, slot) = place(id);
            let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { continue };
            hot.epochs = epoch << EPOCH_BITS;
            hot.before = NEVER;
            let Some(hot) = self.hot(id) else { continue };
            let newest = self.newest(id, hot);
            let oldest = self.oldest(id).unwrap_or(NEVER).max(min_valid);
            taken(Taken { id, oldest, newest, samples });
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        id: u32,
        flags: u8,
        cursor: &mut Cursor<'_>,
        min_valid: i64,
    ) -> Result<u64, ImageError> {
        let mut samples = 0;
        if flags & OPEN != 0 {
            let state = cursor.bytes(xor::STATE_LEN, "state of an open chunk")?;
            let next_at = cursor.bytes(8, "end of an open chunk")?;
            let len = cursor.count(1, "length of an open chunk")?;
            let chunk = cursor.bytes(len, "an open chunk")?;
            let bad = || ImageError::new(format!("the open chunk of series {id} is none"));
            let state = state.first_chunk().and_then(|s| XorState::from_bytes(s, chunk));
            let state = state.ok_or_else(bad)?;
            if state.last_time() >= min_valid {
                samples += state.num_samples() as u64;
                let buffer = self.slab.alloc_with(chunk).ok_or_else(bad)?;
                let (page, slot) = place(id);
                if let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) {
                    hot.state = state;
                    hot.next_at = next_at.first_chunk().map_or(0, |b| i64::from_le_bytes(*b));
                    debug_assert!(hot.buffer == Handle::NONE, "the series is empty");
                    hot.buffer = buffer;
                }
                if first_time(chunk) > state.last_time() {
                    return Err(bad());
                }
            }
        }
        if flags & CLOSED != 0 {
            for _ in 0..cursor.count(4, "number of closed chunks")? {
                let (sealed, n) = take_sealed(cursor)?;
                if sealed.maxt >= min_valid {
                    samples += n;
                    self.push_sealed(id, sealed);
                }
            }
        }
        if flags & HISTOGRAMS != 0 {
            let readers = super::ActiveReaders::default();
            let mut all = Vec::new();
            for _ in 0..cursor.count(2, "number of histograms")? {
                let start = cursor.varint("start of a histogram")?;
                let len = cursor.count(1, "length of a histogram")?;
                histograms::decode(cursor.bytes(len, "a histogram")?, &mut all)?;
                for h in all.drain(..).filter(|h| h.t >= min_valid) {
                    let sample = HistogramSample { t: h.t, start, value: h.value.into() };
                    self.append_histogram(id, sample, NEVER, 0, &readers);
                    samples += 1;
                }
            }
        }
        Ok(samples)
    }
}

fn put_sealed(chunk: &Sealed, out: &mut Vec<u8>) {
    varint::put_varint(out, chunk.mint);
    varint::put_varint(out, chunk.maxt);
    out.push(chunk.encoding.id());
    varint::put_uvarint(out, chunk.data.len() as u64);
    out.extend_from_slice(&chunk.data);
}

/// A closed chunk, and its number of samples.
fn take_sealed(cursor: &mut Cursor<'_>) -> Result<(Sealed, u64), ImageError> {
    let (mint, maxt) = (cursor.varint("time of a chunk")?, cursor.varint("time of a chunk")?);
    let encoding = Encoding::from_id(cursor.u8("encoding of a chunk")?)
        .map_err(|e| ImageError::new(e.to_string()))?;
    let len = cursor.count(1, "length of a chunk")?;
    let data = cursor.bytes(len, "a chunk")?;
    if mint > maxt {
        return Err(ImageError::new("a chunk ends before it begins"));
    }
    let samples = data.first_chunk().map_or(0, |n| u64::from(u16::from_be_bytes(*n)));
    Ok((Sealed { mint, maxt, encoding, data: data.into() }, samples))
}
