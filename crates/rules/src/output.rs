//! The series that a rule writes: their references from one evaluation to the next, and markers for
//! those that are gone.

use firesteel_model::{
    Labels, Timestamp, Value, stale_nan,
    storage::{AppendError, AppendOptions, Appender, SeriesKey, SeriesRef},
};
use hashbrown::{HashMap, HashSet};

/// Rules write nothing out of order, whatever the storage takes else.
const OPTIONS: AppendOptions<'static> = AppendOptions {
    start_timestamp: None,
    exemplars: &[],
    metadata: None,
    reject_out_of_order: true,
};

/// What a rule wrote, by the labels of the result's series.
#[derive(Debug, Default)]
pub(crate) struct Output {
    series: HashMap<Labels, Entry>,
    evaluation: u64,
}

#[derive(Debug)]
struct Entry {
    /// The labels that are written.
    labels: Labels,
    series: Option<SeriesRef>,
    /// The last evaluation whose result had it.
    seen: u64,
    /// Whether that sample was taken.
    taken: bool,
    /// Whether the last evaluation that was committed wrote it.
    written: bool,
}

/// A result's series before it is written.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The labels of the query's result.
    pub(crate) key: &'a Labels,
    pub(crate) value: Value<'a>,
}

/// Samples that were not taken.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) out_of_order: u64,
    pub(crate) too_old: u64,
    pub(crate) duplicates: u64,
    /// The last reason.
    pub(crate) error: Option<AppendError>,
}

impl Refused {
    fn count(&mut self, error: AppendError) {
        match &error {
            AppendError::OutOfOrder => self.out_of_order += 1,
            AppendError::TooOld | AppendError::OutOfBounds => self.too_old += 1,
            AppendError::DuplicateTimestamp => self.duplicates += 1,
            _ => {}
        }
        self.error = Some(error);
    }
}

impl Output {
    /// Begins an evaluation with the series of its result: false if two of them would be written
    /// as one. `label` makes the labels that are written, once per series; `alters` says whether it
    /// takes away what tells series apart.
    pub(crate) fn begin<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a Labels>,
        alters: impl Fn(&Labels) -> bool,
        label: impl Fn(&Labels) -> Labels,
    ) -> bool {
        self.evaluation += 1;
        let now = self.evaluation;
        let (mut may_collide, mut distinct) = (false, true);
        for key in keys {
            let entry = match self.series.get_mut(key) {
                Some(entry) => entry,
                None => self.series.entry(key.clone()).or_insert_with(|| Entry {
                    labels: label(key),
                    series: None,
                    seen: 0,
                    taken: false,
                    written: false,
                }),
            };
            distinct &= entry.seen != now;
            entry.seen = now;
            entry.taken = false;
            may_collide |= alters(key);
        }
        if !may_collide || !distinct {
            return distinct;
        }
        let mut labels = HashSet::new();
        let entries = self.series.values().filter(|entry| entry.seen == now);
        entries.into_iter().all(|entry| labels.insert(&entry.labels))
    }

    /// Writes the samples of an evaluation.
    pub(crate) fn write<'a>(
        &mut self,
        appender: &mut dyn Appender,
        rows: impl Iterator<Item = Row<'a>>,
        t: Timestamp,
    ) -> Refused {
        let mut refused = Refused::default();
        for row in rows {
            let Some(entry) = self.series.get_mut(row.key) else { continue };
            match append(appender, entry, t, row.value) {
                Ok(()) => entry.taken = true,
                Err(error) => refused.count(error),
            }
        }
        refused
    }

    /// Marks the series that the last evaluation wrote and this one does not.
    pub(crate) fn mark_stale(&mut self, appender: &mut dyn Appender, t: Timestamp) {
        let now = self.evaluation;
        let is_here = |entry: &Entry| entry.seen == now && entry.taken;
        if self.series.values().all(|entry| !entry.written || is_here(entry)) {
            return;
        }
        // Another series of the result may be written under the same labels.
        let here: HashSet<Labels> =
            self.series.values().filter(|e| is_here(e)).map(|e| e.labels.clone()).collect();
        for entry in self.series.values_mut() {
            if entry.written && !is_here(entry) && !here.contains(&entry.labels) {
                let result = append(appender, entry, t, Value::Float(stale_nan()));
                report_marker(&entry.labels, result.err());
            }
        }
    }

    /// The evaluation is in the storage.
    pub(crate) fn committed(&mut self) {
        let now = self.evaluation;
        self.series.retain(|_, entry| {
            entry.written = entry.seen == now && entry.taken;
            entry.written
        });
    }

    /// The series that were written last.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Labels> {
        self.series.values().filter(|entry| entry.written).map(|entry| &entry.labels)
    }
}

/// Says why a marker was not taken, unless it is of no importance: the series may be written by
/// another rule.
pub(crate) fn report_marker(labels: &Labels, error: Option<AppendError>) {
    match error {
        None
        | Some(
            AppendError::OutOfOrder
            | AppendError::TooOld
            | AppendError::OutOfBounds
            | AppendError::DuplicateTimestamp,
        ) => {}
        Some(error) => tracing::warn!(series = %labels, %error, "adding a stale marker failed"),
    }
}

/// Appends a staleness marker to a series that is known by its labels.
pub(crate) fn append_marker(appender: &mut dyn Appender, labels: &Labels, t: Timestamp) {
    let value = Value::Float(stale_nan());
    let result = appender.append(SeriesKey::Labels(labels), t, value, &OPTIONS);
    report_marker(labels, result.err());
}

fn append(
    appender: &mut dyn Appender,
    entry: &mut Entry,
    t: Timestamp,
    value: Value<'_>,
) -> Result<(), AppendError> {
    if let Some(series) = entry.series {
        match appender.append(SeriesKey::Ref(series), t, value, &OPTIONS) {
            // It was collected meanwhile.
            Err(AppendError::UnknownSeries) => {}
            result => return result.map(drop),
        }
    }
    let series = appender.append(SeriesKey::Labels(&entry.labels), t, value, &OPTIONS)?;
    entry.series = Some(series);
    Ok(())
}
