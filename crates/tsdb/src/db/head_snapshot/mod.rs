//! The head snapshot: an image of the head in a file of ours beside the log, so that only what was
//! logged after it has to be replayed. Described in `docs/format/head-snapshot.md`.
//!
//! It names the place in the log from which replay goes on, and what the log looked like. When
//! something else than us has written since, or what it rests on is gone, it is not used.

mod care;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_chunk::varint;
use firesteel_model::Timestamp;

pub(super) use self::care::Snapshots;
use super::late::WBL_DIR;
use crate::{
    TsdbError,
    fs::{AppendWriter, File, Fs, Open},
    head::{Data, Head, ImageError, Part, Parts, Sealed},
    wal::{
        page::PAGE,
        read::is_ours,
        record::Cursor,
        segments::{list_checkpoints, list_segments, make_dir, segment_path},
        writer::{SegmentInfo, Writer},
    },
};

/// The directory of snapshots.
pub(super) const DIR: &str = "head_snapshot";
const MAGIC: &[u8; 8] = b"FSTHEAD\x02";
const TRAILER: usize = 24;
/// Bytes of a part at most; they are made of a quarter of a MiB, and what one series has.
const MAX_PART: u32 = 256 << 20;

/// A place in the log: the end of a batch, or of all there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What a snapshot says about the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Replay goes on from here.
    pub(super) from: Position,
    /// The log has at least this.
    reached: Position,
    /// The last bytes of a segment, and their checksum.
    check: Option<(Position, u32)>,
    /// The newest checkpoint. A later one does not define the series that were gone when it was made,
    /// though the snapshot has them: what came to be appended to them would be lost in the log.
    checkpoint: Option<u64>,
    /// The segments up to [`Manifest::from`].
    pub(super) segments: Vec<SegmentInfo>,
    /// Samples before this were in blocks, and so the head may not have had them any more.
    blocks_end: Timestamp,
    /// Number of the last batch of late samples in the log up to [`Manifest::from`]. The out-of-order
    /// log has them all.
    pub(super) late: u64,
    /// The end of the files of closed chunks when it was begun: a file's number and an offset.
    chunks: (u32, u64),
}

/// Where the log ends.
fn end_of(wal: &Writer) -> Position {
    wal.current().map_or(Position { segment: wal.last_index(), offset: 0 }, |c| Position {
        segment: c.index,
        offset: c.len,
    })
}

impl Manifest {
    /// What the log says now.
    fn of(wal: &Writer) -> Self {
        let segments = wal.closed().iter().copied().chain(wal.current()).collect();
        Self { from: end_of(wal), segments, ..Self::default() }
    }

    /// Adds what has to be read from files.
    fn complete(&mut self, fs: &dyn Fs, wal: &Path, reached: Position) -> Result<(), TsdbError> {
        self.reached = reached;
        if let Some(last) = self.segments.last() {
            let at = Position { segment: last.index, offset: last.len };
            let path = segment_path(wal, last.index);
            let crc = check_sum(fs, &path, last.len).map_err(TsdbError::io("read", &path))?;
            self.check = Some((at, crc));
        }
        Ok(())
    }

    /// Whether a chunk may have been written after the snapshot was begun.
    pub(super) fn is_later(&self, chunk: &Sealed) -> bool {
        match &chunk.data {
            Data::Memory(_) => true,
            Data::File(place) => (place.file, u64::from(place.offset)) >= self.chunks,
        }
    }

