//! Work that a failure of the file system ends, and what is there after a crash.

use std::sync::Arc;

use firesteel_model::clock::ManualClock;
use firesteel_tsdb::{
    Db, DbBuilder, Durability,
    fs::{Crash, Fault, SimFs},
};

type Failure = Box<dyn std::error::Error>;

/// What is done, and what of it has to be there.
#[derive(Clone, Copy)]
pub struct CrashTest {
    pub builder: fn(&SimFs, &Arc<ManualClock>) -> DbBuilder,
    /// Commits batch after batch and calls the last argument after each, with its number.
    pub work: fn(&Db, &ManualClock, &mut dyn FnMut(i64)) -> Result<(), Failure>,
    /// Checks that whole batches are there, in order and without gaps; returns how many.
    pub check_prefix: fn(&Db) -> i64,
}

impl CrashTest {
    /// Works until `fault`, crashes, and opens again, twice. Returns the last database, how many
    /// batches it has, and how many calls to the file system the work took.
    pub fn run(
        self,
        fs: &SimFs,
        fault: Option<Fault>,
        mode: Crash,
        durability: Durability,
    ) -> (Db, i64, u64) {
        let clock = Arc::new(ManualClock::new(0));
        let open = || (self.builder)(fs, &clock).durability(durability).open();
        if let Some(fault) = fault {
            fs.fail(fault);
        }
        // What a sync could not bring to disk may be gone although the process was merely killed;
        // it is written again, but here that fails, too.
        let (mut acknowledged, mut synced, mut sync_failed) = (0, 0, false);
        if let Ok(db) = open() {
            let done = (self.work)(&db, &clock, &mut |n| {
                acknowledged = n + 1;
                if durability == Durability::Sync {
                    synced = n + 1;
                }
            });
            match done {
                Ok(()) => synced = acknowledged,
                Err(error) => sync_failed = error.to_string().contains("sync"),
            }
        }
        let calls = fs.calls();
        fs.crash(mode);
        let db = open().unwrap_or_else(|e| panic!("{fault:?} {mode:?}: {e}"));
        let found = (self.check_prefix)(&db);
        let least = if mode == Crash::KeepAll && !sync_failed { acknowledged } else { synced };
        assert!(
            found >= least && found <= acknowledged + 1,
            "{fault:?} {mode:?}: {found} of {acknowledged}, at least {least}; {}",
            db.open_report()
        );
        // A second start finds the same, and nothing to do.
        drop(db);
        let db = open().unwrap();
        assert!(db.open_report().damage.is_empty() && db.open_report().unclosed_records == 0);
        assert_eq!((self.check_prefix)(&db), found);
        (db, found, calls)
    }

    /// How many calls the work takes where nothing fails.
    pub fn calls(self) -> u64 {
        self.run(&SimFs::new(), None, Crash::KeepAll, Durability::Os).2
    }

    /// Every `step`-th call to the file system is the last that works. Calls `after` with each
    /// database and the number of its batches.
    pub fn at_any_call(self, step: usize, after: impl Fn(&SimFs, Db, i64)) {
        let step = if cfg!(debug_assertions) { step } else { 1 };
        for last in (0..self.calls()).step_by(step) {
            let (kind, error) = (None, std::io::ErrorKind::Other);
            let fault = Fault { kind, after: last, times: u64::MAX, error };
            let mode = match last % 3 {
                0 => Crash::KeepAll,
                1 => Crash::DropUnsynced,
                _ => Crash::Random { seed: last },
            };
            let durability = if last % 2 == 0 { Durability::Sync } else { Durability::default() };
            let fs = SimFs::new();
            let (db, found, _) = self.run(&fs, Some(fault), mode, durability);
            after(&fs, db, found);
        }
    }
}
