//! Waiting for another program to upload blocks. Rules: Prometheus `cmd/prometheus/main.go`
//! (`--storage.tsdb.delay-compact-file.path`).

use std::{collections::BTreeSet, path::Path, time::Duration};

use super::super::{Inner, maintain::Maintenance};
use crate::{
    TsdbError,
    block::{BlockMeta, Ulid},
    fs::Fs,
};

/// For how long the list is good.
const FRESH: Duration = Duration::from_secs(60);
/// The longest list that is read.
const MAX_FILE: u64 = 64 << 20;

/// The list of uploaded blocks as it was last read.
#[derive(Debug, Default)]
pub(in crate::db) struct Uploads {
    /// With the monotonic reading of when that was.
    read: Option<(Duration, BTreeSet<Ulid>)>,
}

impl Inner {
    /// Whether a block must be left alone until it was uploaded. Only blocks from the head are
    /// waited for, and a list that cannot be read holds nothing up.
    pub(super) fn waits_for_upload(&self, care: &mut Maintenance, meta: &BlockMeta) -> bool {
        let Some(path) = self.options.uploads_file.as_deref() else { return false };
        if meta.compaction.level > 1 {
            return false;
        }
        let now = self.options.clock.monotonic();
        let uploads = &mut care.uploads;
        let fresh = |read: &&(Duration, _)| now.saturating_sub(read.0) < FRESH;
        if uploads.read.as_ref().filter(fresh).is_none() {
            match read(&*self.options.fs, path) {
                Ok(list) => uploads.read = Some((now, list)),
                Err(error) => {
                    tracing::warn!(?path, %error, "list of uploaded blocks cannot be read");
                    return false;
                }
            }
        }
        uploads.read.as_ref().is_some_and(|(_, list)| !list.contains(&meta.ulid))
    }
}

/// Reads `{"uploaded": ["<ulid>", ...]}`; what else is in it does not matter.
fn read(fs: &dyn Fs, path: &Path) -> Result<BTreeSet<Ulid>, TsdbError> {
    let len = fs.metadata(path).map_err(TsdbError::io("read", path))?.len;
    if len > MAX_FILE {
        return Err(TsdbError::Limit(format!("{path:?} is longer than {MAX_FILE} bytes")));
    }
    let bytes = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|e| TsdbError::corrupt(path, 0, format!("not JSON: {e}")))?;
    let list = match value.get("uploaded") {
        None | Some(serde_json::Value::Null) => return Ok(BTreeSet::new()),
        Some(list) => list.as_array(),
    };
    let list = list.ok_or_else(|| TsdbError::corrupt(path, 0, "uploaded is not a list"))?;
    Ok(list.iter().filter_map(|v| v.as_str()?.parse().ok()).collect())
}
