//! Buffers of the open chunks: a slab with size classes, so that a series takes what its chunk
//! needs and not a heap object.

use firesteel_chunk::xor;

/// Bytes per buffer, by class. The last holds the largest chunk that may still take a sample.
const SIZES: [usize; 12] = [40, 64, 96, 128, 160, 192, 256, 384, 512, 640, 832, 1056];
/// Bytes per page, about.
const PAGE: usize = 4096;

/// A buffer: its class in the upper 4 bits, its number in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(u32);

impl Handle {
    pub(super) const NONE: Self = Self(u32::MAX);
    const fn class(self) -> usize {
        (self.0 >> 28) as usize
    }
    const fn slot(self) -> usize {
        (self.0 & 0x0fff_ffff) as usize
    }
}

/// The slab.
#[derive(Default)]
pub(super) struct Slab {
    classes: [Class; SIZES.len()],
}

#[derive(Default)]
struct Class {
    pages: Vec<Box<[u8]>>,
    free: Vec<u32>,
    used: u32,
}

const fn per_page(class: usize) -> usize {
    PAGE / SIZES[class]
}

impl Slab {
    /// A buffer for a new chunk. `None` where numbers run out.
    pub(super) fn alloc(&mut self) -> Option<Handle> {
        self.take(0)
    }

    fn take(&mut self, class: usize) -> Option<Handle> {
        let each = per_page(class);
        let c = self.classes.get_mut(class)?;
        let slot = if let Some(slot) = c.free.pop() {
            slot
        } else {
            let slot = c.used;
            if slot as usize == c.pages.len() * each {
                c.pages.push(vec![0; each * SIZES[class]].into());
            }
            c.used += 1;
            slot
        };
        (slot < 1 << 28).then_some(Handle((class as u32) << 28 | slot))
    }

    pub(super) fn free(&mut self, handle: Handle) {
        if let Some(class) = self.classes.get_mut(handle.class()) {
            class.free.push(handle.slot() as u32);
        }
    }

    #[inline]
    pub(super) fn get(&self, handle: Handle) -> &[u8] {
        let (class, slot) = (handle.class(), handle.slot());
        let Some(c) = self.classes.get(class) else { return &[] };
        let at = slot % per_page(class) * SIZES[class];
        c.pages
            .get(slot / per_page(class))
            .and_then(|p| p.get(at..at + SIZES[class]))
            .unwrap_or(&[])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        let (class, slot) = (handle.class(), handle.slot());
        let Some(c) = self.classes.get_mut(class) else { return &mut [] };
        let at = slot % per_page(class) * SIZES[class];
        c.pages
            .get_mut(slot / per_page(class))
            .and_then(|p| p.get_mut(at..at + SIZES[class]))
            .unwrap_or(&mut [])
    }

    /// A buffer with room for one more sample after `len` bytes: the same one, or a larger one to
    /// which its bytes were moved.
    #[inline]
    pub(super) fn ensure(&mut self, handle: Handle, len: usize) -> Option<Handle> {
        let need = len + xor::MAX_SAMPLE_LEN;
        if need <= *SIZES.get(handle.class())? {
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

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.classes
            .iter()
            .enumerate()
            .map(|(i, c)| c.pages.len() * per_page(i) * SIZES[i] + c.free.capacity() * 4)
            .sum()
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
            for (i, handle) in handles.iter_mut().enumerate().step_by(49) {
                *handle = slab.ensure(*handle, len).unwrap();
                slab.get_mut(*handle)[len] = (i + len) as u8;
            }
        }
        for (i, &handle) in handles.iter().enumerate().step_by(49) {
            assert!((0..1030).all(|len| slab.get(handle)[len] == (i + len) as u8));
        }
        assert!(slab.ensure(handles[0], 1040).is_none());
        let before = slab.bytes();
        for handle in handles {
            slab.free(handle);
        }
        for _ in 0..400 {
            slab.alloc().unwrap();
        }
        assert!(slab.bytes() <= before + 4096);
    }
}
