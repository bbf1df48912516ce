//! `meta.json`: what a block is.

use std::path::Path;

use serde_json::{Map, Value};

use super::{META_FILE, Ulid};
use crate::{
    TsdbError,
    fs::{Fs, replace_file},
};

/// The only version there is.
const VERSION: u32 = 1;
/// What Prometheus 2.1 wrote by mistake.
const MISTAKEN_VERSION: u32 = 2;

/// What a block is. Fields that we do not know (Thanos has some) are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockMeta {
    /// Its name.
    pub ulid: Ulid,
    /// First millisecond of its range.
    pub min_time: i64,
    /// First millisecond after its range.
    pub max_time: i64,
    /// Counts.
    pub stats: BlockStats,
    /// Where it comes from.
    pub compaction: Compaction,
    version: u32,
    unknown: Map<String, Value>,
}

/// Counts of a block; 0 is left out of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// All samples.
    pub num_samples: u64,
    /// Float samples.
    pub num_float_samples: u64,
    /// Native histograms.
    pub num_histogram_samples: u64,
    /// Series.
    pub num_series: u64,
    /// Chunks.
    pub num_chunks: u64,
    /// Deleted intervals.
    pub num_tombstones: u64,
    unknown: Map<String, Value>,
}

/// Where a block comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// How many times its samples were compacted: 1 for a block made from a head.
    pub level: u32,
    /// The level 1 blocks that are in it, itself for a block of level 1; sorted.
    pub sources: Vec<Ulid>,
    /// It became empty and can be deleted.
    pub deletable: bool,
    /// The blocks that it was made from.
    pub parents: Vec<BlockDesc>,
    /// Its compaction failed, so it must not be tried again.
    pub failed: bool,
    /// `from-out-of-order`, `from-stale-series`, ...; sorted.
    pub hints: Vec<String>,
    unknown: Map<String, Value>,
}

/// A parent of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDesc {
    /// Its name.
    pub ulid: Ulid,
    /// First millisecond of its range.
    pub min_time: i64,
    /// First millisecond after its range.
    pub max_time: i64,
}

impl Compaction {
    /// Of a block that is made from a head.
    #[must_use]
    pub fn first_level(ulid: Ulid) -> Self {
        Self { level: 1, sources: vec![ulid], ..Self::default() }
    }

    /// Of a block that is made from others: one level up, with all their sources. It is of
    /// out-of-order samples where all of them are, and of some series alone where one is.
    #[must_use]
    pub fn of_parents(parents: &[&BlockMeta]) -> Self {
        let has = |hint: &str| parents.iter().filter(|p| p.compaction.has_hint(hint)).count();
        let mut hints = Vec::new();
        if !parents.is_empty() && has(BlockMeta::OUT_OF_ORDER) == parents.len() {
            hints.push(BlockMeta::OUT_OF_ORDER.to_owned());
        }
        for hint in [BlockMeta::SELECTED_SERIES, BlockMeta::STALE_SERIES] {
            if has(hint) > 0 {
                hints.push(hint.to_owned());
            }
        }
        let mut sources: Vec<Ulid> =
            parents.iter().flat_map(|p| p.compaction.sources.iter().copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        Self {
            level: parents.iter().map(|p| p.compaction.level).max().unwrap_or(0) + 1,
            sources,
            parents: parents.iter().map(|p| p.desc()).collect(),
            hints,
            ..Self::default()
        }
    }

    /// Of a block that replaces another without what is deleted of it.
    #[must_use]
    pub fn of_rewritten(ulid: Ulid, parent: &BlockMeta) -> Self {
        let hints = parent.compaction.hints.clone();
        Self { parents: vec![parent.desc()], hints, ..Self::first_level(ulid) }
    }

    /// Whether it has a hint, [`BlockMeta::OUT_OF_ORDER`] for example.
    #[must_use]
    pub fn has_hint(&self, hint: &str) -> bool {
        self.hints.iter().any(|h| h == hint)
    }
}

impl BlockMeta {
    /// Hint: made of out-of-order samples alone.
    pub const OUT_OF_ORDER: &'static str = "from-out-of-order";
    /// Hint: made of series that had gone stale and were taken out of the head early.
    pub const STALE_SERIES: &'static str = "from-stale-series";
    /// Hint: made of some series of a head; Mimir makes such blocks.
    pub const SELECTED_SERIES: &'static str = "from-selected-series";

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

