//! Closed chunks: where they are.

use std::sync::Arc;

use firesteel_chunk::Encoding;
use firesteel_model::Timestamp;

/// Where a chunk is in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    /// Where its entry begins.
    pub(crate) offset: u32,
    /// Bytes of its data; [`Place::LONG`] where these are as many or more.
    pub(crate) len: u16,
}

impl Place {
    /// One number for it.
    pub(crate) const fn reference(self) -> u64 {
        (self.file as u64) << 32 | self.offset as u64
    }

    /// A chunk whose length has to be read.
    pub(crate) const LONG: u16 = u16::MAX;
}

/// The bytes of a closed chunk.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Memory(Arc<[u8]>),
    File(Place),
}

impl Data {
    /// The bytes, if they are in memory.
    pub(crate) fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(data) => Some(data),
            Self::File(_) => None,
        }
    }
}

/// A closed chunk.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) mint: Timestamp,
    pub(crate) maxt: Timestamp,
    pub(crate) encoding: Encoding,
    pub(crate) data: Data,
}

impl Sealed {
    /// Where it is in the files, if it is there.
    pub(crate) const fn place(&self) -> Option<Place> {
        match &self.data {
            Data::File(place) => Some(*place),
            Data::Memory(_) => None,
        }
    }
}

/// A closed chunk as series keep it: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    mint: Timestamp,
    /// Milliseconds from the first sample to the last.
    span: u32,
    /// [`Stored::IN_MEMORY`] where `offset` is a number among the chunks that the stripe has in
    /// memory.
    file: u32,
    offset: u32,
    len: u16,
    encoding: Encoding,
}

const _: () = assert!(size_of::<Stored>() == 24);

impl Stored {
    const IN_MEMORY: u32 = u32::MAX;
    /// Files have numbers below this.
    pub(crate) const MAX_FILE: u32 = u32::MAX;

    /// A chunk in memory, of which the stripe knows as `number`. `None` where it spans more than 49
    /// days.
    pub(crate) fn in_memory(
        (mint, maxt): (Timestamp, Timestamp),
        encoding: Encoding,
        number: u32,
    ) -> Option<Self> {
        let place = Place { file: Self::IN_MEMORY, offset: number, len: 0 };
        Self::in_file((mint, maxt), encoding, place)
    }

    /// A chunk in a file.
    pub(crate) fn in_file(
        (mint, maxt): (Timestamp, Timestamp),
        encoding: Encoding,
        place: Place,
    ) -> Option<Self> {
        let span = u32::try_from(maxt.checked_sub(mint)?).ok()?;
        let Place { file, offset, len } = place;
        Some(Self { mint, span, file, offset, len, encoding })
    }

    #[inline]
    pub(crate) const fn mint(&self) -> Timestamp {
        self.mint
    }

    #[inline]
    pub(crate) const fn maxt(&self) -> Timestamp {
        self.mint.saturating_add(self.span as i64)
    }

    pub(crate) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Its number among the chunks in memory; `None` where it is in a file.
    #[inline]
    pub(crate) const fn number(&self) -> Option<u32> {
        if self.file == Self::IN_MEMORY { Some(self.offset) } else { None }
    }

    /// Where it is in the files, if it is there.
    pub(crate) const fn place(&self) -> Option<Place> {
        if self.file == Self::IN_MEMORY {
            return None;
        }
        Some(Place { file: self.file, offset: self.offset, len: self.len })
    }

    /// The same chunk, which has been written.
    pub(crate) const fn moved(mut self, place: Place) -> Self {
        (self.file, self.offset, self.len) = (place.file, place.offset, place.len);
        self
    }
}
