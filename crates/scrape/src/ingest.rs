//! From a page to samples in a storage: one transaction per scrape, no I/O of its own.

use std::{sync::Arc, time::Duration};

use firesteel_exposition::{Entry, ExemplarEntry, Format, HistogramSample, Parser, Series};
use firesteel_model::{
    Exemplar, Labels, LabelsBuilder, Metadata, MetricType, Timestamp, Value,
    clock::Clock,
    stale_nan,
    storage::{AppendError, AppendOptions, Appendable, Appender, SeriesKey, SeriesRef},
};

use crate::{
    FamilyMetadata, IngestSettings, ScrapeError,
    cache::{Cache, Cursor, EntryId, Kind},
    metadata::{Line, MetadataStore},
    native,
    report::{Report, ReportSeries},
    series::{public_labels, stored_labels},
};

/// A sample may be this far ahead of the scrape.
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// What came back from a target.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The time of the scrape: what samples without a timestamp get.
    pub time: Timestamp,
    /// Reading of the clock's monotonic side when the scrape began.
    pub started: Duration,
    /// The page and its `Content-Type`, or why there is none.
    pub page: Result<Page<'a>, ScrapeError>,
}

/// A page as it was received, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Its bytes. An empty page is a good one without samples.
    pub body: &'a [u8],
    /// The header, empty where there was none.
    pub content_type: &'a str,
}

/// What became of a scrape.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ingested {
    /// Why the scrape failed; `None` means `up` is 1.
    pub error: Option<ScrapeError>,
    /// Samples on the page.
    pub scraped: u64,
    /// Samples that relabelling left.
    pub post_relabel: u64,
    /// Series that were not there on the last page.
    pub series_added: u64,
    /// Samples older than their series' newest; not stored.
    pub out_of_order: u64,
    /// Samples for a time that has another value already; not stored.
    pub duplicates: u64,
    /// Samples too old, or more than ten minutes ahead; not stored.
    pub out_of_bounds: u64,
    /// Exemplars older than their series' newest; not stored.
    pub exemplars_out_of_order: u64,
    /// From the scrape's beginning to its end.
    pub duration: Duration,
    /// Why nothing of this scrape was stored, not even its `up`.
    pub storage_error: Option<AppendError>,
    /// Why the page's `Content-Type` was not trusted.
    pub warning: Option<String>,
}

/// Takes in the pages of one target.
///
/// The series lines of the last page are kept, so that a page that looks the same is taken in
/// without parsing labels: see the README for figures. Not async and not cheap enough for an async
/// runtime's threads.
#[derive(Debug)]
pub struct Ingester {
    target: Labels,
    settings: Arc<IngestSettings>,
    cache: Cache,
    /// Series under earlier settings that are owed a staleness marker.
    orphans: Vec<SeriesRef>,
    /// The format of the last page; texts of another are not predicted.
    format: Option<Format>,
    report: Report,
    metadata: Arc<MetadataStore>,
    scratch: LabelsBuilder,
}

impl Ingester {
    /// For a target with these labels (those that begin with `__` are left out).
    #[must_use]
    pub fn new(target: &Labels, settings: Arc<IngestSettings>) -> Self {
        let target = public_labels(target);
        Self {
            report: Report::new(&target),
            target,
            settings,
            cache: Cache::default(),
            orphans: Vec::new(),
            format: None,
            metadata: Arc::default(),
            scratch: LabelsBuilder::new(),
        }
    }

    /// Changes the settings. What is known about the target's series is kept where it stays true.
    pub fn set_settings(&mut self, settings: Arc<IngestSettings>) {
        if !self.settings.same_series(&settings) {
            // The next page tells which of the series go on.
            self.cache.begin();
            self.cache.fail(&mut self.orphans);
            self.cache = Cache::default();
        }
        self.settings = settings;
    }

    /// The metadata of the target's metric families, sorted by name.
    #[must_use]
    pub fn metadata(&self) -> Vec<FamilyMetadata> {
        self.metadata.list()
    }

    /// Whether the last page was taken in whole.
    pub(crate) const fn last_was_good(&self) -> bool {
        self.cache.last_was_good()
    }

    pub(crate) fn metadata_store(&self) -> Arc<MetadataStore> {
        Arc::clone(&self.metadata)
    }