    /// Whether `other` says the same about the block, but for what changes while a block lives:
    /// deletions and marks of compaction, and fields of others.
    #[must_use]
    pub fn same_block(&self, other: &Self) -> bool {
        let counts = |s: &BlockStats| {
            let floats = (s.num_float_samples, s.num_histogram_samples);
            (s.num_samples, floats, s.num_series, s.num_chunks)
        };
        let (a, b) = (&self.compaction, &other.compaction);
        self.desc() == other.desc()
            && self.version == other.version
            && counts(&self.stats) == counts(&other.stats)
            && (a.level, &a.sources, &a.parents, &a.hints)
                == (b.level, &b.sources, &b.parents, &b.hints)
    }

    /// Reads the `meta.json` of a block's directory.
    ///
    /// # Errors
    /// The file is missing, is not JSON, lacks a field or is of an unknown version.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, TsdbError> {
        let path = dir.join(META_FILE);
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let meta = Self::from_json(&bytes).map_err(|what| TsdbError::corrupt(&path, 0, what))?;
        if meta.version != VERSION {
            let what = format!("unexpected meta file version {}", meta.version);
            return Err(TsdbError::corrupt(&path, 0, what));
        }
        Ok(meta)
    }

    /// Reads a `meta.json` of Prometheus 2.1, which says version 2, as what it should be; `None` if
    /// it is another.
    pub(super) fn read_mistaken(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, TsdbError> {
        let path = dir.join(META_FILE);
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let meta = Self::from_json(&bytes).map_err(|what| TsdbError::corrupt(&path, 0, what))?;
        Ok((meta.version == MISTAKEN_VERSION).then_some(Self { version: VERSION, ..meta }))
    }

    /// Writes it to a block's directory: beside the old file, synced, then renamed.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        replace_file(fs, &dir.join(META_FILE), &self.to_json()?)
    }

    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let mut fields = Fields::new(value)?;
        Ok(Self {
            ulid: fields.required("ulid", ulid)?,
            min_time: fields.required("minTime", int)?,
            max_time: fields.required("maxTime", int)?,
            stats: fields.optional("stats", BlockStats::from_json)?,
            compaction: fields.optional("compaction", Compaction::from_json)?,
            version: fields.required("version", small)?,
            unknown: fields.rest,
        })
    }

    /// As Prometheus writes it: indented with tabs, without a newline at the end.
    fn to_json(&self) -> Result<Vec<u8>, TsdbError> {
        let mut fields = self.desc().to_json();
        fields.insert("stats".to_owned(), Value::Object(self.stats.to_json()));
        fields.insert("compaction".to_owned(), Value::Object(self.compaction.to_json()));
        fields.insert("version".to_owned(), self.version.into());
        fields.extend(self.unknown.clone());
        let pretty = serde_json::to_string_pretty(&Value::Object(fields))
            .map_err(|e| TsdbError::Invalid(format!("meta.json cannot be written: {e}")))?;
        // No string of JSON goes over a line's end, so only indentation is at the beginning of one.
        let tabs = |line: &str| {
            let text = line.trim_start_matches(' ');
            "\t".repeat((line.len() - text.len()) / 2) + text
        };
        Ok(pretty.lines().map(tabs).collect::<Vec<_>>().join("\n").into_bytes())
    }
}

impl BlockStats {
    fn from_json(value: Value) -> Result<Self, String> {
        let mut fields = Fields::new(value)?;
        Ok(Self {
            num_samples: fields.optional("numSamples", count)?,
            num_float_samples: fields.optional("numFloatSamples", count)?,
            num_histogram_samples: fields.optional("numHistogramSamples", count)?,
            num_series: fields.optional("numSeries", count)?,
            num_chunks: fields.optional("numChunks", count)?,
            num_tombstones: fields.optional("numTombstones", count)?,
            unknown: fields.rest,
        })
    }