    fn encode(&self, parts: &[PartPlace]) -> Vec<u8> {
        let mut out = Vec::new();
        let check = self.check.map_or((Position::default(), 0), |c| c);
        for x in [
            self.from.segment,
            self.from.offset,
            self.reached.segment,
            self.reached.offset,
            u64::from(self.check.is_some()),
            check.0.segment,
            check.0.offset,
            u64::from(check.1),
            self.checkpoint.map_or(0, |n| n.saturating_add(1)),
            u64::from(self.chunks.0),
            self.chunks.1,
            self.late,
            zigzag(self.blocks_end),
            self.segments.len() as u64,
        ] {
            varint::put_uvarint(&mut out, x);
        }
        for s in &self.segments {
            varint::put_uvarint(&mut out, s.index);
            varint::put_uvarint(&mut out, s.len);
            varint::put_varint(&mut out, s.max_time);
        }
        varint::put_uvarint(&mut out, parts.len() as u64);
        for p in parts {
            out.extend_from_slice(&p.part.code());
            varint::put_uvarint(&mut out, p.offset);
            varint::put_uvarint(&mut out, u64::from(p.len));
            varint::put_uvarint(&mut out, u64::from(p.crc));
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<(Self, Vec<PartPlace>), ImageError> {
        let mut cursor = Cursor::new(bytes);
        let position = |cursor: &mut Cursor<'_>| -> Result<Position, ImageError> {
            let segment = cursor.uvarint("segment")?;
            Ok(Position { segment, offset: cursor.uvarint("offset")? })
        };
        let (from, reached) = (position(&mut cursor)?, position(&mut cursor)?);
        let checks = cursor.uvarint("check")? == 1;
        let check = (position(&mut cursor)?, u32_of(cursor.uvarint("checksum")?)?);
        let checkpoint = cursor.uvarint("checkpoint")?.checked_sub(1);
        let chunks = (u32_of(cursor.uvarint("file")?)?, cursor.uvarint("offset")?);
        let late = cursor.uvarint("number of late samples")?;
        let blocks_end = unzigzag(cursor.uvarint("end of the blocks")?);
        let mut segments = Vec::new();
        for _ in 0..cursor.count(3, "segments")? {
            segments.push(SegmentInfo {
                index: cursor.uvarint("segment")?,
                len: cursor.uvarint("length of a segment")?,
                max_time: cursor.varint("newest sample of a segment")?,
            });
        }
        let mut parts = Vec::new();
        for _ in 0..cursor.count(5, "parts")? {
            let code = cursor.bytes(2, "kind of a part")?.first_chunk().copied();
            let part = code.and_then(Part::of);
            parts.push(PartPlace {
                part: part.ok_or(ImageError::new("a part of unknown kind"))?,
                offset: cursor.uvarint("offset of a part")?,
                len: u32_of(cursor.uvarint("length of a part")?)?,
                crc: u32_of(cursor.uvarint("checksum of a part")?)?,
            });
        }
        let check = checks.then_some(check);
        let manifest =
            Self { from, reached, check, segments, checkpoint, blocks_end, late, chunks };
        Ok((manifest, parts))
    }

    /// Whether the log is the one that the snapshot was made beside, and only we have written since.
    fn fits(&self, fs: &dyn Fs, wal: &Path, blocks_end: Timestamp) -> Result<(), String> {
        if blocks_end < self.blocks_end {
            return Err("a block is gone".to_owned());
        }
        let listed = |e: TsdbError| e.to_string();
        let checkpoint = list_checkpoints(fs, wal).map_err(listed)?.last().copied();
        if checkpoint != self.checkpoint {
            return Err("there is another checkpoint".to_owned());
        }
        let present = list_segments(fs, wal).map_err(listed)?;
        let needed = checkpoint.map_or(0, |n| n + 1);
        let len = |n: u64| fs.metadata(&segment_path(wal, n)).map_or(0, |m| m.len);
        for s in self.segments.iter().filter(|s| s.index >= needed) {
            let is = len(s.index);
            // Closing a segment fills its last page; the one that was current has grown.
            let filled = s.len.next_multiple_of(PAGE as u64);
            if is < s.len || s.index != self.from.segment && is > filled {
                return Err(format!("segment {} has {is} bytes, not {}", s.index, s.len));
            }
        }
        if let Some((at, crc)) = self.check {
            let path = segment_path(wal, at.segment);
            let found = check_sum(fs, &path, at.offset).map_err(|e| e.to_string())?;
            if found != crc {
                return Err(format!("segment {} has changed", at.segment));
            }
        }
        let ends = |p: Position| p.offset == 0 || len(p.segment) >= p.offset;
        let first = self.segments.first().map_or(self.from.segment, |s| s.index).max(needed);
        let last = present.last().copied();
        if !ends(self.reached) || self.reached.offset > 0 && last < Some(self.reached.segment) {
            return Err("the log is shorter".to_owned());
        }
        if let Some(n) = present.iter().find(|&&n| n >= needed && n < first) {
            return Err(format!("segment {n} is unknown"));
        }
        let expected = present.iter().copied().filter(|&n| n >= first);
        if expected.zip(first..).any(|(is, should)| is != should) {
            return Err("a segment is missing".to_owned());
        }
        for &n in present
            .iter()
            .filter(|&&n| n > self.from.segment || n == self.from.segment && self.from.offset == 0)
        {
            let beginning = fs.read(&segment_path(wal, n), 0..len(n).min(64));
            if !beginning.is_ok_and(|b| is_ours(&b)) {
                return Err(format!("something else has written segment {n}"));
            }
        }
        Ok(())
    }
}

/// A number with its sign in the lowest bit.
const fn zigzag(x: i64) -> u64 {
    (x << 1 ^ x >> 63) as u64
}

const fn unzigzag(x: u64) -> i64 {
    (x >> 1) as i64 ^ -((x & 1) as i64)
}

fn u32_of(x: u64) -> Result<u32, ImageError> {
    u32::try_from(x).map_err(|_| ImageError::new("a number is too large"))
}

/// Checksum of a file's last page before `len`.
fn check_sum(fs: &dyn Fs, path: &Path, len: u64) -> std::io::Result<u32> {
    let bytes = fs.read(path, len.saturating_sub(PAGE as u64)..len)?;
    Ok(crc32c::crc32c(&bytes))
}

#[derive(Clone, Copy, Debug)]
struct PartPlace {
    part: Part,
    offset: u64,
    len: u32,
    crc: u32,
}

/// Path of a snapshot.
fn path_of(dir: &Path, from: Position) -> PathBuf {
    dir.join(DIR).join(format!("{:08}.{:012}", from.segment, from.offset))
}

/// The snapshots of a data directory, oldest first, and what unfinished ones have left.
pub(super) fn list(fs: &dyn Fs, data: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), TsdbError> {
    let dir = data.join(DIR);
    let (mut done, mut left) = (Vec::new(), Vec::new());
    if fs.exists(&dir).map_err(TsdbError::io("look for", &dir))? {
        for entry in fs.read_dir(&dir).map_err(TsdbError::io("list", &dir))? {
            let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            let is = entry.name.split_once('.').is_some_and(|(s, o)| number(s) && number(o));
            if !entry.is_dir && is {
                done.push(dir.join(entry.name));
            } else if entry.name.ends_with(".tmp") {
                left.push(dir.join(entry.name));
            }
        }
    }
    Ok((done, left))
}

/// Writes a snapshot of the head, which commits to `wal`, and removes those before it. Returns it and
/// its size; `None` where there is nothing new since the last one. One at a time. `blocks_end` is where
/// the blocks end; none comes or goes meanwhile.
fn write(
    head: &Head,
    fs: &dyn Fs,
    data: &Path,
    wal: &Path,
    blocks_end: Timestamp,
) -> Result<Option<(PathBuf, u64)>, TsdbError> {
    let (old, left) = list(fs, data)?;
    let Some(now) = head.with_wal(|wal| end_of(wal)) else { return Ok(None) };
    if old.last() == Some(&path_of(data, now)) {
        return Ok(None);
    }
    for path in left {
        fs.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
    }
    let dir = data.join(DIR);
    make_dir(fs, &dir)?;
    let tmp = dir.join("new.tmp");
    let written = write_file(head, fs, (wal, &data.join(WBL_DIR)), &tmp, blocks_end);
    let Ok(Some((from, size))) = written else {
        let _ = fs.remove_file(&tmp);
        return written.map(|_| None);
    };
    let path = path_of(data, from);
    fs.rename(&tmp, &path).map_err(TsdbError::io("rename", &tmp))?;
    fs.sync_dir(&dir).map_err(TsdbError::io("sync", &dir))?;
    for old in old.iter().filter(|p| **p != path) {
        fs.remove_file(old).map_err(TsdbError::io("remove", old))?;
    }
    Ok(Some((path, size)))
}

fn write_file(
    head: &Head,
    fs: &dyn Fs,
    (wal, wbl): (&Path, &Path),
    tmp: &Path,
    blocks_end: Timestamp,
) -> Result<Option<(Position, u64)>, TsdbError> {
    let mut out = AppendWriter::create(fs, tmp)?;
    out.write(MAGIC)?;
    let mut parts = Vec::new();
    let chunks = head.chunk_files().map_or((0, 0), |files| files.end());
    let checkpoint = list_checkpoints(fs, wal)?.last().copied();
    let begin = |wal: &mut Writer, late| {
        let manifest = Manifest::of(wal);
        Manifest { checkpoint, blocks_end, late, chunks, ..manifest }
    };
    let manifest = head.write_image(begin, &mut |part, bytes| {
        let limit = || TsdbError::Limit("a series is too large for a head snapshot".to_owned());
        let len = u32::try_from(bytes.len()).ok().filter(|&n| n <= MAX_PART).ok_or_else(limit)?;
        parts.push(PartPlace { part, offset: out.position(), len, crc: crc32c::crc32c(bytes) });
        out.write(bytes)
    })?;
    let Some(mut manifest) = manifest else { return Ok(None) };
    let reached = head.with_wal(|wal| end_of(wal)).unwrap_or_default();
    // Samples that the image has must not get lost in the log, or a part of a batch would remain.
    let first = manifest.segments.first().map_or(manifest.from.segment, |s| s.index);
    let sync_failed = |path| head.with_wal(|wal| wal.sync_failed(path));
    sync(fs, wal, first..=reached.segment, &sync_failed)?;
    // Late samples of before come from the out-of-order log.
    let sync_failed = |path| head.with_wbl(|wbl| wbl.sync_failed(path));
    sync(fs, wbl, list_segments(fs, wbl)?, &sync_failed)?;
    // Nor must the chunks that it only names the places of.
    head.chunk_files().map_or(Ok(()), |files| files.sync())?;
    manifest.complete(fs, wal, reached)?;
    let footer = manifest.encode(&parts);
    let (offset, crc) = (out.position(), crc32c::crc32c(&footer));
    out.write(&footer)?;
    out.write(&offset.to_le_bytes())?;
    out.write(&(footer.len() as u32).to_le_bytes())?;
    out.write(&crc.to_le_bytes())?;
    out.write(MAGIC)?;
    let size = out.finish()?;
    Ok(Some((manifest.from, size)))
}

/// Brings segments to disk.
fn sync(
    fs: &dyn Fs,
    dir: &Path,
    segments: impl IntoIterator<Item = u64>,
    sync_failed: &dyn Fn(PathBuf) -> Option<()>,
) -> Result<(), TsdbError> {
    for segment in segments {
        let path = segment_path(dir, segment);
        if fs.exists(&path).map_err(TsdbError::io("look for", &path))? {
            let file = fs.open(&path, Open::Write).map_err(TsdbError::io("open", &path))?;
            if let Err(error) = file.sync() {
                let failed = TsdbError::io("sync", &path)(error);
                sync_failed(path);
                return Err(failed);
            }
        }
    }
    Ok(())
}

/// An opened snapshot whose parts can be read.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) size: u64,
    file: Arc<dyn File>,
    places: Vec<PartPlace>,
    list: Vec<(Part, usize)>,
}

