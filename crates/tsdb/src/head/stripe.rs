//! The samples of the series: stripes of series, each under one lock.
//!
//! Series are dealt to stripes in runs of [`RUN`] numbers, so that a scrape, whose series were made
//! one after the other, takes a stripe's lock once for many samples.

mod image;

use std::sync::Arc;

use firesteel_chunk::{ChunkError, Encoding, XorState, varint};
use firesteel_model::Timestamp;

use super::{
    chunk_files::{Data, Place, Sealed, Stored, ToWrite},
    floats,
    formats::Formats,
    histograms::{self, Made},
    memory::Memory,
    open::Open,
    slab::{Handle, Slab},
};
use crate::wal::record::histograms::AnyHistogram;

/// Stripes per head.
pub(super) const STRIPES: usize = 16;
/// Consecutive series numbers of a stripe.
pub(super) const RUN: usize = 64;

/// Samples that a chunk is meant to have.
pub(super) const SAMPLES_PER_CHUNK: usize = 120;
/// A chunk longer than this takes no more samples. As in Prometheus: 1024 less a sample.
pub(super) const MAX_BYTES: usize = 1024 - 19;

/// Milliseconds that a chunk may span: see [`Stored`].
const MAX_SPAN: i64 = u32::MAX as i64;

/// The stripe of a series.
#[inline]
pub(super) const fn stripe_of(id: u32) -> usize {
    id as usize / RUN % STRIPES
}

#[inline]
const fn place(id: u32) -> (usize, usize) {
    (id as usize / (RUN * STRIPES), id as usize % RUN)
}

/// What every append to a series touches: 64 bytes.
#[derive(Clone, Copy)]
struct Hot {
    /// Of the open chunk; without samples where there is none.
    state: XorState,
    /// The open chunk is closed by a sample at or after this.
    next_at: i64,
    /// Newest sample before the last commit that touched the series.
    before: Timestamp,
    /// The last commit that touched the series (40 bits), and how much earlier the one before it
    /// was (24 bits).
    epochs: u64,
    /// Buffer of the open chunk.
    buffer: Handle,
    /// Whether the open chunk is in [`Cold`]. There is never one here beside it.
    elsewhere: bool,
}

const _: () = assert!(size_of::<Hot>() == 64);

/// No sample.
pub(super) const NEVER: Timestamp = Timestamp::MIN;

/// Bits of the distance in [`Hot::epochs`].
const EPOCH_BITS: u32 = 24;

impl Hot {
    const NEW: Self = Self {
        state: XorState::new(),
        next_at: 0,
        before: NEVER,
        epochs: 0,
        buffer: Handle::NONE,
        elsewhere: false,
    };

    const fn epoch(&self) -> u64 {
        self.epochs >> EPOCH_BITS
    }

    /// The commit before the last one, or a later number.
    const fn epoch_before(&self) -> u64 {
        self.epoch().saturating_sub(self.epochs & 0xff_ffff)
    }

    fn touch(&mut self, epoch: u64, newest: Timestamp) {
        let distance = epoch.saturating_sub(self.epoch()).min(0xff_ffff);
        self.epochs = epoch << EPOCH_BITS | distance;
        self.before = newest;
    }
}

/// A float of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatSample {
    pub(crate) t: Timestamp,
    /// Start timestamp, 0 for unknown.
    pub(crate) start: Timestamp,
    pub(crate) v: f64,
}

/// A histogram of a series.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSample {
    pub(crate) t: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) value: Arc<AnyHistogram>,
}

/// What appends rarely touch.
#[derive(Default)]
struct Cold {
    /// As long as it needs to be: there is one chunk more about every half an hour, and moving them
    /// is cheaper than room for more.
    sealed: Box<[Stored]>,
    /// The open chunk, of histograms or of XOR2.
    open: Option<Box<Open>>,
}

const _: () = assert!(size_of::<Cold>() == 24);

/// What a reader needs to know that came before a commit: see [`Stripe::visible_until`].
struct Undo {
    id: u32,
    /// Holds for readers that see less than this commit.
    to: u64,
    newest: Timestamp,
}