    /// Bytes that are kept about the target's series.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.cache.memory()
    }

    /// Takes in a scrape: its samples, markers for the series that are gone, and the report samples,
    /// in one transaction. A page that cannot be taken in whole leaves nothing but the markers for
    /// all series and the report.
    pub fn ingest(
        &mut self,
        appendable: &dyn Appendable,
        clock: &dyn Clock,
        scrape: Scrape<'_>,
    ) -> Ingested {
        let mut out = Ingested::default();
        let mut app = appendable.appender();
        let body_bytes = match &scrape.page {
            Ok(page) => page.body.len() as f64,
            Err(ScrapeError::BodySize) => -1.0,
            Err(_) => 0.0,
        };
        let mut stale = std::mem::take(&mut self.orphans);
        match scrape.page {
            Ok(page) if page.body.is_empty() => {
                self.cache.begin();
                self.cache.fail(&mut stale);
            }
            Ok(page) => match self.page(&mut *app, page, scrape.time, &mut out) {
                Ok(()) => self.finish_page(&mut stale),
                Err(e) => {
                    drop(app);
                    app = appendable.appender();
                    self.cache.fail(&mut stale);
                    out.error = Some(e);
                }
            },
            Err(e) => {
                self.cache.begin();
                self.cache.fail(&mut stale);
                out.error = Some(e);
            }
        }
        let stored = append_markers(&mut *app, &stale, scrape.time).and_then(|()| {
            out.duration = clock.monotonic().saturating_sub(scrape.started);
            let values = self.report_values(&out, body_bytes);
            self.report.append(&mut *app, scrape.time, &values, false)?;
            app.commit().map(drop)
        });
        if let Err(e) = stored {
            out.duration = clock.monotonic().saturating_sub(scrape.started);
            out.storage_error = Some(e);
        }
        out
    }

    fn report_values(&self, out: &Ingested, body_bytes: f64) -> Vec<(ReportSeries, f64)> {
        if !self.settings.report {
            return Vec::new();
        }
        let up = if out.error.is_none() { 1.0 } else { 0.0 };
        let mut values = vec![
            (ReportSeries::Up, up),
            (ReportSeries::Duration, out.duration.as_secs_f64()),
            (ReportSeries::Scraped, out.scraped as f64),
            (ReportSeries::PostRelabel, out.post_relabel as f64),
            (ReportSeries::SeriesAdded, out.series_added as f64),
        ];
        if self.settings.extra_metrics {
            values.extend([
                (ReportSeries::Timeout, self.settings.timeout.as_secs_f64()),
                (ReportSeries::SampleLimit, self.settings.sample_limit as f64),
                (ReportSeries::BodySize, body_bytes),
            ]);
        }
        values
    }

    /// Ends the target: markers for all its series and for the report samples, as of `time`.
    ///
    /// # Errors
    /// The storage refuses; nothing is stored then.
    pub fn end(&mut self, appendable: &dyn Appendable, time: Timestamp) -> Result<(), AppendError> {
        let mut app = appendable.appender();
        let mut stale = std::mem::take(&mut self.orphans);
        self.cache.begin();
        self.cache.fail(&mut stale);
        append_markers(&mut *app, &stale, time)?;
        let values = self.report_values(&Ingested::default(), 0.0);
        let values: Vec<_> = values.into_iter().map(|(s, _)| (s, stale_nan())).collect();
        self.report.append(&mut *app, time, &values, true)?;
        app.commit().map(drop)
    }

    fn finish_page(&mut self, stale: &mut Vec<SeriesRef>) {
        let mut lost = Vec::new();
        self.cache.finish(stale, &mut lost);
        for line in lost {
            if let Some(family) = self.format.and_then(|format| format.family_of(&line)) {
                self.metadata.lose(&family);
            }
        }
        self.metadata.next_scrape();
    }

    fn page(
        &mut self,
        app: &mut dyn Appender,
        page: Page<'_>,
        time: Timestamp,
        out: &mut Ingested,
    ) -> Result<(), ScrapeError> {
        let cursor = self.cache.begin();
        let chosen = Format::from_content_type(page.content_type, self.settings.fallback)?;
        out.warning = chosen.warning;
        let predict = self.format == Some(chosen.format);
        self.format = Some(chosen.format);
        let mut reader = PageReader {
            app,
            cache: &mut self.cache,
            cursor,
            settings: &self.settings,
            target: &self.target,
            metadata: &self.metadata,
            scratch: &mut self.scratch,
            format: chosen.format,
            time,
            appended: 0,
            limit_hit: false,
            bucket_limit_hit: false,
            exemplars: Vec::new(),
            family: None,
            unit: Default::default(),
            out,
        };
        reader.read(page.body, predict)?;
        if reader.limit_hit {
            return Err(ScrapeError::SampleLimit);
        }
        if reader.bucket_limit_hit {
            return Err(ScrapeError::BucketLimit);
        }
        Ok(())
    }
}