impl Parts for Snapshot {
    fn list(&self) -> &[(Part, usize)] {
        &self.list
    }

    fn fetch(&self, part: usize, out: &mut Vec<u8>) -> Result<(), ImageError> {
        let place = self.places.get(part).ok_or(ImageError::new("no such part"))?;
        out.resize(place.len as usize, 0);
        let read = self.file.read_exact_at(out, place.offset);
        read.map_err(|e| ImageError::new(format!("read {}: {e}", self.path.display())))?;
        if crc32c::crc32c(out) != place.crc {
            let at = place.offset;
            return Err(ImageError::new(format!("the checksum of the part at byte {at} is wrong")));
        }
        Ok(())
    }
}

/// Why a snapshot is not used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It does not say what it should.
    Damaged(String),
    /// The directory is not the one that it was made in.
    Outdated(String),
}

impl From<ImageError> for Unusable {
    fn from(error: ImageError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Opens the newest snapshot of a data directory, if there is one. Removes the others. `blocks_end`
/// is where the blocks end.
pub(super) fn find(
    fs: &dyn Fs,
    data: &Path,
    wal: &Path,
    blocks_end: Timestamp,
) -> Result<Option<(PathBuf, Result<Snapshot, Unusable>)>, TsdbError> {
    let (mut done, left) = list(fs, data)?;
    let newest = done.pop();
    for path in done.iter().chain(&left) {
        let _ = fs.remove_file(path);
    }
    Ok(newest.map(|path| {
        let snapshot = open(fs, &path).and_then(|snapshot| {
            snapshot.manifest.fits(fs, wal, blocks_end).map_err(Unusable::Outdated)?;
            Ok(snapshot)
        });
        (path, snapshot)
    }))
}

/// Checks all of a snapshot.
///
/// # Errors
/// What is wrong.
pub(super) fn check(fs: &dyn Fs, path: &Path) -> Result<(), String> {
    let snapshot = open(fs, path).map_err(|why| match why {
        Unusable::Damaged(what) | Unusable::Outdated(what) => what,
    })?;
    let (mut part, mut end) = (Vec::new(), MAGIC.len() as u64);
    for (i, place) in snapshot.places.iter().enumerate() {
        snapshot.fetch(i, &mut part).map_err(|e| e.to_string())?;
        if place.offset != end {
            return Err(format!("there is something unknown at byte {end}"));
        }
        end += u64::from(place.len);
    }
    Ok(())
}

fn open(fs: &dyn Fs, path: &Path) -> Result<Snapshot, Unusable> {
    let io = |e: std::io::Error| Unusable::Damaged(format!("read {}: {e}", path.display()));
    let damaged = |what: &str| Unusable::Damaged(what.to_owned());
    let file = fs.open(path, Open::Read).map_err(io)?;
    let size = file.len().map_err(io)?;
    let Some(end) = size.checked_sub(TRAILER as u64) else { return Err(damaged("too short")) };
    let (mut trailer, mut magic) = ([0; TRAILER], [0; 8]);
    file.read_exact_at(&mut trailer, end).map_err(io)?;
    file.read_exact_at(&mut magic, 0).map_err(io)?;
    if magic != *MAGIC || trailer.last_chunk() != Some(MAGIC) {
        return Err(damaged("not a head snapshot of this version"));
    }
    let number = |range: std::ops::Range<usize>| {
        trailer.get(range).unwrap_or_default().iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
    };
    let (offset, len, crc) = (number(0..8), number(8..12), number(12..16));
    if offset.checked_add(len) != Some(end) {
        return Err(damaged("its table lies beyond its end"));
    }
    let mut table = vec![0; len as usize];
    file.read_exact_at(&mut table, offset).map_err(io)?;
    if u64::from(crc32c::crc32c(&table)) != crc {
        return Err(damaged("the checksum of its table is wrong"));
    }
    let (manifest, places) = Manifest::decode(&table)?;
    let mut list = Vec::with_capacity(places.len());
    for p in &places {
        let inside = p.offset.checked_add(u64::from(p.len)).is_some_and(|e| e <= offset);
        if !inside || p.len > MAX_PART {
            return Err(damaged("a part lies beyond its end"));
        }
        list.push((p.part, p.len as usize));
    }
    Ok(Snapshot { path: path.to_owned(), manifest, size, file, places, list })
}