/// The series of a stripe.
#[derive(Default)]
pub(super) struct Stripe {
    hot: Vec<Box<[Hot]>>,
    cold: Vec<Box<[Cold]>>,
    slab: Slab,
    undo: Vec<Undo>,
    /// Closed chunks that are not in files.
    memory: Memory,
    sealed_chunks: usize,
}

/// A copy of a series' samples, for reading without the lock.
#[derive(Default)]
pub(crate) struct Copied {
    pub(crate) sealed: Vec<Sealed>,
    /// The open chunk; empty where there is none.
    pub(crate) open: Vec<u8>,
    pub(crate) open_encoding: Option<Encoding>,
    /// Its first and last sample.
    pub(crate) open_range: (Timestamp, Timestamp),
}

impl Copied {
    /// Forgets the series, but not the memory.
    pub(super) fn clear(&mut self) {
        self.sealed.clear();
        self.open.clear();
        self.open_encoding = None;
    }
}

/// The commits that readers may still have to do without.
#[derive(Clone, Debug, Default)]
pub(super) struct ActiveReaders {
    /// What each of them sees, ascending.
    pub(super) epochs: Vec<u64>,
}

impl ActiveReaders {
    /// Whether a reader sees `from` but not `to`.
    #[inline]
    fn any_between(&self, from: u64, to: u64) -> bool {
        match self.epochs.first() {
            None => false,
            Some(&oldest) if oldest >= to => false,
            Some(_) => self.epochs.iter().any(|&e| from <= e && e < to),
        }
    }
}

/// End of the aligned range of `width` that holds `t`.
fn range_end(t: Timestamp, width: i64) -> Timestamp {
    t.div_euclid(width).saturating_mul(width).saturating_add(width)
}

/// When a chunk from `start` to `now`, a quarter full, should end so that chunks of about equal
/// size fill the time up to `max`. Source: Prometheus `head_append.go`, `computeChunkEndTime`.
pub(super) fn chunk_end(start: Timestamp, now: Timestamp, max: Timestamp) -> Timestamp {
    let left = max.saturating_sub(start) as f64;
    let chunks = left / (now.saturating_sub(start).saturating_add(1) as f64 * 4.0);
    if chunks <= 1.0 {
        return max;
    }
    (start as f64 + left / chunks.floor()) as Timestamp
}

/// Time of the first sample of an XOR chunk.
pub(super) fn first_time(chunk: &[u8]) -> Timestamp {
    chunk.get(2..).and_then(varint::varint).map_or(NEVER, |(t, _)| t)
}

impl Stripe {
    /// Makes room for a series; nothing where there is already.
    pub(super) fn ensure(&mut self, id: u32) {
        let (page, _) = place(id);
        while self.hot.len() <= page {
            self.hot.push(vec![Hot::NEW; RUN].into());
            self.cold.push((0..RUN).map(|_| Cold::default()).collect());
        }
    }

    fn hot(&self, id: u32) -> Option<&Hot> {
        let (page, slot) = place(id);
        self.hot.get(page)?.get(slot)
    }

    fn cold(&self, id: u32) -> Option<&Cold> {
        let (page, slot) = place(id);
        self.cold.get(page)?.get(slot)
    }

    /// Newest float sample, from the open chunk.
    pub(super) fn last_float(&self, id: u32) -> Option<(Timestamp, f64)> {
        let hot = self.hot(id)?;
        if hot.elsewhere {
            return self.cold(id)?.open.as_ref()?.last_float();
        }
        (hot.state.num_samples() > 0).then(|| (hot.state.last_time(), hot.state.last_value()))
    }

    /// The newest float of a series, if it is of this time and in an open XOR chunk: such a sample
    /// needs no decoding.
    pub(super) fn float_at(&self, id: u32, t: Timestamp) -> Option<f64> {
        let state = &self.hot(id)?.state;
        (state.num_samples() > 0 && state.last_time() == t).then(|| state.last_value())
    }

    /// Newest histogram, from the open chunk.
    pub(super) fn last_histogram(&self, id: u32) -> Option<&HistogramSample> {
        self.cold(id)?.open.as_ref()?.last_histogram()
    }

