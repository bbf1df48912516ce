//! Buffers of the open chunks: a slab with size classes, so that a series takes what its chunk
//! needs and not a heap object.
//!
//! All series of a head grow at about the same pace, so a class that is full now is empty a little
//! later. Pages are therefore all of one size, and one that becomes empty serves the next class.

use firesteel_chunk::xor;

/// Bytes per page, a multiple (or nearly one) of each class's size.
const PAGE: usize = 4224;
/// Bytes per buffer, by class. The last holds the largest chunk that may still take a sample.
const SIZES: [usize; 12] = [40, 64, 96, 128, 160, 192, 264, 384, 528, 704, 844, 1056];
/// Buffers per page at most; bits of [`Page::free`].
const MAX_SLOTS: usize = 128;
const _: () = assert!(PAGE / SIZES[0] <= MAX_SLOTS);

/// A buffer: the number of its page in the upper 25 bits, its place there in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(u32);

impl Handle {
    pub(super) const NONE: Self = Self(u32::MAX);
    const fn page(self) -> usize {
        (self.0 >> 7) as usize
    }
    const fn slot(self) -> usize {
        (self.0 & 0x7f) as usize
    }
}

/// The slab.
#[derive(Default)]
pub(super) struct Slab {
    pages: Vec<Page>,
    /// Pages without buffers.
    empty: Vec<u32>,
    /// Pages that may have room, by class. An entry may be out of date.
    partial: [Vec<u32>; SIZES.len()],
}

struct Page {
    bytes: Box<[u8]>,
    size: u16,
    class: u8,
    /// Whether it is in the list of pages that may have room.
    listed: bool,
    /// A bit for each place that is free.
    free: u128,
}

const fn all_free(class: usize) -> u128 {
    u128::MAX >> (MAX_SLOTS - PAGE / SIZES[class])
}

impl Slab {
    /// A buffer for a new chunk. `None` where numbers run out.
    pub(super) fn alloc(&mut self) -> Option<Handle> {
        self.take(0)
    }

    /// A buffer that holds these bytes. `None` where numbers run out, or they are no open chunk's.
    pub(super) fn alloc_with(&mut self, bytes: &[u8]) -> Option<Handle> {
        let class = SIZES.iter().position(|&size| size >= bytes.len())?;
        let handle = self.take(class)?;
        self.get_mut(handle).get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(handle)
    }

    fn take(&mut self, class: usize) -> Option<Handle> {
        while let Some(&number) = self.partial[class].last() {
            let page = &mut self.pages[number as usize];
            if usize::from(page.class) == class && page.free != 0 {
                let slot = page.free.trailing_zeros();
                page.free &= page.free - 1;
                return Some(Handle(number << 7 | slot));
            }
            if usize::from(page.class) == class {
                page.listed = false;
            }
            self.partial[class].pop();
        }
        let number = if let Some(number) = self.empty.pop() {
            number
        } else {
            let number = u32::try_from(self.pages.len()).ok().filter(|&n| n < (1 << 25) - 1)?;
            super::symbols::grow(&mut self.pages);
            let bytes = vec![0; PAGE].into();
            self.pages.push(Page { bytes, size: 0, class: 0, listed: false, free: 0 });
            number
        };
        let page = &mut self.pages[number as usize];
        page.class = class as u8;
        page.size = SIZES[class] as u16;
        page.free = all_free(class) & !1;
        page.listed = true;
        self.partial[class].push(number);
        Some(Handle(number << 7))
    }

    pub(super) fn free(&mut self, handle: Handle) {
        let Some(page) = self.pages.get_mut(handle.page()) else { return };
        page.free |= 1 << handle.slot();
        let class = usize::from(page.class);
        if page.free == all_free(class) {
            // Out of its class at once, so that its entry in the list is known to be old.
            page.class = u8::MAX;
            page.free = 0;
            page.listed = false;
            self.empty.push(handle.page() as u32);
        } else if !page.listed {
            page.listed = true;
            self.partial[class].push(handle.page() as u32);
        }
    }

    #[inline]
    pub(super) fn get(&self, handle: Handle) -> &[u8] {
        let Some(page) = self.pages.get(handle.page()) else { return &[] };
        let size = usize::from(page.size);
        let at = handle.slot() * size;
        page.bytes.get(at..at + size).unwrap_or(&[])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let Some(page) = self.pages.get_mut(handle.page()) else { return &mut [] };
        let size = usize::from(page.size);
        let at = handle.slot() * size;
        page.bytes.get_mut(at..at + size).unwrap_or(&mut [])
    }

    /// A buffer with room for one more sample after `len` bytes: the same one, or a larger one to
    /// which its bytes were moved.
    #[inline]
    pub(super) fn ensure(&mut self, handle: Handle, len: usize) -> Option<Handle> {
        let need = len + xor::MAX_SAMPLE_LEN;
        if need <= usize::from(self.pages.get(handle.page())?.size) {
            return Some(handle);
        }
        self.move_up(handle, len, need)
    }

    #[cold]
    fn move_up(&mut self, handle: Handle, len: usize, need: usize) -> Option<Handle> {
        let class = SIZES.iter().position(|&size| size >= need)?;
        let new = self.take(class)?;
        let mut bytes = [0; SIZES[SIZES.len() - 1]];
        let bytes = &mut bytes[..len];
        bytes.copy_from_slice(self.get(handle).get(..len)?);
        self.get_mut(new).get_mut(..len)?.copy_from_slice(bytes);
        self.free(handle);
        Some(new)
    }

    /// Gives the memory of empty pages back, but for a few.
    pub(super) fn shrink(&mut self) {
        // Only from the end, as the others' numbers are in use.
        while self.empty.len() > 16
            && let Some(last) = self.pages.len().checked_sub(1)
            && let Some(at) = self.empty.iter().position(|&n| n as usize == last)
        {
            self.empty.swap_remove(at);
            self.pages.pop();
        }
        let pages = self.pages.len();
        for list in &mut self.partial {
            list.retain(|&n| (n as usize) < pages);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.partial.iter().map(Vec::capacity).sum::<usize>() + self.empty.capacity();
        self.pages.len() * (PAGE + 16) + self.pages.capacity() * size_of::<Page>() + lists * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_grow_and_keep_their_bytes() {
        let mut slab = Slab::default();
        let mut handles: Vec<_> = (0..500).map(|_| slab.alloc().unwrap()).collect();
        for len in 0..1030 {
            for (i, handle) in handles.iter_mut().enumerate() {
                *handle = slab.ensure(*handle, len).unwrap();
                slab.get_mut(*handle)[len] = (i + len) as u8;
            }
        }
        for (i, &handle) in handles.iter().enumerate() {
            assert!((0..1030).all(|len| slab.get(handle)[len] == (i + len) as u8));
        }
        assert!(slab.ensure(handles[0], 1040).is_none());
        // What the smaller classes had is used by the larger ones.
        let before = slab.bytes();
        assert!(before < 500 * 1056 * 5 / 4, "{before}");
        for (i, &handle) in handles.iter().enumerate() {
            assert!(handles[..i].iter().all(|h| *h != handle));
        }
        for handle in handles {
            slab.free(handle);
        }
        slab.shrink();
        assert!(slab.bytes() < before / 4);
        for _ in 0..400 {
            slab.alloc().unwrap();
        }
        assert!(slab.bytes() < before / 4);
    }
}