/// Appends staleness markers. A series that has something newer needs none.
fn append_markers(
    app: &mut dyn Appender,
    series: &[SeriesRef],
    time: Timestamp,
) -> Result<(), AppendError> {
    let options = AppendOptions { reject_out_of_order: true, ..AppendOptions::default() };
    for &series in series {
        match app.append(SeriesKey::Ref(series), time, Value::Float(stale_nan()), &options) {
            Ok(_) => {}
            Err(e) if e.is_sample() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The state of one page being taken in.
struct PageReader<'r, 'a> {
    app: &'r mut dyn Appender,
    cache: &'r mut Cache,
    cursor: Cursor,
    settings: &'r IngestSettings,
    target: &'r Labels,
    metadata: &'r MetadataStore,
    scratch: &'r mut LabelsBuilder,
    format: Format,
    time: Timestamp,
    /// Samples given to the storage, for the limit.
    appended: u64,
    limit_hit: bool,
    bucket_limit_hit: bool,
    exemplars: Vec<Exemplar>,
    /// The family of the last metadata line.
    family: Option<std::borrow::Cow<'a, str>>,
    /// Its unit, if series show units.
    unit: std::borrow::Cow<'a, str>,
    out: &'r mut Ingested,
}

/// A sample without its series.
#[derive(Clone, Copy)]
struct Sample<'v> {
    value: Value<'v>,
    timestamp: Option<Timestamp>,
    start: Option<Timestamp>,
    kind: MetricType,
}

impl<'a> PageReader<'_, 'a> {
    fn read(&mut self, body: &'a [u8], predict: bool) -> Result<(), ScrapeError> {
        let mut parser = Parser::with_options(self.format, body, self.settings.parser);
        loop {
            // Fast path: the line that followed last time.
            if predict && self.read_predicted(&mut parser)? {
                continue;
            }
            let Some(entry) = parser.next_entry()? else { return Ok(()) };
            let line = match entry {
                Entry::Series(series) => {
                    self.float_series(&series)?;
                    continue;
                }
                Entry::Histogram(sample) => {
                    self.histogram(*sample)?;
                    continue;
                }
                Entry::Type { family, kind } => (family, Some(kind), None, None),
                Entry::Help { family, text } => (family, None, Some(text), None),
                Entry::Unit { family, unit } => (family, None, None, Some(unit)),
                _ => continue,
            };
            let (family, kind, help, unit) = line;
            let said = match (kind, &help, &unit) {
                (Some(kind), _, _) => Line::Type(kind),
                (_, Some(help), _) => Line::Help(help),
                (_, _, Some(unit)) => Line::Unit(unit),
                _ => continue,
            };
            self.metadata_line(parser.entry_text(), &family, kind, said);
            if let Some(unit) = unit {
                self.unit = unit;
            } else if self.family.as_ref() != Some(&family) {
                self.unit = Default::default();
            }
            self.family = Some(family);
        }
    }

    /// Reads the entry that is predicted, if it is there.
    #[inline]
    fn read_predicted(&mut self, parser: &mut Parser<'a>) -> Result<bool, ScrapeError> {
        let Some((id, kind, text)) = self.cache.predicted(self.cursor) else { return Ok(false) };
        if let Kind::Metadata(said) = kind {
            // Units are read anew on each page.
            if self.settings.type_and_unit_labels || !parser.skip_known(text, said) {
                return Ok(false);
            }
            if self.settings.append_metadata {
                self.family = self.format.family_of(text).map(Into::into);
            }
            self.cache.see(&mut self.cursor, id);
            return Ok(true);
        }
        let kind = parser.kind();
        let Some(known) = parser.next_known(text) else { return Ok(false) };
        let known = known?;
        let value = Value::Float(known.value);
        let sample = Sample { value, timestamp: known.timestamp, start: None, kind };
        take_exemplar(&mut self.exemplars, known.exemplar.as_ref());
        self.known(id, sample)?;
        Ok(true)
    }

    fn metadata_line(
        &mut self,
        text: &[u8],
        family: &str,
        kind: Option<MetricType>,
        said: Line<'_>,
    ) {
        if let Some(id) = self.cache.find_from(self.cursor, text) {
            self.cache.see(&mut self.cursor, id);
        } else {
            self.metadata.add(family, said);
            self.cache.insert(&mut self.cursor, text, Kind::Metadata(kind), SeriesRef(0));
        }
    }

    /// A series that was parsed because it was not predicted.
    fn float_series(&mut self, series: &Series<'_, 'a>) -> Result<(), ScrapeError> {
        take_exemplar(&mut self.exemplars, series.exemplar().as_ref());
        self.series(series, Value::Float(series.value))
    }

    /// A native histogram: made coarser where the settings say so.
    fn histogram(&mut self, mut sample: HistogramSample<'_, 'a>) -> Result<(), ScrapeError> {
        self.exemplars.clear();
        // Without a time of their own they could not be told from those of the last scrape.
        self.exemplars.extend(sample.exemplars.drain(..).filter(|e| e.timestamp.is_some()));
        self.exemplars
            .sort_by(|a, b| a.timestamp.cmp(&b.timestamp).then(a.value.total_cmp(&b.value)));
        let (max_schema, limit) = (self.settings.max_schema, self.settings.bucket_limit);
        match native::fit(&mut sample.histogram, max_schema, limit) {
            Ok(()) => self.series(&sample.series, sample.histogram.value()),
            Err(ScrapeError::BucketLimit) => {
                self.bucket_limit_hit = true;
                self.refused(&sample.series)
            }
            Err(e) => Err(e),
        }
    }

    fn series(&mut self, series: &Series<'_, 'a>, value: Value<'_>) -> Result<(), ScrapeError> {
        let sample = Sample {
            value,
            timestamp: series.timestamp,
            start: series.start_timestamp(),
            kind: series.kind(),
        };
        match self.cache.find_from(self.cursor, series.raw) {
            Some(id) => self.known(id, sample),
            None => {
                self.out.scraped += 1;
                self.new_series(series, sample)
            }
        }
    }

    /// Counts a sample that is not stored as the scrape will fail anyway.
    fn refused(&mut self, series: &Series<'_, 'a>) -> Result<(), ScrapeError> {
        self.out.scraped += 1;
        let dropped = match self.cache.find_from(self.cursor, series.raw) {
            Some(id) => self.cache.see(&mut self.cursor, id).kind != Kind::Series,
            None => self.labels_of(series)?.is_none(),
        };
        self.out.post_relabel += u64::from(!dropped);
        Ok(())
    }

    /// A sample of a series that the last pages had.
    #[inline]
    fn known(&mut self, id: EntryId, sample: Sample<'_>) -> Result<(), ScrapeError> {
        self.out.scraped += 1;
        let known = self.cache.see(&mut self.cursor, id);
        if known.kind != Kind::Series {
            return Ok(());
        }
        self.out.post_relabel += 1;
        let (t, explicit) = self.time_of(sample);
        if known.repeated && !explicit {
            self.out.duplicates += 1;
            return Ok(());
        }
        let result = match self.append(SeriesKey::Ref(known.series), t, sample, None) {
            Some(Err(AppendError::UnknownSeries)) => {
                return self.forgotten(id, sample, t, explicit);
            }
            Some(result) => result,
            None => return Ok(()),
        };
        let stored = self.check(result)?;
        if let Some(series) = stored
            && series != known.series
        {
            self.cache.set_series(id, series);
        }
        if stored.is_some() && self.tracks(explicit) {
            self.cache.track(id);
        }
        Ok(())
    }

    /// A series that the storage has dropped: comes again with its labels.
    #[cold]
    fn forgotten(
        &mut self,
        id: EntryId,
        sample: Sample<'_>,
        t: Timestamp,
        explicit: bool,
    ) -> Result<(), ScrapeError> {
        let Self { cache, target, settings, scratch, unit, .. } = self;
        let labels = self.format.read_series(cache.text(id), sample.kind, |series| {
            stored_labels(series, unit, target, settings, scratch)
        })??;
        let Some(labels) = labels else { return Ok(()) };
        // The sample was counted against the limit already.
        self.appended = self.appended.saturating_sub(1);
        let Some(result) = self.append(SeriesKey::Labels(&labels), t, sample, None) else {
            return Ok(());
        };
        if let Some(series) = self.check(result)? {
            self.cache.set_series(id, series);
            if self.tracks(explicit) {
                self.cache.track(id);
            }
        }
        Ok(())
    }

    fn labels_of(&mut self, series: &Series<'_, 'a>) -> Result<Option<Labels>, ScrapeError> {
        stored_labels(series, &self.unit, self.target, self.settings, self.scratch)
    }

    fn new_series(
        &mut self,
        series: &Series<'_, 'a>,
        sample: Sample<'_>,
    ) -> Result<(), ScrapeError> {
        let Some(labels) = self.labels_of(series)? else {
            self.cache.insert(&mut self.cursor, series.raw, Kind::Dropped, SeriesRef(0));
            return Ok(());
        };
        self.out.post_relabel += 1;
        let (t, explicit) = self.time_of(sample);
        let metadata = self.metadata_of(&labels);
        let key = SeriesKey::Labels(&labels);
        let Some(result) = self.append(key, t, sample, metadata.as_ref()) else {
            return Ok(());
        };
        let Some(stored) = self.check(result)? else { return Ok(()) };
        self.out.series_added += 1;
        let id = self.cache.insert(&mut self.cursor, series.raw, Kind::Series, stored);
        if let Some(id) = id.filter(|_| self.tracks(explicit)) {
            self.cache.track(id);
        }
        Ok(())
    }

    /// The metadata to store along with a new series, where that is wanted.
    fn metadata_of(&self, labels: &Labels) -> Option<Metadata> {
        let family = self.family.as_deref().filter(|_| self.settings.append_metadata)?;
        let metadata = self.metadata.get(family)?;
        let name = labels.metric_name()?;
        is_part_of(name, family, metadata.kind).then_some(metadata)
    }

    #[inline]
    fn time_of(&self, sample: Sample<'_>) -> (Timestamp, bool) {
        match sample.timestamp.filter(|_| self.settings.honor_timestamps) {
            Some(t) => (t, true),
            None => (self.time, false),
        }
    }

    #[inline]
    fn tracks(&self, explicit: bool) -> bool {
        !explicit || self.settings.track_timestamps_staleness
    }

    /// Gives a sample to the storage; `None` once the limit is reached.
    #[inline]
    fn append(
        &mut self,
        key: SeriesKey<'_>,
        t: Timestamp,
        sample: Sample<'_>,
        metadata: Option<&Metadata>,
    ) -> Option<Result<SeriesRef, AppendError>> {
        self.appended += 1;
        if self.settings.sample_limit > 0 && self.appended > self.settings.sample_limit {
            self.limit_hit = true;
            return None;
        }
        if t > self.time.saturating_add(MAX_AHEAD_MS) {
            return Some(Err(AppendError::OutOfBounds));
        }
        let exemplars = &self.exemplars;
        let start_timestamp = sample.start.filter(|_| self.settings.parser.start_timestamps);
        let options =
            AppendOptions { exemplars, metadata, start_timestamp, ..AppendOptions::default() };
        Some(self.app.append(key, t, sample.value, &options))
    }

    /// Counts what Prometheus tolerates; everything else fails the scrape.
    #[inline]
    fn check(
        &mut self,
        result: Result<SeriesRef, AppendError>,
    ) -> Result<Option<SeriesRef>, ScrapeError> {
        match result {
            Ok(series) => return Ok(Some(series)),
            Err(AppendError::OutOfOrder) => self.out.out_of_order += 1,
            Err(AppendError::DuplicateTimestamp) => self.out.duplicates += 1,
            Err(AppendError::OutOfBounds | AppendError::TooOld) => self.out.out_of_bounds += 1,
            Err(AppendError::OutOfOrderExemplar) => self.out.exemplars_out_of_order += 1,
            Err(e) => return Err(e.into()),
        }
        Ok(None)
    }
}

#[inline]
fn take_exemplar(into: &mut Vec<Exemplar>, exemplar: Option<&ExemplarEntry<'_, '_>>) {
    into.clear();
    if let Some(exemplar) = exemplar {
        into.push(exemplar.to_exemplar());
    }
}

/// Whether a metric belongs to a family of this type, by its name.
fn is_part_of(metric: &str, family: &str, kind: MetricType) -> bool {
    let suffixes: &[&str] = match kind {
        MetricType::Counter => &["_total"],
        MetricType::Histogram => &["_bucket", "_sum", "_count"],
        MetricType::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
        MetricType::Summary => &["_sum", "_count"],
        MetricType::Info => &["_info"],
        _ => &[],
    };
    let base = |name: &'_ str| -> usize {
        suffixes.iter().find_map(|s| name.strip_suffix(s)).map_or(name.len(), str::len)
    };
    // Families of counters and infos may carry the suffix themselves.
    let family = match kind {
        MetricType::Counter | MetricType::Info => family.get(..base(family)).unwrap_or(family),
        _ => family,
    };
    metric.get(..base(metric)) == Some(family)
}
