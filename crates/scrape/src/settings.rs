//! How pages of a job are taken in.

use std::time::Duration;

use firesteel_exposition::{Format, ParserOptions};
use firesteel_model::{ValidationScheme, histogram::MAX_SCHEMA, relabel::RelabelConfig};

/// What a job's configuration says about its pages. Limits of 0 are none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IngestSettings {
    /// Whether scraped labels win over the target's; otherwise they become `exported_...`.
    pub honor_labels: bool,
    /// Whether scraped timestamps are used.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own get staleness markers.
    pub track_timestamps_staleness: bool,
    /// Samples after relabelling.
    pub sample_limit: u64,
    /// Labels of a series.
    pub label_limit: u64,
    /// Bytes of a label's name.
    pub label_name_length_limit: u64,
    /// Bytes of a label's value.
    pub label_value_length_limit: u64,
    /// Rules for every series; the report samples are spared.
    pub metric_relabel: Vec<RelabelConfig>,
    /// Which names are valid.
    pub scheme: ValidationScheme,
    /// The format of replies that do not name a known one.
    pub fallback: Option<Format>,
    /// How histograms are read, and whether start timestamps go to the storage.
    pub parser: ParserOptions,
    /// Buckets of a native histogram; one with more gets a coarser resolution. 0 means no limit.
    pub bucket_limit: u64,
    /// The finest resolution of a native histogram, -4 to 8.
    pub max_schema: i32,
    /// Whether `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are
    /// stored.
    pub extra_metrics: bool,
    /// The scrape's timeout, for `scrape_timeout_seconds`.
    pub timeout: Duration,
    /// Whether `up` and the other samples about the scrape itself are stored.
    pub report: bool,
    /// Whether metadata goes to the storage along with new series.
    pub append_metadata: bool,
    /// Whether series get the labels `__type__` and `__unit__` from their family's metadata.
    pub type_and_unit_labels: bool,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            metric_relabel: Vec::new(),
            scheme: ValidationScheme::Utf8,
            fallback: None,
            parser: ParserOptions { ignore_native_histograms: true, ..ParserOptions::default() },
            bucket_limit: 0,
            max_schema: MAX_SCHEMA,
            extra_metrics: false,
            timeout: Duration::from_secs(10),
            report: true,
            append_metadata: false,
            type_and_unit_labels: false,
        }
    }
}

impl IngestSettings {
    /// Whether what is known about a target's lines stays true under `other`: the same text leads
    /// to the same series.
    pub(crate) fn same_series(&self, other: &Self) -> bool {
        let limits = |s: &Self| {
            [s.label_limit, s.label_name_length_limit, s.label_value_length_limit, s.sample_limit]
        };
        self.honor_labels == other.honor_labels
            && self.metric_relabel == other.metric_relabel
            && self.scheme == other.scheme
            && self.track_timestamps_staleness == other.track_timestamps_staleness
            && self.honor_timestamps == other.honor_timestamps
            && self.type_and_unit_labels == other.type_and_unit_labels
            && limits(self) == limits(other)
    }
}