    fn to_json(&self) -> Map<String, Value> {
        let counts = [
            ("numSamples", self.num_samples),
            ("numFloatSamples", self.num_float_samples),
            ("numHistogramSamples", self.num_histogram_samples),
            ("numSeries", self.num_series),
            ("numChunks", self.num_chunks),
            ("numTombstones", self.num_tombstones),
        ];
        let counts = counts.into_iter().filter(|(_, n)| *n > 0);
        let mut fields: Map<_, _> = counts.map(|(key, n)| (key.to_owned(), n.into())).collect();
        fields.extend(self.unknown.clone());
        fields
    }
}

impl Compaction {
    fn from_json(value: Value) -> Result<Self, String> {
        let mut fields = Fields::new(value)?;
        Ok(Self {
            level: fields.optional("level", small)?,
            sources: fields.optional("sources", |v| list(v, ulid))?,
            deletable: fields.optional("deletable", flag)?,
            parents: fields.optional("parents", |v| list(v, BlockDesc::from_json))?,
            failed: fields.optional("failed", flag)?,
            hints: fields.optional("hints", |v| list(v, text))?,
            unknown: fields.rest,
        })
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut add = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        add("level", self.level.into());
        if !self.sources.is_empty() {
            add("sources", self.sources.iter().map(Ulid::to_string).collect());
        }
        if self.deletable {
            add("deletable", true.into());
        }
        if !self.parents.is_empty() {
            add("parents", self.parents.iter().map(|p| Value::Object(p.to_json())).collect());
        }
        if self.failed {
            add("failed", true.into());
        }
        if !self.hints.is_empty() {
            add("hints", self.hints.iter().cloned().collect());
        }
        fields.extend(self.unknown.clone());
        fields
    }
}

impl BlockDesc {
    fn from_json(value: Value) -> Result<Self, String> {
        let mut fields = Fields::new(value)?;
        Ok(Self {
            ulid: fields.required("ulid", ulid)?,
            min_time: fields.required("minTime", int)?,
            max_time: fields.required("maxTime", int)?,
        })
    }

    fn to_json(self) -> Map<String, Value> {
        let pairs = [
            ("ulid", self.ulid.to_string().into()),
            ("minTime", self.min_time.into()),
            ("maxTime", self.max_time.into()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The fields of an object that have not been taken yet. By hand, because derived code would
/// bring in as many crates again as the storage has.
struct Fields {
    rest: Map<String, Value>,
}

impl Fields {
    fn new(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(rest) => Ok(Self { rest }),
            other => Err(format!("expected an object, found {other}")),
        }
    }

    fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.rest.shift_remove(key).filter(|v| !v.is_null());
        value.map(read).transpose().map_err(|what| format!("{key}: {what}"))
    }

    fn required<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<T, String> {
        self.take(key, read)?.ok_or_else(|| format!("field {key} is missing"))
    }

    fn optional<T: Default>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<T, String> {
        Ok(self.take(key, read)?.unwrap_or_default())
    }
}

fn int(value: Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("expected an integer, found {value}"))
}

fn count(value: Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("expected a count, found {value}"))
}

fn small(value: Value) -> Result<u32, String> {
    u32::try_from(count(value)?).map_err(|e| e.to_string())
}

fn flag(value: Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, found {value}"))
}

fn text(value: Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("expected a text, found {value}"))
}

fn ulid(value: Value) -> Result<Ulid, String> {
    text(value)?.parse().map_err(|e: super::ulid::UlidError| e.to_string())
}

fn list<T>(value: Value, read: impl Fn(Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    match value {
        Value::Array(items) => items.into_iter().map(read).collect(),
        other => Err(format!("expected a list, found {other}")),
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
        let meta = BlockMeta::from_json(text.as_bytes()).unwrap();
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