    /// Encoding of the chunk that has the newest sample, and this one's time.
    pub(super) fn last_encoding(&self, id: u32) -> Option<(Timestamp, Encoding)> {
        let (hot, cold) = (self.hot(id)?, self.cold(id)?);
        if hot.state.num_samples() > 0 {
            return Some((hot.state.last_time(), Encoding::Xor));
        }
        if let Some(open) = &cold.open {
            return Some((open.range().1, open.encoding()));
        }
        cold.sealed.last().map(|s| (s.maxt(), s.encoding()))
    }

    /// Notes that a commit touches a series whose newest sample is `newest`, before the first
    /// sample of the commit is added.
    #[inline]
    fn touch(
        hot: &mut Hot,
        undo: &mut Vec<Undo>,
        id: u32,
        epoch: u64,
        newest: Timestamp,
        readers: &ActiveReaders,
    ) {
        if hot.epoch() == epoch {
            return;
        }
        if readers.any_between(hot.epoch_before(), hot.epoch()) {
            undo.push(Undo { id, to: hot.epoch(), newest: hot.before });
        }
        hot.touch(epoch, newest);
    }

    /// Reads what the next appends to these series, [`RUN`] at most, will touch. Memory is slow and
    /// many reads at once take hardly longer than one, while appends one after the other wait for
    /// each. First all records, then all buffers: what waits for nothing else is in flight together.
    pub(super) fn warm(&self, ids: impl Iterator<Item = u32>) {
        let mut ends = [(Handle::NONE, 0); RUN];
        for (id, end) in ids.zip(&mut ends) {
            if let Some(hot) = self.hot(id) {
                *end = (hot.buffer, hot.state.len());
            }
        }
        let mut all = 0_u32;
        for &(buffer, len) in &ends {
            let end = self.slab.get(buffer).get(len);
            all = all.wrapping_add(end.map_or(0, |&b| u32::from(b)));
        }
        std::hint::black_box(all);
    }

