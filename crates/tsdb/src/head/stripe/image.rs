//! The samples of a series in an image of the head.
//!
//! ```text
//! id u32 | flags u8
//! open chunk, flag 1:  state 26 bytes | next_at i64 | uvarint length | chunk
//! closed, flag 2:      uvarint count | count x (varint mint | varint maxt | encoding u8 | 0 | data)
//!                        or, for a chunk in a file, (... | 1 | uvarint file, offset, length)
//! another, flag 4:     encoding u8 | varint end | uvarint length | chunk
//!                        of histograms: varint start | uvarint length | WAL record, of the last
//! ```

use firesteel_chunk::{Encoding, XorState, varint, xor};

use super::{EPOCH_BITS, Handle, NEVER, Stored, Stripe, first_time, place};
use crate::{
    head::{
        chunk_files::{Data, Place, Sealed},
        image::ImageError,
        open::Open,
    },
    wal::record::Cursor,
};

const OPEN: u8 = 1;
const CLOSED: u8 = 2;
/// An open chunk of histograms or of XOR2.
const OTHER: u8 = 4;

/// What a series of an image has, as far as the head must know.
#[derive(Clone, Copy, Debug)]
pub(in crate::head) struct Taken {
    pub(in crate::head) id: u32,
    /// Its oldest and newest sample; nothing where `newest` is [`NEVER`].
    pub(in crate::head) oldest: i64,
    pub(in crate::head) newest: i64,
    pub(in crate::head) chunks: u64,
}

impl Stripe {
    /// Writes a series.
    pub(in crate::head) fn put_series(&self, id: u32, out: &mut Vec<u8>) {
        let (Some(hot), Some(cold)) = (self.hot(id), self.cold(id)) else { return };
        let open = hot.state.num_samples() > 0;
        let flags = u8::from(open) * OPEN
            + u8::from(!cold.sealed.is_empty()) * CLOSED
            + u8::from(cold.open.is_some()) * OTHER;
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
            for stored in &cold.sealed {
                self.put_sealed(stored, out);
            }
        }
        if let Some(other) = &cold.open {
            other.put_image(out);
        }
    }

    /// Takes the series of a part; only `known` ones can be in it. Samples before `min_valid` are
    /// left out, those in chunks with newer ones excepted. Calls `taken` for each.
    pub(in crate::head) fn take_series(
        &mut self,
        bytes: &[u8],
        (min_valid, epoch): (i64, u64),
        known: impl Fn(u32) -> bool,
        has_place: &dyn Fn(Place) -> bool,
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
            let chunks = self.take_one(id, flags, &mut cursor, (min_valid, has_place))?;
            let (page, slot) = place(id);
            let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { continue };
            hot.epochs = epoch << EPOCH_BITS;
            hot.before = NEVER;
            let Some(hot) = self.hot(id) else { continue };
            let newest = self.newest(id, hot);
            let oldest = self.oldest(id).unwrap_or(NEVER).max(min_valid);
            taken(Taken { id, oldest, newest, chunks });
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        id: u32,
        flags: u8,
        cursor: &mut Cursor<'_>,
        (min_valid, has_place): (i64, &dyn Fn(Place) -> bool),
    ) -> Result<u64, ImageError> {
        let mut chunks = 0;
        if flags & OPEN != 0 && flags & OTHER != 0 {
            return Err(ImageError::new(format!("series {id} has two open chunks")));
        }
        if flags & OPEN != 0 {
            let state = cursor.bytes(xor::STATE_LEN, "state of an open chunk")?;
            let next_at = cursor.bytes(8, "end of an open chunk")?;
            let len = cursor.count(1, "length of an open chunk")?;
            let chunk = cursor.bytes(len, "an open chunk")?;
            let bad = || ImageError::new(format!("the open chunk of series {id} is none"));
            let state = state.first_chunk().and_then(|s| XorState::from_bytes(s, chunk));
            let state = state.ok_or_else(bad)?;
            if state.last_time() >= min_valid {
                chunks += 1;
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
                let sealed = take_sealed(cursor)?;
                if sealed.maxt < min_valid {
                    continue;
                }
                let there = match &sealed.data {
                    Data::Memory(_) => true,
                    Data::File(place) => has_place(*place),
                };
                if !there || !self.push_sealed(id, &sealed) {
                    let what = format!("a chunk of series {id} is not in its file");
                    return Err(ImageError::new(what));
                }
                chunks += 1;
            }
        }
        if flags & OTHER != 0 {
            let other = Open::of_image(cursor)?;
            if other.range().1 >= min_valid {
                chunks += 1;
                let (page, slot) = place(id);
                let hot = self.hot.get_mut(page).and_then(|p| p.get_mut(slot));
                let cold = self.cold.get_mut(page).and_then(|p| p.get_mut(slot));
                if let (Some(hot), Some(cold)) = (hot, cold) {
                    hot.elsewhere = true;
                    cold.open = Some(Box::new(other));
                }
            }
        }
        Ok(chunks)
    }
}

