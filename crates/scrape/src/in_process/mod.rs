//! A program's own metrics, appended without HTTP and without text.

#[cfg(feature = "prometheus-client")]
mod prometheus_client;
#[cfg(feature = "metrics")]
mod recorder;

use std::{fmt, sync::Arc, time::Duration};

use firesteel_exposition::{PROTOBUF_CONTENT_TYPE, ParserOptions, encode_protobuf};
use firesteel_model::{
    Labels, Timestamp,
    clock::ManualClock,
    metrics::{Collect, Families},
    storage::{AppendError, Appendable},
};
#[cfg(feature = "metrics")]
pub use recorder::Recorder;

use crate::{IngestSettings, Ingested, Ingester, Page, Scrape, ScrapeError};

/// Metrics in this program: Firesteel's own ([`Collect`]) and, with the features of these names, the
/// registry of `prometheus-client` and `Recorder` for the macros of `metrics`.
pub trait Source {
    /// Appends its families to `out`, as protobuf messages each behind its length.
    ///
    /// # Errors
    /// A metric does not let itself be read.
    fn write_families(&self, out: &mut Vec<u8>) -> Result<(), ScrapeError>;
}

impl Source for dyn Collect + '_ {
    fn write_families(&self, out: &mut Vec<u8>) -> Result<(), ScrapeError> {
        let mut families = Families::new();
        self.collect(&mut families);
        encode_protobuf(&families.into_sorted(), out);
        Ok(())
    }
}

/// Appends a program's own metrics to a storage as a scrape would: series that are gone get staleness
/// markers, histograms may be native, exemplars, start timestamps and metadata come along. What is
/// known about a series is kept (see [`Ingester`]), so that the next time costs little.
pub struct InProcess {
    ingester: Ingester,
    page: Vec<u8>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("ingester", &self.ingester).finish_non_exhaustive()
    }
}

impl InProcess {
    /// All series get these labels. There are no `up` and `scrape_*` samples.
    #[must_use]
    pub fn new(labels: &Labels) -> Self {
        let parser = ParserOptions { start_timestamps: true, ..ParserOptions::default() };
        let settings = IngestSettings {
            honor_labels: true,
            parser,
            append_metadata: true,
            report: false,
            ..IngestSettings::default()
        };
        Self { ingester: Ingester::new(labels, Arc::new(settings)), page: Vec::new() }
    }

    /// Appends what the source says now, in one transaction, at `time` in milliseconds.
    ///
    /// # Errors
    /// The source cannot be read, or the storage refuses; nothing is stored then but staleness
    /// markers.
    pub fn append<S: Source + ?Sized>(
        &mut self,
        source: &S,
        appendable: &dyn Appendable,
        time: Timestamp,
    ) -> Result<Ingested, ScrapeError> {
        self.page.clear();
        let written = source.write_families(&mut self.page);
        let page = Page { body: &self.page, content_type: PROTOBUF_CONTENT_TYPE };
        let page = written.map(|()| page);
        let scrape = Scrape { time, started: Duration::ZERO, page };
        let mut done = self.ingester.ingest(appendable, &ManualClock::new(time), scrape);
        match (done.error.take(), done.storage_error.take()) {
            (Some(e), _) => Err(e),
            (None, Some(e)) => Err(e.into()),
            (None, None) => Ok(done),
        }
    }

    /// Ends all series with staleness markers.
    ///
    /// # Errors
    /// The storage refuses; nothing is stored then.
    pub fn end(&mut self, appendable: &dyn Appendable, time: Timestamp) -> Result<(), AppendError> {
        self.ingester.end(appendable, time)
    }
}
