//! The samples that a scrape adds about itself.

use firesteel_model::{
    Labels, METRIC_NAME, Timestamp, Value,
    storage::{AppendError, AppendOptions, Appender, SeriesKey, SeriesRef},
};

/// A report series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportSeries {
    Up,
    Duration,
    Scraped,
    PostRelabel,
    SeriesAdded,
    Timeout,
    SampleLimit,
    BodySize,
}

impl ReportSeries {
    const COUNT: usize = 8;

    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Duration => "scrape_duration_seconds",
            Self::Scraped => "scrape_samples_scraped",
            Self::PostRelabel => "scrape_samples_post_metric_relabeling",
            Self::SeriesAdded => "scrape_series_added",
            Self::Timeout => "scrape_timeout_seconds",
            Self::SampleLimit => "scrape_sample_limit",
            Self::BodySize => "scrape_body_size_bytes",
        }
    }
}

/// The report series of a target.
#[derive(Debug)]
pub(crate) struct Report {
    target: Labels,
    /// Their references, once they are stored.
    series: [Option<SeriesRef>; ReportSeries::COUNT],
}

impl Report {
    pub(crate) fn new(target: &Labels) -> Self {
        Self { target: target.clone(), series: [None; ReportSeries::COUNT] }
    }

    /// Appends report samples. Samples that come too late are left out silently: the target may be
    /// scraped by a new loop already. With `known_only`, series that were never stored stay out.
    pub(crate) fn append(
        &mut self,
        app: &mut dyn Appender,
        t: Timestamp,
        values: &[(ReportSeries, f64)],
        known_only: bool,
    ) -> Result<(), AppendError> {
        // Those of a target that ends say something about the newest sample only.
        let options = AppendOptions { reject_out_of_order: known_only, ..AppendOptions::default() };
        for &(series, value) in values {
            let Some(slot) = self.series.get_mut(series as usize) else { continue };
            let value = Value::Float(value);
            let mut result = match *slot {
                Some(known) => app.append(SeriesKey::Ref(known), t, value, &options),
                None if known_only => continue,
                None => Err(AppendError::UnknownSeries),
            };
            if matches!(result, Err(AppendError::UnknownSeries)) && !known_only {
                let name = [(METRIC_NAME, series.name())];
                let labels: Labels = self.target.iter().chain(name).collect();
                result = app.append(SeriesKey::Labels(&labels), t, value, &options);
            }
            match result {
                Ok(stored) => *slot = Some(stored),
                Err(
                    AppendError::OutOfOrder
                    | AppendError::DuplicateTimestamp
                    | AppendError::UnknownSeries,
                ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
