//! How a database is opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use firesteel_model::{
    budget::Budget,
    clock::{Clock, SystemClock},
};

use super::{Db, Event, HeadLoader, compact::Rules, events::Events};
use crate::{
    TsdbError,
    decoded::DecodedChunks,
    fs::{Fs, OsFs, ReadOnlyFs},
    head::{DEFAULT_CAP, Formats},
    wal::{
        Compression,
        writer::{DEFAULT_SEGMENT_SIZE, Durability},
    },
};

/// Settings of a [`Db`]; the defaults are Prometheus', durability excepted.
#[derive(Clone, Debug)]
pub struct DbBuilder {
    pub(super) dir: Option<PathBuf>,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) budget: Budget,
    pub(super) retention: Option<Duration>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) retention_percentage: Option<f64>,
    pub(super) max_block_range: Option<Duration>,
    pub(super) merge_overlapping: bool,
    pub(super) uploads_file: Option<PathBuf>,
    pub(super) block_reload_interval: Duration,
    pub(super) stale_series_threshold: f64,
    pub(super) durability: Durability,
    pub(super) block_range: Duration,
    pub(super) wal_compression: Compression,
    pub(super) wal_segment_size: u64,
    pub(super) lock: bool,
    pub(super) read_only: bool,
    pub(super) max_exemplars: usize,
    pub(super) late_window: Duration,
    pub(super) late_cap: usize,
    pub(super) formats: Formats,
    pub(super) seed: u64,
    pub(super) threads: Option<usize>,
    pub(super) snapshot_bytes: Option<u64>,
    pub(super) reserve: Option<u64>,
    pub(super) describe_blocks: bool,
    decoded_bytes: u64,
    /// Made when the database is opened.
    pub(super) decoded: Option<Arc<DecodedChunks>>,
    pub(super) events: Events,
}

