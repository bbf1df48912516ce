//! Making a damaged segment whole, so that the next reader (Prometheus among them, which gives up
//! at the first bad byte and deletes all later segments) finds nothing wrong.

use std::path::Path;

use super::{
    compress::{Compression, Compressor},
    page::Encoded,
    read::{Records, Summary, read_segment},
    record::batch,
    writer::PlainSegment,
};
use crate::{
    TsdbError,
    fs::{Fs, Open},
};

/// What was done about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing was wrong.
    None,
    /// Its end was cut off.
    Cut,
    /// It was written anew without the damaged records.
    Rewritten,
}

/// Repairs a segment after [`read_segment`] found `summary` in it. `data` is its content.
///
/// # Errors
/// The system's. The segment is as it was then, and reads the same next time.
pub fn repair(
    fs: &dyn Fs,
    path: &Path,
    data: &[u8],
    summary: &Summary,
) -> Result<Repair, TsdbError> {
    if summary.has_holes() {
        retain(fs, path, data, summary, |_| true)?;
        return Ok(Repair::Rewritten);
    }
    if summary.has_bad_end() {
        let file = fs.open(path, Open::Write).map_err(TsdbError::io("open", path))?;
        file.set_len(summary.end as u64).map_err(TsdbError::io("cut", path))?;
        file.sync().map_err(TsdbError::io("sync", path))?;
        return Ok(Repair::Cut);
    }
    Ok(Repair::None)
}

const fn plain(bytes: &[u8]) -> Encoded<'_> {
    Encoded { bytes, compression: Compression::None }
}

/// Writes a segment anew with those of its batches that `keep` keeps, and without what is damaged.
///
/// # Errors
/// The system's. The segment is as it was then.
pub fn retain(
    fs: &dyn Fs,
    path: &Path,
    data: &[u8],
    summary: &Summary,
    keep: impl Fn(Records<'_>) -> bool,
) -> Result<(), TsdbError> {
    let new = path.with_extension("repair");
    let mut out = PlainSegment::create(fs, &new)?;
    let mut scratch = Vec::new();
    if summary.ours {
        batch::encode_marker(&mut scratch);
        out.record(plain(&scratch))?;
    }
    let mut result = Ok(());
    let mut compressor = Compressor::new(Compression::Snappy);
    let (mut plain_record, mut packed) = (Vec::new(), Vec::new());
    read_segment(data, summary.position, |records| {
        let mut write = || -> Result<(), TsdbError> {
            for record in records.iter() {
                plain_record.clear();
                packed.clear();
                plain_record.extend_from_slice(record);
                let compression = compressor.append(&mut plain_record, &mut packed);
                out.record(Encoded { bytes: &packed, compression })?;
            }
            if summary.ours {
                scratch.clear();
                let checksums: Vec<u32> = records.iter().map(crc32c::crc32c).collect();
                batch::encode_commit(&mut scratch, checksums.into_iter());
                out.record(plain(&scratch))?;
            }
            Ok(())
        };
        if result.is_ok() && keep(records) {
            result = write();
        }
    });
    result?;
    out.finish()?;
    fs.rename(&new, path).map_err(TsdbError::io("rename", &new))?;
    let dir = path.parent().unwrap_or(path);
    fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fs::SimFs,
        wal::{
            segments::segment_path,
            writer::{Batch, Durability, Writer},
        },
    };
    use std::sync::Arc;

    fn batches(data: &[u8]) -> (Vec<Vec<Vec<u8>>>, Summary) {
        let mut all = Vec::new();
        let summary = read_segment(data, crate::wal::read::Position::Older, |r| {
            all.push(r.iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        });
        (all, summary)
    }

    fn write_some(fs: &SimFs, n: u8) -> Vec<u8> {
        let dir = Path::new("/wal");
        let mut writer =
            Writer::new(Arc::new(fs.clone()), dir, 0, Vec::new(), 1 << 20, Durability::Os);
        for i in 0..n {
            let mut batch = Batch::new(
                [Compression::None, Compression::Snappy, Compression::Zstd][usize::from(i) % 3],
            );
            batch.record(|out| out.extend(vec![1, i, 1, 1, 1, 1]));
            batch.record(|out| out.extend(vec![2; 100 + usize::from(i)]));
            batch.record(|_| ());
            writer.write(&mut [&mut batch]).unwrap();
        }
        fs.read_all(&segment_path(dir, 0)).unwrap().to_vec()
    }

    #[test]
    fn an_unclosed_batch_is_left_out_and_cut_off() {
        let fs = SimFs::new();
        let data = write_some(&fs, 5);
        let (all, summary) = batches(&data);
        assert!(summary.ours && summary.damage.is_empty() && summary.unclosed == 0);
        assert_eq!((all.len(), summary.records, summary.end), (5, 10, data.len()));
        let path = Path::new("/x");
        for cut in 0..data.len() {
            let (some, summary) = batches(&data[..cut]);
            assert_eq!(some, all[..some.len()], "cut at {cut}");
            assert!(summary.end <= cut);
            PlainSegment::create(&fs, path).unwrap();
            fs.open(path, Open::Write).unwrap().append(&data[..cut]).unwrap();
            let _ = repair(&fs, path, &data[..cut], &summary).unwrap();
            let (again, summary) = batches(&fs.read_all(path).unwrap());
            assert_eq!(again, some);
            assert!(summary.damage.is_empty() && summary.unclosed == 0, "cut at {cut}");
        }
    }

    #[test]
    fn a_rewritten_segment_has_what_the_damaged_one_had() {
        let fs = SimFs::new();
        let data = write_some(&fs, 5);
        let path = Path::new("/wal/00000000");
        for at in 0..data.len() {
            let mut bad = data.clone();
            bad[at] ^= 0xff;
            let (some, summary) = batches(&bad);
            assert!(!summary.damage.is_empty());
            let file = fs.open(path, Open::Truncate).unwrap();
            file.append(&bad).unwrap();
            let _ = repair(&fs, path, &bad, &summary).unwrap();
            let (again, summary) = batches(&fs.read_all(path).unwrap());
            assert_eq!(again, some, "byte {at}");
            assert!(summary.damage.is_empty() && summary.unclosed == 0, "byte {at}");
        }
    }
}
