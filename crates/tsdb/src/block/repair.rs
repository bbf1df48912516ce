//! Blocks of Prometheus 2.1, which mixed up two version numbers.
//!
//! It wrote `meta.json` with version 2 and the index with version 1, though that is of version 2.
//! Source: Prometheus `tsdb/repair.go`.

use std::path::Path;

use super::{BlockMeta, INDEX_FILE};
use crate::{
    TsdbError,
    fs::{Fs, replace_file},
};

/// Where the version of an index is.
const INDEX_VERSION_AT: usize = 4;
/// What it should be.
const INDEX_VERSION: u8 = 2;

/// Gives a block of Prometheus 2.1 the right version numbers, first in the index, then in
/// `meta.json`, so that a crash in between does no harm. Others are left alone. Whether it did so.
///
/// # Errors
/// The file system's, or `meta.json` is damaged.
pub fn repair_version(fs: &dyn Fs, dir: &Path) -> Result<bool, TsdbError> {
    let Some(meta) = BlockMeta::read_mistaken(fs, dir)? else { return Ok(false) };
    let path = dir.join(INDEX_FILE);
    let mut index = fs.read_all(&path).map_err(TsdbError::io("read", &path))?.to_vec();
    if let Some(version) = index.get_mut(INDEX_VERSION_AT) {
        *version = INDEX_VERSION;
    }
    replace_file(fs, &path, &index)?;
    meta.write(fs, dir)?;
    Ok(true)
}