impl Stripe {
    fn put_sealed(&self, stored: &Stored, out: &mut Vec<u8>) {
        varint::put_varint(out, stored.mint());
        varint::put_varint(out, stored.maxt());
        out.push(stored.encoding().id());
        match stored.place() {
            Some(place) => {
                out.push(1);
                for x in [place.file, place.offset, u32::from(place.len)] {
                    varint::put_uvarint(out, u64::from(x));
                }
            }
            None => {
                let data = stored.number().and_then(|n| self.memory.get(n));
                let data = data.map_or(&[][..], |d| d);
                out.push(0);
                varint::put_uvarint(out, data.len() as u64);
                out.extend_from_slice(data);
            }
        }
    }

    /// Takes over a chunk that was written to a file after an image was made: in place of the same
    /// chunk, which the image has, or of its beginning. Returns the chunk's newest sample; `None`
    /// where the series has neither.
    pub(in crate::head) fn adopt(&mut self, id: u32, chunk: &Sealed) -> Option<i64> {
        let Data::File(at) = &chunk.data else { return None };
        let range = (chunk.mint, chunk.maxt);
        let (page, slot) = place(id);
        let cold = self.cold.get_mut(page)?.get_mut(slot)?;
        if let Some(stored) = cold.sealed.iter_mut().find(|s| (s.mint(), s.maxt()) == range) {
            let number = stored.number()?;
            *stored = stored.moved(*at);
            self.memory.remove(number);
            return Some(chunk.maxt);
        }
        let (begun, encoding) = match &cold.open {
            Some(open) => (open.range(), open.encoding()),
            None => {
                let hot = self.hot.get(page)?.get(slot)?;
                if hot.state.num_samples() == 0 {
                    return None;
                }
                let range = (first_time(self.slab.get(hot.buffer)), hot.state.last_time());
                (range, Encoding::Xor)
            }
        };
        let begins = (begun.0, encoding) == (chunk.mint, chunk.encoding) && begun.1 <= chunk.maxt;
        if !begins || !self.push_sealed(id, chunk) {
            return None;
        }
        let hot = self.hot.get_mut(page)?.get_mut(slot)?;
        if hot.buffer != Handle::NONE {
            self.slab.free(hot.buffer);
        }
        hot.buffer = Handle::NONE;
        hot.state = XorState::new();
        hot.elsewhere = false;
        self.cold.get_mut(page)?.get_mut(slot)?.open = None;
        Some(chunk.maxt)
    }
}

/// A closed chunk.
fn take_sealed(cursor: &mut Cursor<'_>) -> Result<Sealed, ImageError> {
    let (mint, maxt) = (cursor.varint("time of a chunk")?, cursor.varint("time of a chunk")?);
    let encoding = Encoding::from_id(cursor.u8("encoding of a chunk")?)
        .map_err(|e| ImageError::new(e.to_string()))?;
    if mint > maxt {
        return Err(ImageError::new("a chunk ends before it begins"));
    }
    let data = if cursor.u8("place of a chunk")? == 1 {
        let large = |_| ImageError::new("a number is too large");
        let file = u32::try_from(cursor.uvarint("file of a chunk")?).map_err(large)?;
        let offset = u32::try_from(cursor.uvarint("offset of a chunk")?).map_err(large)?;
        let len = u16::try_from(cursor.uvarint("length of a chunk")?).map_err(large)?;
        Data::File(Place { file, offset, len })
    } else {
        let len = cursor.count(1, "length of a chunk")?;
        let data = cursor.bytes(len, "a chunk")?;
        if data.len() < 2 {
            return Err(ImageError::new("a chunk without samples"));
        }
        Data::Memory(data.into())
    };
    Ok(Sealed { mint, maxt, encoding, data })
}