    /// Appends a float that is newer than everything in the series. `newest` is the newest sample
    /// before the commit. Returns false where memory for chunks has run out.
    #[inline]
    pub(super) fn append_float(
        &mut self,
        id: u32,
        (t, v): (Timestamp, f64),
        newest: Timestamp,
        epoch: u64,
        chunk_range: i64,
        readers: &ActiveReaders,
    ) -> bool {
        let (page, slot) = place(id);
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return false };
        Self::touch(hot, &mut self.undo, id, epoch, newest, readers);
        let mut num = hot.state.num_samples();
        let mut full = hot.state.len() > MAX_BYTES;
        if num == SAMPLES_PER_CHUNK / 4 && !full {
            let start = first_time(self.slab.get(hot.buffer));
            hot.next_at = chunk_end(start, hot.state.last_time(), hot.next_at);
        }
        full |= num > 0 && (t >= hot.next_at || num >= SAMPLES_PER_CHUNK * 2);
        if hot.elsewhere {
            self.seal_other(id);
            num = 0;
        } else if full {
            self.seal(id);
            num = 0;
        }
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return false };
        if num == 0 {
            let Some(buffer) = self.slab.alloc() else { return false };
            hot.buffer = buffer;
            hot.next_at = range_end(t, chunk_range).min(t.saturating_add(MAX_SPAN));
        }
        loop {
            match hot.state.append_body(self.slab.get_mut(hot.buffer), t, v) {
                Err(ChunkError::NoRoom) => {}
                taken => return taken.is_ok(),
            }
            let Some(larger) = self.slab.grow(hot.buffer, hot.state.len()) else { return false };
            hot.buffer = larger;
        }
    }

    /// Closes the open chunk.
    #[cold]
    fn seal(&mut self, id: u32) {
        let (page, slot) = place(id);
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return };
        if hot.state.num_samples() == 0 {
            return;
        }
        let bytes = self.slab.get_mut(hot.buffer).get_mut(..hot.state.len()).unwrap_or_default();
        hot.state.put_header(bytes);
        let bytes: &[u8] = bytes;
        let sealed = Sealed {
            mint: first_time(bytes),
            maxt: hot.state.last_time(),
            encoding: Encoding::Xor,
            data: Data::Memory(bytes.into()),
        };
        self.slab.free(hot.buffer);
        hot.buffer = Handle::NONE;
        hot.state = XorState::new();
        self.push_sealed(id, &sealed);
    }

    /// Adds a closed chunk that is newer than everything in the series. False where it spans too
    /// long a time.
    pub(super) fn push_sealed(&mut self, id: u32, sealed: &Sealed) -> bool {
        let (page, slot) = place(id);
        let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) else {
            return false;
        };
        let range = (sealed.mint, sealed.maxt);
        let stored = match &sealed.data {
            Data::File(place) => Stored::in_file(range, sealed.encoding, *place),
            Data::Memory(data) => {
                let Some(number) = self.memory.insert(id, data) else { return false };
                let stored = Stored::in_memory(range, sealed.encoding, number);
                if stored.is_none() {
                    self.memory.remove(number);
                }
                stored
            }
        };
        let Some(stored) = stored else { return false };
        self.sealed_chunks += 1;
        let mut list = std::mem::take(&mut cold.sealed).into_vec();
        list.reserve_exact(1);
        list.push(stored);
        cold.sealed = list.into();
        true
    }

    /// A closed chunk to hand out.
    fn sealed(&self, stored: &Stored) -> Option<Sealed> {
        let data = match (stored.number(), stored.place()) {
            (Some(number), _) => Data::Memory(Arc::clone(self.memory.get(number)?)),
            (None, Some(place)) => Data::File(place),
            (None, None) => return None,
        };
        let (mint, maxt, encoding) = (stored.mint(), stored.maxt(), stored.encoding());
        Some(Sealed { mint, maxt, encoding, data })
    }

    /// Bytes of the closed chunks in memory.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.memory.data_bytes()
    }

    /// Adds the closed chunks that are in memory to `out`, each with the number of its series.
    pub(super) fn waiting(&self, out: &mut Vec<(u32, ToWrite)>) {
        for (number, id, data) in self.memory.iter() {
            let cold = self.cold(id);
            let stored = cold.and_then(|c| c.sealed.iter().find(|s| s.number() == Some(number)));
            let Some(s) = stored else { continue };
            let (mint, maxt, encoding) = (s.mint(), s.maxt(), s.encoding());
            out.push((id, ToWrite { series: 0, mint, maxt, encoding, data: Arc::clone(data) }));
        }
    }

    /// Takes note that a chunk of [`Stripe::waiting`] is in a file now, if the series still has it.
    pub(super) fn placed(&mut self, id: u32, chunk: &ToWrite, at: Place) {
        let (page, slot) = place(id);
        let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) else { return };
        let memory = &mut self.memory;
        let same = |number| memory.get(number).is_some_and(|d| Arc::ptr_eq(d, &chunk.data));
        let stored = cold.sealed.iter_mut().find(|s| s.number().is_some_and(same));
        if let Some(stored) = stored {
            let before = std::mem::replace(stored, stored.moved(at));
            if let Some(number) = before.number() {
                memory.remove(number);
            }
        }
    }

    /// Appends a histogram that is newer than everything in the series. False where it cannot be
    /// encoded; it is left out then.
    pub(super) fn append_histogram(
        &mut self,
        id: u32,
        sample: HistogramSample,
        newest: Timestamp,
        epoch: u64,
        (chunk_range, formats): (i64, Formats),
        readers: &ActiveReaders,
    ) -> bool {
        self.seal(id);
        if matches!(self.cold(id).and_then(|c| c.open.as_deref()), Some(Open::Floats(_))) {
            self.seal_other(id);
        }
        let (page, slot) = place(id);
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return false };
        let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) else {
            return false;
        };
        let end = |t| range_end(t, chunk_range).min(t.saturating_add(MAX_SPAN));
        let starts = formats.histogram_starts;
        let closed = match cold.open.as_deref_mut() {
            Some(Open::Histograms(open)) => open.append(sample, starts, end),
            _ => histograms::Open::new(sample, starts, end).map(|open| {
                cold.open = Some(Box::new(Open::Histograms(Box::new(open))));
                None
            }),
        };
        let Ok(closed) = closed else { return false };
        Self::touch(hot, &mut self.undo, id, epoch, newest, readers);
        hot.elsewhere = true;
        if let Some(made) = closed {
            self.push_made(id, made);
        }
        true
    }

    /// As [`Stripe::append_float`], into a chunk of XOR2.
    pub(super) fn append_xor2(
        &mut self,
        id: u32,
        sample: FloatSample,
        newest: Timestamp,
        epoch: u64,
        chunk_range: i64,
        readers: &ActiveReaders,
    ) -> bool {
        self.seal(id);
        if self.last_histogram(id).is_some() {
            self.seal_other(id);
        }
        let (page, slot) = place(id);
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return false };
        let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) else {
            return false;
        };
        let end = |t| range_end(t, chunk_range).min(t.saturating_add(MAX_SPAN));
        let closed = match cold.open.as_deref_mut() {
            Some(Open::Floats(open)) => open.append(sample, end),
            _ => floats::Open::new(sample, end).map(|open| {
                cold.open = Some(Box::new(Open::Floats(open)));
                None
            }),
        };
        let Ok(closed) = closed else { return false };
        Self::touch(hot, &mut self.undo, id, epoch, newest, readers);
        hot.elsewhere = true;
        if let Some(made) = closed {
            self.push_made(id, made);
        }
        true
    }

    /// Closes the open chunk that is not in the hot record.
    #[cold]
    fn seal_other(&mut self, id: u32) {
        let (page, slot) = place(id);
        if let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) {
            hot.elsewhere = false;
        }
        let cold = self.cold.get_mut(page).and_then(|p| p.get_mut(slot));
        if let Some(open) = cold.and_then(|c| c.open.take()) {
            self.push_made(id, open.made());
        }
    }

    fn push_made(&mut self, id: u32, made: Made) {
        let Made { mint, maxt, encoding, data } = made;
        self.push_sealed(id, &Sealed { mint, maxt, encoding, data: Data::Memory(data.into()) });
    }

    /// Newest sample of a series; [`NEVER`] where it has none.
    fn newest(&self, id: u32, hot: &Hot) -> Timestamp {
        if hot.state.num_samples() > 0 {
            return hot.state.last_time();
        }
        self.last_encoding(id).map_or(NEVER, |l| l.0)
    }

    /// The time up to which a reader that sees commit `epoch` sees a series; [`NEVER`] where it
    /// sees nothing.
    pub(super) fn visible_until(&self, id: u32, epoch: u64) -> Timestamp {
        let Some(hot) = self.hot(id) else { return NEVER };
        if hot.epoch() <= epoch {
            return self.newest(id, hot);
        }
        // Of what several commits have overwritten, the first that the reader does not see.
        self.undo.iter().find(|u| u.id == id && u.to > epoch).map_or(hot.before, |u| u.newest)
    }

    /// Gives memory back that chunks do not need any more.
    pub(super) fn shrink(&mut self) {
        self.slab.shrink();
    }

    /// Drops the notes that no reader needs any more.
    pub(super) fn forget_undo(&mut self, readers: &ActiveReaders) {
        if self.undo.is_empty() {
            return;
        }
        match readers.epochs.first() {
            None => self.undo = Vec::new(),
            Some(&oldest) => self.undo.retain(|u| u.to > oldest),
        }
    }

    /// Undo notes for a reader, newest sample by series number, so that many series can be looked
    /// up.
    pub(super) fn undo_for(&self, epoch: u64) -> hashbrown::HashMap<u32, Timestamp> {
        let mut map = hashbrown::HashMap::new();
        for u in self.undo.iter().filter(|u| u.to > epoch) {
            map.entry(u.id).or_insert(u.newest);
        }
        map
    }

    /// As [`Stripe::visible_until`] with the notes of [`Stripe::undo_for`].
    pub(super) fn visible_with(
        &self,
        id: u32,
        epoch: u64,
        undo: &hashbrown::HashMap<u32, Timestamp>,
    ) -> Timestamp {
        let Some(hot) = self.hot(id) else { return NEVER };
        if hot.epoch() <= epoch {
            return self.newest(id, hot);
        }
        undo.get(&id).copied().unwrap_or(hot.before)
    }

    /// Whether there are notes at all.
    pub(super) const fn has_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Copies what a series has between two times, both inclusive, into `out`.
    pub(super) fn copy(&self, id: u32, mint: Timestamp, maxt: Timestamp, out: &mut Copied) {
        out.clear();
        let (Some(hot), Some(cold)) = (self.hot(id), self.cold(id)) else { return };
        let inside = cold.sealed.iter().filter(|c| c.mint() <= maxt && c.maxt() >= mint);
        out.sealed.extend(inside.filter_map(|c| self.sealed(c)));
        if hot.state.num_samples() > 0 && hot.state.last_time() >= mint {
            let chunk = self.slab.get(hot.buffer).get(..hot.state.len()).unwrap_or_default();
            let first = first_time(chunk);
            if first <= maxt {
                out.open.extend_from_slice(chunk);
                hot.state.put_header(&mut out.open);
                out.open_range = (first, hot.state.last_time());
                out.open_encoding = Some(Encoding::Xor);
            }
        } else if let Some(open) = &cold.open {
            let (first, last) = open.range();
            if first <= maxt && last >= mint {
                out.open.extend_from_slice(open.bytes());
                out.open_range = (first, last);
                out.open_encoding = Some(open.encoding());
            }
        }
    }

    /// Gives up a series' chunks whose samples are all before `mint`. Returns whether it has
    /// anything left.
    pub(super) fn truncate(&mut self, id: u32, mint: Timestamp) -> bool {
        let (page, slot) = place(id);
        let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) else { return false };
        let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) else {
            return false;
        };
        if hot.state.num_samples() > 0 && hot.state.last_time() < mint {
            self.slab.free(hot.buffer);
            hot.buffer = Handle::NONE;
            hot.state = XorState::new();
        }
        let (memory, chunks) = (&mut self.memory, &mut self.sealed_chunks);
        let mut list = std::mem::take(&mut cold.sealed).into_vec();
        list.retain(|c| {
            let keep = c.maxt() >= mint;
            if !keep {
                if let Some(number) = c.number() {
                    memory.remove(number);
                }
                *chunks = chunks.saturating_sub(1);
            }
            keep
        });
        cold.sealed = list.into();
        if cold.open.as_ref().is_some_and(|open| open.range().1 < mint) {
            cold.open = None;
            hot.elsewhere = false;
        }
        hot.state.num_samples() > 0 || !cold.sealed.is_empty() || cold.open.is_some()
    }

    /// Closes the open chunk, and takes all chunks of a series out.
    pub(super) fn take_all(&mut self, id: u32) -> Vec<Sealed> {
        self.seal(id);
        self.seal_other(id);
        let mut copied = Copied::default();
        self.copy(id, NEVER, Timestamp::MAX, &mut copied);
        self.truncate(id, Timestamp::MAX);
        copied.sealed
    }

    /// Makes a number new again.
    pub(super) fn reset(&mut self, id: u32) {
        self.truncate(id, Timestamp::MAX);
        let (page, slot) = place(id);
        if let Some(hot) = self.hot.get_mut(page).and_then(|p| p.get_mut(slot)) {
            if hot.buffer != Handle::NONE {
                self.slab.free(hot.buffer);
            }
            *hot = Hot::NEW;
        }
        if let Some(cold) = self.cold.get_mut(page).and_then(|p| p.get_mut(slot)) {
            *cold = Cold::default();
        }
        self.undo.retain(|u| u.id != id);
    }

    /// Whether a series may have samples between two times, both inclusive.
    pub(super) fn has_samples(&self, id: u32, mint: Timestamp, maxt: Timestamp) -> bool {
        let (Some(hot), Some(cold)) = (self.hot(id), self.cold(id)) else { return false };
        let open = hot.state.num_samples() > 0
            && hot.state.last_time() >= mint
            && first_time(self.slab.get(hot.buffer)) <= maxt;
        let other =
            || cold.open.as_ref().is_some_and(|o| o.range().0 <= maxt && o.range().1 >= mint);
        open || cold.sealed.iter().any(|c| c.mint() <= maxt && c.maxt() >= mint) || other()
    }

    /// Whether a series has no sample.
    pub(super) fn is_empty(&self, id: u32) -> bool {
        self.hot(id).is_none_or(|h| h.state.num_samples() == 0)
            && self.cold(id).is_none_or(|c| c.sealed.is_empty() && c.open.is_none())
    }

    /// Time of a series' oldest sample.
    pub(super) fn oldest(&self, id: u32) -> Option<Timestamp> {
        let (hot, cold) = (self.hot(id)?, self.cold(id)?);
        if let Some(first) = cold.sealed.first() {
            return Some(first.mint());
        }
        if hot.state.num_samples() > 0 {
            return Some(first_time(self.slab.get(hot.buffer)));
        }
        cold.open.as_ref().map(|open| open.range().0)
    }

    /// Closed chunks, and series with an open one.
    pub(super) fn num_chunks(&self) -> usize {
        let open = self
            .hot
            .iter()
            .flat_map(|p| p.iter())
            .filter(|h| h.state.num_samples() > 0 || h.elsewhere);
        self.sealed_chunks + open.count()
    }

    /// Bytes held, about, by part.
    pub(super) fn bytes(&self) -> StripeBytes {
        let others = self.cold.iter().flat_map(|p| p.iter());
        let others = others.filter_map(|c| c.open.as_ref());
        let cold = self.cold.iter().flat_map(|p| p.iter());
        let sealed: usize = cold.map(|c| heap(size_of_val(&*c.sealed))).sum();
        StripeBytes {
            hot: self.hot.len() * RUN * size_of::<Hot>(),
            cold: self.cold.len() * RUN * size_of::<Cold>(),
            slab: self.slab.bytes(),
            sealed,
            waiting: self.memory.bytes(),
            others: others.map(|open| open.memory()).sum(),
            undo: self.undo.capacity() * size_of::<Undo>(),
        }
    }
}

