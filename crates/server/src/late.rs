//! Storage that opens later: the HTTP server answers while the WAL is still being replayed.

use std::sync::{Arc, OnceLock};

use firesteel_api::ExemplarSource;
use firesteel_model::{
    Exemplar, Labels, Matcher, Timestamp, Value,
    metrics::{Collect, Families},
    storage::{
        AppendError, AppendOptions, Appendable, Appender, CommitStats, Querier, Queryable,
        SeriesKey, SeriesRef, StorageError,
    },
};
use firesteel_tsdb::Db;

const NOT_READY: &str = "the write-ahead log is being replayed";

/// A place for a [`Db`] that is not open yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct LateDb(Arc<OnceLock<Db>>);

impl LateDb {
    /// Puts the open database in. Only the first counts.
    pub(crate) fn set(&self, db: Db) {
        let _ = self.0.set(db);
    }

    pub(crate) fn db(&self) -> Option<&Db> {
        self.0.get()
    }
}

impl Queryable for LateDb {
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError> {
        match self.db() {
            Some(db) => db.querier(mint, maxt),
            None => Err(StorageError::NotReady(NOT_READY.to_owned())),
        }
    }
}

impl Appendable for LateDb {
    fn appender(&self) -> Box<dyn Appender + '_> {
        self.db().map_or_else(|| Box::new(NoAppender) as Box<dyn Appender>, Appendable::appender)
    }
}

impl ExemplarSource for LateDb {
    fn exemplars(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        selectors: &[Vec<Matcher>],
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        let found = self.db().map(|db| db.exemplars(mint, maxt, selectors)).unwrap_or_default();
        found.into_iter().map(|e| (e.series, e.exemplars)).collect()
    }
}

impl Collect for LateDb {
    fn collect(&self, out: &mut Families) {
        if let Some(db) = self.db() {
            db.collect(out);
        }
    }
}

struct NoAppender;

impl Appender for NoAppender {
    fn append(
        &mut self,
        _: SeriesKey<'_>,
        _: Timestamp,
        _: Value<'_>,
        _: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        Err(AppendError::NotReady(NOT_READY.to_owned()))
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        Err(AppendError::NotReady(NOT_READY.to_owned()))
    }
}
