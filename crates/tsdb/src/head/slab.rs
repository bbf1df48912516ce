//! Buffers of the open chunks: a slab with size classes, so that a series takes what its chunk
//! needs and not a heap object.
//!
//! All series of a head grow at about the same pace, so a class that is full now is empty a little
//! later. Pages are therefore all of one size, and one that becomes empty serves the next class.

/// Bytes per page, a multiple (or nearly one) of each class's size.
const PAGE: usize = 4224;
/// Bytes per buffer, by class. The last holds the largest chunk that may still take a sample. Most
/// chunks end with 100 to 400 bytes, so the steps are smallest there.
const SIZES: [usize; 17] =
    [40, 56, 80, 104, 132, 162, 192, 234, 281, 324, 384, 469, 528, 603, 704, 844, 1056];
/// Buffers per page at most; bits of [`Page::free`].
const MAX_SLOTS: usize = 128;
const _: () = assert!(PAGE / SIZES[0] <= MAX_SLOTS && SIZES.len() < 32);

/// A buffer: the number of its page in the upper 20 bits, its place there in the next 7, its class
/// in the others. So its size is known without a look at its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(u32);

impl Handle {
    pub(super) const NONE: Self = Self(u32::MAX);
    const MAX_PAGES: usize = 1 << 20;

    const fn new(page: u32, slot: u32, class: usize) -> Self {
        Self(page << 12 | slot << 5 | class as u32)
    }
    const fn page(self) -> usize {
        (self.0 >> 12) as usize
    }
    const fn slot(self) -> usize {
        (self.0 >> 5 & 0x7f) as usize
    }
    const fn class(self) -> usize {
        (self.0 & 0x1f) as usize
    }
    /// Where it is in its page.
    #[inline]
    fn range(self) -> std::ops::Range<usize> {
        let size = SIZES.get(self.class()).copied().unwrap_or(0);
        let at = self.slot() * size;
        at..at + size
    }
}

/// The slab.
#[derive(Default)]
pub(super) struct Slab {
    /// The bytes of the pages. Apart from the rest, so that finding them reads little memory.
    bytes: Vec<Box<[u8; PAGE]>>,
    pages: Vec<Page>,
    /// Pages without buffers.
    empty: Vec<u32>,
    /// Pages that may have room, by class. An entry may be out of date.
    partial: [Vec<u32>; SIZES.len()],
}

struct Page {
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
                return Some(Handle::new(number, slot, class));
            }
            if usize::from(page.class) == class {
                page.listed = false;
            }
            self.partial[class].pop();
        }
        let number = if let Some(number) = self.empty.pop() {
            number
        } else {
            // The last number would make a handle that is none.
            let number = self.pages.len();
            if number >= Handle::MAX_PAGES - 1 {
                return None;
            }
            let bytes: Box<[u8]> = vec![0; PAGE].into();
            let bytes = bytes.try_into().ok()?;
            super::symbols::grow(&mut self.pages);
            super::symbols::grow(&mut self.bytes);
            self.bytes.push(bytes);
            self.pages.push(Page { class: 0, listed: false, free: 0 });
            number as u32
        };
        let page = &mut self.pages[number as usize];
        page.class = class as u8;
        page.free = all_free(class) & !1;
        page.listed = true;
        self.partial[class].push(number);
        Some(Handle::new(number, 0, class))
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
        let page = self.bytes.get(handle.page());
        page.and_then(|p| p.get(handle.range())).unwrap_or(&[])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let page = self.bytes.get_mut(handle.page());
        page.and_then(|p| p.get_mut(handle.range())).unwrap_or(&mut [])
    }

    /// The next larger buffer, to which the first `len` bytes of this one were moved. `None` where
    /// there is none larger, or numbers run out.
    pub(super) fn grow(&mut self, handle: Handle, len: usize) -> Option<Handle> {
        if handle.class() + 1 >= SIZES.len() {
            return None;
        }
        let new = self.take(handle.class() + 1)?;
        // Of another class, so of another page.
        let pages = self.bytes.get_disjoint_mut([handle.page(), new.page()]);
        let [from, to] = pages.ok()?;
        let from = from.get(handle.range())?.get(..len)?;
        to.get_mut(new.range())?.get_mut(..len)?.copy_from_slice(from);
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
            self.bytes.pop();
        }
        let pages = self.pages.len();
        for list in &mut self.partial {
            list.retain(|&n| (n as usize) < pages);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.partial.iter().map(Vec::capacity).sum::<usize>() + self.empty.capacity();
        let each = size_of::<Page>() + size_of::<usize>();
        self.pages.len() * super::stripe::heap(PAGE) + self.pages.capacity() * each + lists * 4
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
                while slab.get(*handle).len() <= len {
                    *handle = slab.grow(*handle, len).unwrap();
                }
                slab.get_mut(*handle)[len] = (i + len) as u8;
            }
        }
        for (i, &handle) in handles.iter().enumerate() {
            assert!((0..1030).all(|len| slab.get(handle)[len] == (i + len) as u8));
        }
        assert!(slab.grow(handles[0], 1030).is_none());
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
