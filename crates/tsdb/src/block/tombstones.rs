//! Deleted intervals of a block's series.

use std::{collections::BTreeMap, io, path::Path};

use firesteel_chunk::varint::{put_uvarint, put_varint};

use super::TOMBSTONES_FILE;
use crate::{
    TsdbError,
    decode::Decoder,
    fs::{Fs, replace_file},
};

const MAGIC: u32 = 0x0130_ba30;
const VERSION: u8 = 1;
const HEADER_LEN: usize = 5;

/// A range of time, both ends inclusive, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First.
    pub mint: i64,
    /// Last.
    pub maxt: i64,
}

impl Interval {
    /// Whether `t` is in it.
    #[must_use]
    pub const fn contains(self, t: i64) -> bool {
        self.mint <= t && t <= self.maxt
    }
}

/// Deleted intervals by series. Those of a series are sorted and do not touch one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    series: BTreeMap<u64, Vec<Interval>>,
}

impl Tombstones {
    /// The intervals of a series, sorted.
    #[must_use]
    pub fn get(&self, series: u64) -> &[Interval] {
        self.series.get(&series).map_or(&[], Vec::as_slice)
    }

    /// Adds an interval; those that overlap it or end right beside it are merged with it.
    pub fn add(&mut self, series: u64, mut new: Interval) {
        if new.mint > new.maxt {
            return;
        }
        let intervals = self.series.entry(series).or_default();
        let first = intervals.partition_point(|i| i.maxt < new.mint.saturating_sub(1));
        let end = intervals.partition_point(|i| i.mint <= new.maxt.saturating_add(1));
        for old in intervals.drain(first..end.max(first)) {
            new.mint = new.mint.min(old.mint);
            new.maxt = new.maxt.max(old.maxt);
        }
        intervals.insert(first, new);
    }

    /// All series with their intervals, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[Interval])> {
        self.series.iter().map(|(series, intervals)| (*series, &intervals[..]))
    }

    /// Number of intervals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.values().map(Vec::len).sum()
    }

    /// Whether nothing is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Reads the tombstones of a block's directory; a missing file is an empty one.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, TsdbError> {
        let path = dir.join(TOMBSTONES_FILE);
        match fs.read_all(&path) {
            Ok(bytes) => Self::decode(&bytes)
                .map_err(|(at, what)| TsdbError::corrupt(&path, at as u64, what)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(TsdbError::io("read", &path)(e)),
        }
    }

    /// Writes them to a block's directory: beside the old file, synced, then renamed.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        replace_file(fs, &dir.join(TOMBSTONES_FILE), &self.encode())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + 4 + 12 * self.len());
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.push(VERSION);
        for (series, intervals) in self.iter() {
            for interval in intervals {
                put_uvarint(&mut out, series);
                put_varint(&mut out, interval.mint);
                put_varint(&mut out, interval.maxt);
            }
        }
        // Neither the magic number nor the version counts.
        let crc = crc32c::crc32c(out.get(HEADER_LEN..).unwrap_or_default());
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, (usize, &'static str)> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or((0, "tombstones are cut"))?;
        let mut head = Decoder::new(body);
        if head.u32() != Some(MAGIC) {
            return Err((0, "not tombstones: wrong magic number"));
        }
        if head.bytes(1) != Some(&[VERSION]) {
            return Err((4, "unknown version of the tombstones"));
        }
        let entries = body.get(HEADER_LEN..).unwrap_or_default();
        if crc32c::crc32c(entries) != u32::from_be_bytes(*crc) {
            return Err((body.len(), "checksum of the tombstones does not match"));
        }
        let mut entries = Decoder::new(entries);
        let mut out = Self::default();
        while !entries.is_empty() {
            let at = HEADER_LEN + entries.taken();
            let mut entry = || Some((entries.uvarint()?, entries.varint()?, entries.varint()?));
            let (series, mint, maxt) = entry().ok_or((at, "entry of the tombstones is cut"))?;
            out.add(series, Interval { mint, maxt });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by Prometheus 3.14 (conformance vector `tombstones_file`).
    #[test]
    fn same_bytes_as_prometheus() {
        let bytes = [0x01, 0x30, 0xba, 0x30, 0x01, 0x02, 0x09, 0xd0, 0x0f, 0x0f, 0x12, 0x35, 0xa5];
        let mut stones = Tombstones::default();
        stones.add(2, Interval { mint: -5, maxt: 1000 });
        assert_eq!(stones.encode(), bytes);
        assert_eq!(Tombstones::decode(&bytes).unwrap(), stones);
        let empty = Tombstones::default();
        assert_eq!(empty.encode(), [0x01, 0x30, 0xba, 0x30, 0x01, 0, 0, 0, 0]);
        assert_eq!(Tombstones::decode(&empty.encode()).unwrap(), empty);
    }

    #[test]
    fn neighbours_merge() {
        let mut stones = Tombstones::default();
        for (mint, maxt) in [(10, 20), (30, 40), (21, 25), (50, 60), (0, 8)] {
            stones.add(1, Interval { mint, maxt });
        }
        let found: Vec<_> = stones.get(1).iter().map(|i| (i.mint, i.maxt)).collect();
        assert_eq!(found, [(0, 8), (10, 25), (30, 40), (50, 60)]);
        stones.add(1, Interval { mint: i64::MIN, maxt: i64::MAX });
        assert_eq!(stones.get(1), [Interval { mint: i64::MIN, maxt: i64::MAX }]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(adds in prop::collection::vec((0_i64..60, 0_i64..10), 0..20)) {
            let mut stones = Tombstones::default();
            let mut set = std::collections::BTreeSet::new();
            for (mint, len) in adds {
                stones.add(7, Interval { mint, maxt: mint + len });
                set.extend(mint..=mint + len);
            }
            let intervals = stones.get(7);
            let covered: Vec<i64> = intervals.iter().flat_map(|i| i.mint..=i.maxt).collect();
            prop_assert_eq!(covered, set.into_iter().collect::<Vec<_>>());
            prop_assert!(intervals.windows(2).all(|w| w[0].maxt + 1 < w[1].mint));
            prop_assert_eq!(Tombstones::decode(&stones.encode()).unwrap(), stones);
        }

        #[test]
        fn damage_never_panics(bytes: Vec<u8>) {
            let _ = Tombstones::decode(&bytes);
        }
    }
}
