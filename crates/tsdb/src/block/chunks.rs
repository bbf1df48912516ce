//! The chunk files of a block.

use std::path::{Path, PathBuf};

use firesteel_chunk::{Encoding, varint::put_uvarint};

use super::EncodedChunk;
use crate::{
    TsdbError,
    decode::Decoder,
    fs::{AppendWriter, Fs, Source, Window},
    index::ChunkMeta,
};

const MAGIC: u32 = 0x85bd_40dd;
const VERSION: u8 = 1;
/// Magic number, version, three zeros.
const HEADER_LEN: u64 = 8;
/// Where a file ends and the next begins. Offsets have 32 bits; Prometheus' figure.
const SEGMENT_SIZE: u64 = 512 << 20;

/// The longest chunk that is read. Prometheus cuts at 1 or 2 KiB; the longest possible XOR chunk has
/// 1.3 MB.
const MAX_CHUNK: u64 = 32 << 20;

/// Chunks that begin less than this apart are read together.
const NEAR: u64 = 8 << 10;

/// The chunk files of a block, open for reading.
#[derive(Debug)]
pub(super) struct ChunkFiles {
    segments: Vec<Source>,
}

/// A buffer over the chunk files; one per thread.
#[derive(Debug, Default)]
pub(super) struct ChunkWindow {
    window: Window,
    segment: usize,
}

impl ChunkWindow {
    fn enter(&mut self, segment: usize) {
        if self.segment != segment {
            self.window.reset();
            self.segment = segment;
        }
    }
}

impl ChunkFiles {
    /// Opens the files of a block's `chunks` directory and checks their headers.
    pub(super) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, TsdbError> {
        let mut names: Vec<(u64, String)> = Vec::new();
        for entry in fs.read_dir(dir).map_err(TsdbError::io("read", dir))? {
            if let Ok(number) = entry.name.parse() {
                names.push((number, entry.name));
            }
        }
        names.sort_unstable();
        let mut segments = Vec::with_capacity(names.len());
        for (_, name) in names {
            let source = Source::open(fs, &dir.join(name))?;
            let mut window = Window::default();
            let mut head = Decoder::new(window.get(&source, 0, HEADER_LEN as usize)?);
            if head.u32() != Some(MAGIC) {
                return Err(source.corrupt(0, "not a chunk file: wrong magic number"));
            }
            if head.bytes(1) != Some(&[VERSION]) {
                return Err(source.corrupt(4, "unknown version of the chunk file"));
            }
            segments.push(source);
        }
        Ok(Self { segments })
    }