/// Bytes of a stripe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StripeBytes {
    pub(super) hot: usize,
    pub(super) cold: usize,
    pub(super) slab: usize,
    pub(super) sealed: usize,
    pub(super) waiting: usize,
    pub(super) others: usize,
    pub(super) undo: usize,
}

/// What the allocator takes for so many bytes, about.
pub(super) const fn heap(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(stripe: &mut Stripe, id: u32, t: i64, newest: i64, epoch: u64, active: &[u64]) {
        let readers = ActiveReaders { epochs: active.to_vec() };
        assert!(stripe.append_float(id, (t, t as f64), newest, epoch, 7_200_000, &readers));
    }

    #[test]
    fn chunks_are_cut_as_prometheus_does() {
        let mut stripe = Stripe::default();
        stripe.ensure(3);
        let mut newest = NEVER;
        for i in 0..1000_i64 {
            let t = 7_200_000 + i * 15_000;
            append(&mut stripe, 3, t, newest, 1 + i as u64, &[]);
            newest = t;
        }
        let mut copied = Copied::default();
        stripe.copy(3, i64::MIN, i64::MAX, &mut copied);
        let sizes: Vec<_> = copied.sealed.iter().map(|c| c.data.memory().unwrap()[1]).collect();
        // 480 samples per range of two hours; predicted at 30 samples that four chunks fill it.
        assert_eq!(sizes, [120; 8]);
        assert_eq!(u16::from_be_bytes([copied.open[0], copied.open[1]]), 40);
        assert_eq!(stripe.num_chunks(), 9);
        assert!(stripe.truncate(3, 14_400_000));
        stripe.copy(3, i64::MIN, i64::MAX, &mut copied);
        assert_eq!(copied.sealed.len(), 4);
        stripe.reset(3);
        assert_eq!(stripe.num_chunks(), 0);
    }

    #[test]
    fn readers_see_the_state_of_their_commit() {
        let mut stripe = Stripe::default();
        stripe.ensure(0);
        append(&mut stripe, 0, 10, NEVER, 1, &[]);
        // A reader of commit 1 stays, one of commit 3 comes and goes.
        append(&mut stripe, 0, 20, 10, 2, &[1]);
        append(&mut stripe, 0, 30, 20, 3, &[1]);
        append(&mut stripe, 0, 40, 30, 4, &[1, 3]);
        append(&mut stripe, 0, 50, 40, 5, &[1, 3]);
        for (epoch, expected) in [(1, 10), (3, 30), (4, 40), (5, 50), (9, 50)] {
            assert_eq!(stripe.visible_until(0, epoch), expected, "commit {epoch}");
        }
        stripe.forget_undo(&ActiveReaders { epochs: vec![3] });
        assert_eq!(stripe.visible_until(0, 3), 30);
        stripe.forget_undo(&ActiveReaders::default());
        assert!(!stripe.has_undo());
    }
}