/// As Prometheus says it (`tsdb/db.go`).
const XOR_WITH_STARTS: &str = "float chunk encoding \"xor\" is incompatible with start-timestamp storage; XOR chunks do not store start timestamps, use \"xor2\"";

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl DbBuilder {
    pub(super) fn new(dir: Option<&Path>) -> Self {
        Self {
            dir: dir.map(Path::to_owned),
            fs: Arc::new(OsFs::default()),
            clock: Arc::new(SystemClock::new()),
            budget: Budget::unlimited(),
            retention: Some(Duration::from_secs(15 * 24 * 3600)),
            retention_bytes: None,
            retention_percentage: None,
            max_block_range: None,
            merge_overlapping: true,
            uploads_file: None,
            block_reload_interval: Duration::from_secs(60),
            stale_series_threshold: 0.0,
            durability: Durability::default(),
            block_range: Duration::from_secs(2 * 3600),
            wal_compression: Compression::default(),
            wal_segment_size: DEFAULT_SEGMENT_SIZE,
            lock: true,
            read_only: false,
            max_exemplars: 100_000,
            late_window: Duration::ZERO,
            late_cap: DEFAULT_CAP,
            formats: Formats::default(),
            seed: fastrand::u64(..),
            threads: None,
            snapshot_bytes: Some(64 << 20),
            reserve: None,
            describe_blocks: false,
            decoded_bytes: 0,
            decoded: None,
            events: Events::default(),
        }
    }

    /// Where files are; the system's file system by default.
    #[must_use]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// Where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Memory of the head. When it is used up, new series are refused; those that are there go on.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How many bytes chunks may take that are kept decoded because they are read again and again,
    /// as dashboards do; 0, none, by default. Reserved from the budget at once, taken when needed,
    /// and given back after five minutes without use. A sample takes 2 to 16 bytes.
    #[must_use]
    pub const fn decoded_chunks(mut self, bytes: u64) -> Self {
        self.decoded_bytes = bytes;
        self
    }

    /// Makes the place for decoded chunks. Where the budget has no room for it there is none.
    pub(super) fn make_decoded(&mut self) {
        if self.decoded_bytes == 0 {
            return;
        }
        match self.budget.reserve(self.decoded_bytes) {
            Ok(reservation) => {
                self.decoded = Some(DecodedChunks::new(self.decoded_bytes, Some(reservation)));
            }
            Err(error) => tracing::warn!(%error, "no chunks are kept decoded"),
        }
    }

    /// How long samples are kept; 15 days by default, `None` for ever.
    #[must_use]
    pub const fn retention(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
        self
    }

    /// How many bytes are kept on disk; no limit by default.
    #[must_use]
    pub const fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// How much of the disk, in percent, blocks and log may take; prevails over
    /// [`DbBuilder::retention_bytes`]. No limit by default.
    #[must_use]
    pub const fn retention_percentage(mut self, percentage: Option<f64>) -> Self {
        self.retention_percentage = percentage;
        self
    }

    /// The time that a compacted block spans at most; by default a tenth of the retention, 31 days
    /// at most.
    #[must_use]
    pub const fn max_block_range(mut self, range: Option<Duration>) -> Self {
        self.max_block_range = range;
        self
    }

    /// Whether overlapping blocks are merged; they are by default.
    #[must_use]
    pub const fn merge_overlapping(mut self, merge: bool) -> Self {
        self.merge_overlapping = merge;
        self
    }

    /// A JSON file in which another program lists the blocks that it has uploaded, as Thanos'
    /// shipper does (`{"uploaded": ["<ulid>", ...]}`). Blocks that were made from the head are
    /// not compacted before they are in it. A file that cannot be read holds nothing up.
    #[must_use]
    pub fn uploads_file(mut self, path: Option<&Path>) -> Self {
        self.uploads_file = path.map(Path::to_owned);
        self
    }

    /// How often blocks are looked at: new ones in the directory, retention, compaction; once a
    /// minute by default, once a second at most.
    #[must_use]
    pub fn block_reload_interval(mut self, interval: Duration) -> Self {
        self.block_reload_interval = interval.max(Duration::from_secs(1));
        self
    }

    /// From which share of stale series in the head on these are put into blocks of their own and
    /// taken out of it early; 0, the default, for never. See [`Db::set_stale_series_threshold`].
    #[must_use]
    pub const fn stale_series_threshold(mut self, share: f64) -> Self {
        self.stale_series_threshold = share;
        self
    }

    /// When a commit is on disk; within a second by default.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The time that a block spans; two hours by default.
    #[must_use]
    pub const fn block_range(mut self, range: Duration) -> Self {
        self.block_range = range;
        self
    }

    /// How the log is compressed; with snappy by default.
    #[must_use]
    pub const fn wal_compression(mut self, compression: Compression) -> Self {
        self.wal_compression = compression;
        self
    }

    /// Size at which a new segment of the log is begun; 128 MiB by default.
    #[must_use]
    pub const fn wal_segment_size(mut self, bytes: u64) -> Self {
        self.wal_segment_size = bytes;
        self
    }

    /// Whether the directory is locked against other processes (Prometheus' own too); it is by
    /// default.
    #[must_use]
    pub const fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// Opens the directory, which must be there, for reading, whoever may have it open: the log is
    /// replayed in memory, nothing is written, repaired or removed, and no lock is taken. What the
    /// owner of the directory writes later is not seen. Appending fails.
    ///
    /// # Errors
    /// The directory cannot be read; an owner that removes files meanwhile may be the cause.
    pub fn open_read_only(mut self) -> Result<Db, TsdbError> {
        if let Some(dir) = &self.dir {
            self.fs.read_dir(dir).map_err(TsdbError::io("list", dir))?;
        }
        self.fs = Arc::new(ReadOnlyFs::new(self.fs));
        (self.lock, self.read_only) = (false, true);
        self.open()
    }

    /// How many exemplars are kept in memory; 0 for none.
    #[must_use]
    pub const fn max_exemplars(mut self, n: usize) -> Self {
        self.max_exemplars = n;
        self
    }

    /// How much older than the newest sample of all a sample may be that is older than the newest of
    /// its series; zero, the default, for not at all. See [`Db::set_out_of_order_window`].
    #[must_use]
    pub const fn out_of_order_window(mut self, window: Duration) -> Self {
        self.late_window = window;
        self
    }

    /// How many samples that came out of order are kept uncompressed per series; 32 by default, at
    /// least 4 and at most 255.
    #[must_use]
    pub const fn out_of_order_cap(mut self, samples: usize) -> Self {
        self.late_cap = samples;
        self
    }

    /// Whether new chunks of floats are XOR2, which keeps start timestamps and which Prometheus reads
    /// from 3.11 on; they are XOR by default. See [`Db::set_xor2_floats`].
    #[must_use]
    pub const fn xor2_floats(mut self, xor2: bool) -> Self {
        self.formats.xor2 = xor2;
        self
    }

    /// Whether start timestamps are logged, in records that Prometheus reads from 3.11 on; they are
    /// not by default. Needs [`DbBuilder::xor2_floats`].
    #[must_use]
    pub const fn store_start_timestamps(mut self, store: bool) -> Self {
        self.formats.logged_starts = store;
        self
    }

    /// Whether new chunks of histograms keep start timestamps, which Prometheus reads from 3.14 on;
    /// they do not by default.
    #[must_use]
    pub const fn histogram_start_timestamps(mut self, keep: bool) -> Self {
        self.formats.histogram_starts = keep;
        self
    }

    /// Whether a sample's start timestamp also becomes a sample of 0 at that time, where that is newer
    /// than what the series has; it does not by default. Prometheus'
    /// `created-timestamp-zero-ingestion`.
    #[must_use]
    pub const fn zeros_at_start_timestamps(mut self, zeros: bool) -> Self {
        self.formats.zeros_at_starts = zeros;
        self
    }

    /// Seed of the random parts of block names.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many threads open blocks, load the head snapshot and read the log, for the time that this
    /// takes and the calling one included; as many as there are processors by default. What comes
    /// out is the same for any number.
    #[must_use]
    pub const fn open_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// After how many bytes of the log a head snapshot is written, 64 MiB by default; it is also
    /// written when the database is closed, and when some of the log is older than a quarter of an
    /// hour. Starting then takes no longer than loading it and replaying what came after. `None`
    /// for none. For a large head, the interval grows to half of the snapshot's size, but to no
    /// more than four times what is given here.
    #[must_use]
    pub const fn head_snapshots(mut self, bytes: Option<u64>) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    pub(super) fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or_else(all).max(1)
    }

    /// Bytes that are kept free for checkpoints and retention on a full disk; by default a 64th of the
    /// free space, at most 16 MiB. 0 for none.
    #[must_use]
    pub const fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// Whether [`Db::verify`] gives blocks of Prometheus that it finds sound an integrity file, so
    /// that later damage is found out; it does not by default.
    #[must_use]
    pub const fn describe_foreign_blocks(mut self, describe: bool) -> Self {
        self.describe_blocks = describe;
        self
    }

    /// Who is told of what happens. Called from whatever thread it happens in, with locks held: it
    /// must return soon and must not call into the database.
    #[must_use]
    pub fn on_event(mut self, listener: Arc<dyn Fn(&Event) + Send + Sync>) -> Self {
        self.events = Events(Some(listener));
        self
    }

    pub(super) fn range_ms(&self) -> i64 {
        millis(self.block_range).max(1)
    }

    /// Whether the choices of formats go together.
    pub(super) fn check_formats(formats: Formats) -> Result<(), TsdbError> {
        if formats.logged_starts && !formats.xor2 {
            return Err(TsdbError::Invalid(XOR_WITH_STARTS.to_owned()));
        }
        Ok(())
    }

    /// Lengths of blocks.
    pub(super) fn compaction_rules(&self) -> Rules {
        const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
        let tenth = self.retention.filter(|r| !r.is_zero()).map(|r| r / 10);
        let max = self.max_block_range.unwrap_or_else(|| tenth.unwrap_or(LONGEST).min(LONGEST));
        let max = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        Rules::new(self.range_ms(), max, self.merge_overlapping)
    }

    /// Opens the database: takes the lock, clears unfinished work away, opens the blocks, replays
    /// and repairs the log. What was found is in [`Db::open_report`].
    ///
    /// # Errors
    /// The directory cannot be used: another process has it, the file system refuses, or it is
    /// written in a way that this version does not read. Damage is not an error; it is reported.
    pub fn open(self) -> Result<Db, TsdbError> {
        super::open::open(self)
    }

    /// Opens the blocks alone, which takes no longer than reading their descriptions. They answer
    /// queries at once, while [`HeadLoader::run`] loads the head, on any thread; until then appends
    /// are refused with [`AppendError::NotReady`], and maintenance does nothing.
    /// [`Db::open_progress`] says how far it has come.
    ///
    /// # Errors
    /// As [`DbBuilder::open`], what concerns the log excepted.
    ///
    /// [`AppendError::NotReady`]: firesteel_model::storage::AppendError::NotReady
    pub fn open_blocks(self) -> Result<(Db, HeadLoader), TsdbError> {
        super::open::open_blocks_first(self)
    }
}
