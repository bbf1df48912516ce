//! `meta.json`: what a block is.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{META_FILE, Ulid};
use crate::{
    TsdbError,
    fs::{Fs, replace_file},
};

/// The only version there is. Prometheus 2.1 wrote 2 by mistake.
const VERSION: u32 = 1;

/// What a block is. Fields that we do not know (Thanos has some) are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Its name.
    pub ulid: Ulid,
    /// First millisecond of its range.
    pub min_time: i64,
    /// First millisecond after its range.
    pub max_time: i64,
    /// Counts.
    #[serde(default)]
    pub stats: BlockStats,
    /// Where it comes from.
    #[serde(default)]
    pub compaction: Compaction,
    version: u32,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Counts of a block; 0 is left out of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// All samples.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Float samples.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Where a block comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// How many times its samples were compacted: 1 for a block made from a head.
    pub level: u32,
    /// The level 1 blocks that are in it, itself for a block of level 1; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// It became empty and can be deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks that it was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BlockDesc>,
    /// Its compaction failed, so it must not be tried again.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// `from-out-of-order`, `from-stale-series`, ...; sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A parent of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockDesc {
    /// Its name.
    pub ulid: Ulid,
    /// First millisecond of its range.
    pub min_time: i64,
    /// First millisecond after its range.
    pub max_time: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(b: &bool) -> bool {
    !*b
}

impl Compaction {
    /// Of a block that is made from a head.
    #[must_use]
    pub fn first_level(ulid: Ulid) -> Self {
        Self { level: 1, sources: vec![ulid], ..Self::default() }
    }

    /// Of a block that is made from others: one level up, with all their sources. Hints are not
    /// inherited.
    #[must_use]
    pub fn of_parents(parents: &[&BlockMeta]) -> Self {
        let mut sources: Vec<Ulid> =
            parents.iter().flat_map(|p| p.compaction.sources.iter().copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        Self {
            level: parents.iter().map(|p| p.compaction.level).max().unwrap_or(0) + 1,
            sources,
            parents: parents.iter().map(|p| p.desc()).collect(),
            ..Self::default()
        }
    }
}

impl BlockMeta {
    /// A block over the range from `min_time`, inclusive, to `max_time`, exclusive.
    #[must_use]
    pub fn new(ulid: Ulid, min_time: i64, max_time: i64, compaction: Compaction) -> Self {
        Self { ulid, min_time, max_time, compaction, version: VERSION, ..Self::default() }
    }

    /// What a child keeps of it.
    #[must_use]
    pub const fn desc(&self) -> BlockDesc {
        BlockDesc { ulid: self.ulid, min_time: self.min_time, max_time: self.max_time }
    }

    /// Reads the `meta.json` of a block's directory.
    ///
    /// # Errors
    /// The file is missing, is not JSON, lacks a field or is of an unknown version.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, TsdbError> {
        let path = dir.join(META_FILE);
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let meta: Self = serde_json::from_slice(&bytes)
            .map_err(|e| TsdbError::corrupt(&path, 0, e.to_string()))?;
        if meta.version != VERSION {
            let what = format!("unexpected meta file version {}", meta.version);
            return Err(TsdbError::corrupt(&path, 0, what));
        }
        Ok(meta)
    }

    /// Writes it to a block's directory: beside the old file, synced, then renamed.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        replace_file(fs, &dir.join(META_FILE), &self.to_json()?)
    }

    /// As Prometheus writes it: indented with tabs, without a newline at the end.
    fn to_json(&self) -> Result<Vec<u8>, TsdbError> {
        let mut out = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, format);
        self.serialize(&mut serializer)
            .map_err(|e| TsdbError::Invalid(format!("meta.json cannot be written: {e}")))?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::SimFs;

    #[test]
    fn same_text_as_prometheus_and_unknown_fields_stay() {
        let text = "{\n\t\"ulid\": \"01M7XBFC0D0Y4GVBK7340119YJ\",\n\t\"minTime\": -5,\n\
                    \t\"maxTime\": 9223372036854775807,\n\t\"stats\": {\n\t\t\"numSamples\": 9600,\n\
                    \t\t\"numSeries\": 20,\n\t\t\"numBytes\": 18446744073709551615\n\t},\n\
                    \t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n\
                    \t\t\t\"01M7XBFC0D0Y4GVBK7340119YJ\"\n\t\t]\n\t},\n\t\"version\": 1,\n\
                    \t\"thanos\": {\n\t\t\"labels\": {\n\t\t\t\"z\": \"1\",\n\t\t\t\"a\": \"2\"\n\
                    \t\t}\n\t}\n}";
        let meta: BlockMeta = serde_json::from_str(text).unwrap();
        assert_eq!((meta.min_time, meta.max_time, meta.stats.num_series), (-5, i64::MAX, 20));
        assert_eq!(String::from_utf8(meta.to_json().unwrap()).unwrap(), text);
    }

    #[test]
    fn other_versions_are_refused() {
        let fs = SimFs::new();
        let dir = Path::new("/");
        let mut meta = BlockMeta::new(Ulid::default(), 0, 1, Compaction::default());
        meta.write(&fs, dir).unwrap();
        assert_eq!(BlockMeta::read(&fs, dir).unwrap(), meta);
        meta.version = 2;
        meta.write(&fs, dir).unwrap();
        let error = BlockMeta::read(&fs, dir).unwrap_err().to_string();
        assert!(error.contains("unexpected meta file version 2"), "{error}");
        replace_file(&fs, Path::new("/meta.json"), b"{}").unwrap();
        assert!(BlockMeta::read(&fs, dir).is_err());
    }
}
