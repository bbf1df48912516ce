//! The storages that scripts run on: memory, a head, blocks, and a block with a head beside it.

use std::{path::Path, sync::Arc, time::Duration};

use firesteel_model::{
    Timestamp,
    clock::ManualClock,
    storage::{Queryable, memory::MemoryStorage},
};
use firesteel_promql::promqltest::{Loaded, append, give_hints};
use firesteel_tsdb::{Db, DbBuilder, fs::SimFs};

/// Where the samples of a script lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Vectors in memory.
    Memory,
    /// The head of a database.
    Head,
    /// Blocks only.
    Blocks,
    /// The older half in a block, the rest in the head.
    BlockAndHead,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Head, Self::Blocks, Self::BlockAndHead];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Head => "head",
            Self::Blocks => "blocks",
            Self::BlockAndHead => "block and head",
        }
    }
}

/// What a script has loaded, put in its place when it is first asked for.
pub(crate) struct Storage {
    place: Place,
    /// In the order in which it came.
    loads: Vec<Vec<Loaded>>,
    ready: Option<Box<dyn Queryable>>,
}

impl Storage {
    pub(crate) const fn new(place: Place) -> Self {
        Self { place, loads: Vec::new(), ready: None }
    }

    pub(crate) fn clear(&mut self) {
        self.loads.clear();
        self.ready = None;
    }

    pub(crate) fn load(&mut self, series: &[Loaded]) {
        self.loads.push(series.to_vec());
        self.ready = None;
    }

    pub(crate) fn queryable(&mut self) -> Result<&dyn Queryable, String> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => self.build()?,
        };
        Ok(&**self.ready.insert(ready))
    }

    fn build(&self) -> Result<Box<dyn Queryable>, String> {
        match self.place {
            Place::Memory => self.memory(),
            Place::Head => {
                let db = open(&SimFs::new())?;
                self.append_where(&db, |_| true)?;
                Ok(Box::new(db))
            }
            Place::Blocks => Ok(Box::new(self.blocks(|_| true)?)),
            Place::BlockAndHead => {
                let split = self.middle();
                let db = self.blocks(|t| t <= split)?;
                self.append_where(&db, |t| t > split)?;
                Ok(Box::new(db))
            }
        }
    }

    fn memory(&self) -> Result<Box<dyn Queryable>, String> {
        let storage = MemoryStorage::new();
        for load in &self.loads {
            let mut series = load.clone();
            give_hints(&mut series);
            append(&series, &storage)?;
        }
        Ok(Box::new(storage))
    }

    /// A database with these samples in blocks, and nothing in its head.
    fn blocks(&self, wanted: impl Fn(Timestamp) -> bool) -> Result<Db, String> {
        let fs = SimFs::new();
        let whole = open(&fs)?;
        self.append_where(&whole, wanted)?;
        if whole.time_range().is_none() {
            return Ok(whole);
        }
        whole.snapshot(Path::new(SNAPSHOT), true).map_err(|e| e.to_string())?;
        drop(whole);
        let db = builder(SNAPSHOT, &fs).open().map_err(|e| e.to_string())?;
        assert!(!db.blocks().is_empty(), "the snapshot has no block");
        Ok(db)
    }

    fn append_where(&self, db: &Db, wanted: impl Fn(Timestamp) -> bool) -> Result<(), String> {
        for load in &self.loads {
            let mut load = load.clone();
            for series in &mut load {
                series.samples.retain(|s| wanted(s.t));
            }
            append(&load, db)?;
        }
        Ok(())
    }

    /// The middle of all times.
    fn middle(&self) -> Timestamp {
        let times = || self.loads.iter().flatten().flat_map(|s| &s.samples).map(|s| s.t);
        let (min, max) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        min + (max - min) / 2
    }
}

const DIR: &str = "/data";
const SNAPSHOT: &str = "/snapshot";

fn open(fs: &SimFs) -> Result<Db, String> {
    builder(DIR, fs).open().map_err(|e| e.to_string())
}

/// As Prometheus' own scripts run: blocks of a day, kept for ever, with start timestamps.
fn builder(dir: &str, fs: &SimFs) -> DbBuilder {
    Db::builder(dir)
        .fs(Arc::new(fs.clone()))
        .clock(Arc::new(ManualClock::new(0)))
        .block_range(Duration::from_secs(24 * 3600))
        .retention(None)
        .xor2_floats(true)
        .store_start_timestamps(true)
        .histogram_start_timestamps(true)
        .head_snapshots(None)
        .reserve(0)
        .seed(1)
        .open_threads(1)
}