    /// Announces that these chunks will be read in this order: where they lie one after the other,
    /// they are read together.
    pub(super) fn announce(&self, window: &mut ChunkWindow, chunks: &[ChunkMeta]) {
        window.window.announce(0);
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return };
        let in_order = chunks.is_sorted_by_key(|c| c.reference);
        if chunks.len() < 2 || !in_order || first.reference >> 32 != last.reference >> 32 {
            return;
        }
        window.enter((first.reference >> 32) as usize);
        // How long the last is cannot be known; about as long as the others.
        let span = last.reference - first.reference;
        let len = span / (chunks.len() as u64 - 1);
        if len < NEAR {
            window.window.announce((last.reference & 0xffff_ffff) + len * 3 / 2);
        }
    }

    /// The chunk at a reference, its checksum checked.
    pub(super) fn read<'a>(
        &'a self,
        window: &'a mut ChunkWindow,
        reference: u64,
    ) -> Result<(Encoding, &'a [u8]), TsdbError> {
        let (segment, at) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let Some(source) = self.segments.get(segment) else {
            let what = format!("chunk reference {reference:#x} names file {segment} (from 0)");
            let place = self.segments.first().map_or_else(PathBuf::new, |s| s.path().to_owned());
            return Err(TsdbError::corrupt(place, at, what));
        };
        window.enter(segment);
        let window = &mut window.window;
        let mut head = Decoder::new(window.upto(source, at, 10)?);
        let len = head.uvarint().ok_or_else(|| source.corrupt(at, "length of a chunk is cut"))?;
        let head = head.taken();
        if len > MAX_CHUNK {
            return Err(
                source.corrupt(at, format!("chunk of {len} bytes, the limit is {MAX_CHUNK}"))
            );
        }
        let len = len as usize + 1;
        let bytes = window.get(source, at, head + len + 4)?;
        let mut chunk = Decoder::new(bytes.get(head..).unwrap_or_default());
        let body = chunk.bytes(len).unwrap_or_default();
        if chunk.u32() != Some(crc32c::crc32c(body)) {
            return Err(source.corrupt(at, "checksum of the chunk does not match"));
        }
        let (id, data) = body.split_first().unwrap_or((&0, &[]));
        let encoding = Encoding::from_id(*id).map_err(|e| source.corrupt(at, e.to_string()))?;
        Ok((encoding, data))
    }

    /// Damage in the chunk at a reference.
    pub(super) fn corrupt(&self, reference: u64, what: impl Into<String>) -> TsdbError {
        let (segment, at) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        match self.segments.get(segment) {
            Some(source) => source.corrupt(at, what),
            None => TsdbError::corrupt(PathBuf::new(), at, what),
        }
    }

    /// Takes note of a damaged chunk of a file.
    pub(super) fn note_damage(&self, path: &Path, offset: u64, what: &str) {
        if let Some(source) = self.segments.iter().find(|s| s.path() == path) {
            let _ = source.corrupt(offset, what);
        }
    }

    /// Whether the chunk at a reference was found damaged before.
    pub(super) fn is_damaged(&self, reference: u64) -> bool {
        let source = self.segments.get((reference >> 32) as usize);
        source.is_some_and(|s| s.is_damaged_at(reference & 0xffff_ffff))
    }

    /// How many damaged places were found so far.
    pub(super) fn damaged(&self) -> usize {
        self.segments.iter().map(|s| s.damage().len()).sum()
    }
}

/// Writes the chunk files of a block.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    dir: PathBuf,
    /// Number of the current file, from 1.
    number: u64,
    out: Option<AppendWriter>,
    segment_size: u64,
    total: u64,
}

impl ChunkWriter {
    /// Files go to `dir`, which exists.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, number: 0, out: None, segment_size: SEGMENT_SIZE, total: 0 }
    }

    /// Has files end earlier, to test that.
    #[cfg(test)]
    pub(super) const fn set_segment_size(&mut self, bytes: u64) {
        self.segment_size = bytes;
    }

    /// Adds a chunk and returns its reference.
    pub(super) fn add(&mut self, fs: &dyn Fs, chunk: &EncodedChunk<'_>) -> Result<u64, TsdbError> {
        let size = chunk.data.len() as u64 + 5 + 1 + 4;
        if self.out.as_ref().is_some_and(|o| o.position() + size > self.segment_size) {
            self.end_file()?;
        }
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                self.number += 1;
                let path = self.dir.join(format!("{:06}", self.number));
                let mut out = AppendWriter::create(fs, &path)?;
                out.write(&MAGIC.to_be_bytes())?;
                out.write(&[VERSION, 0, 0, 0])?;
                self.out.insert(out)
            }
        };
        let at = u32::try_from(out.position())
            .map_err(|_| TsdbError::Limit("a chunk file is longer than 4 GiB".to_owned()))?;
        out.with(|buffer| {
            put_uvarint(buffer, chunk.data.len() as u64);
            let start = buffer.len();
            buffer.push(chunk.encoding.id());
            buffer.extend_from_slice(chunk.data);
            let crc = crc32c::crc32c(buffer.get(start..).unwrap_or_default());
            buffer.extend_from_slice(&crc.to_be_bytes());
        })?;
        Ok((self.number - 1) << 32 | u64::from(at))
    }

    fn end_file(&mut self) -> Result<(), TsdbError> {
        if let Some(out) = self.out.take() {
            self.total += out.finish()?;
        }
        Ok(())
    }

    /// Syncs the files; returns their bytes.
    pub(super) fn finish(mut self, fs: &dyn Fs) -> Result<u64, TsdbError> {
        self.end_file()?;
        fs.sync_dir(&self.dir).map_err(TsdbError::io("sync", &self.dir))?;
        Ok(self.total)
    }
}
