//! Shortening the log.

use std::{path::Path, sync::Arc};

use firesteel_model::Timestamp;

use super::open::WAL_DIR;
use crate::{
    TsdbError,
    fs::Fs,
    head::Head,
    wal::{
        Compression,
        segments::{checkpoint_path, list_checkpoints, segment_path},
        writer::{Batch, PlainSegment},
    },
};

/// Removes the segments whose floats are all before `mint`, and so in blocks. What else they say
/// goes into a checkpoint, which is made from memory: damage in the log cannot get in its way.
/// Returns the number of segments removed.
pub(super) fn shorten(
    head: &Arc<Head>,
    fs: &dyn Fs,
    data: &Path,
    mint: Timestamp,
    segment_size: u64,
) -> Result<usize, TsdbError> {
    if head.wbl_is_behind() {
        return Ok(0);
    }
    let dir = data.join(WAL_DIR);
    let log = head.with_wal(|wal| (wal.closed().to_vec(), wal.needed()));
    let (closed, needed) = log.unwrap_or_default();
    // Those who follow the log there need series that a checkpoint from memory would not have.
    if needed.is_some_and(|needed| head.may_not_know(needed)) {
        return Ok(0);
    }
    let stays = |index: u64| needed.is_some_and(|needed| index >= needed);
    let covered: Vec<_> =
        closed.iter().take_while(|s| s.max_time < mint && !stays(s.index)).collect();
    let Some(last) = covered.last().map(|s| s.index) else { return Ok(0) };
    let place = checkpoint_path(&dir, last);
    let tmp = place.with_extension(format!("{last:08}.tmp"));
    if fs.exists(&tmp).map_err(TsdbError::io("look for", &tmp))? {
        fs.remove_dir_all(&tmp).map_err(TsdbError::io("remove", &tmp))?;
    }
    let ended = head.with_wal(|wal| wal.remembered(last)).unwrap_or_default();
    if let Err(error) = write(head, fs, &tmp, mint, segment_size, &ended) {
        let _ = fs.remove_dir_all(&tmp);
        return Err(error);
    }
    fs.rename(&tmp, &place).map_err(TsdbError::io("rename", &tmp))?;
    fs.sync_dir(&dir).map_err(TsdbError::io("sync", &dir))?;
    // From here on the segments are not needed; what remains of them is removed at the next start.
    for old in list_checkpoints(fs, &dir)?.into_iter().filter(|&n| n < last) {
        let path = checkpoint_path(&dir, old);
        fs.remove_dir_all(&path).map_err(TsdbError::io("remove", &path))?;
    }
    head.with_wal(|wal| wal.remove_through(last)).unwrap_or(Ok(()))?;
    Ok(covered.len())
}

fn write(
    head: &Arc<Head>,
    fs: &dyn Fs,
    dir: &Path,
    mint: Timestamp,
    segment_size: u64,
    ended: &[Vec<u8>],
) -> Result<(), TsdbError> {
    fs.create_dir_all(dir).map_err(TsdbError::io("make", dir))?;
    let mut index = 0;
    let mut segment = Some(PlainSegment::create(fs, &segment_path(dir, index))?);
    head.checkpoint(mint, &mut |batch| {
        if segment.as_ref().is_some_and(|s| s.len() >= segment_size)
            && let Some(full) = segment.take()
        {
            full.finish()?;
            index += 1;
        }
        if segment.is_none() {
            segment = Some(PlainSegment::create(fs, &segment_path(dir, index))?);
        }
        segment.as_mut().map_or(Ok(()), |s| s.batch(batch))
    })?;
    if let Some(last) = &mut segment {
        let mut batch = Batch::new(Compression::None);
        ended.iter().for_each(|record| batch.record(|out| out.extend_from_slice(record)));
        last.batch(&batch)?;
    }
    if let Some(last) = segment {
        last.finish()?;
    }
    fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))
}
