//! The state of alerts from before a restart. Source: `Group.RestoreForState` of `rules/group.go`.

use std::{collections::HashMap, time::Duration};

use firesteel_model::{
    Labels, METRIC_NAME, Matcher, Sample, Timestamp, is_stale_nan,
    storage::{
        BatchValues, Interner, QueryContext, Queryable, SampleBatch, SelectHints, StorageError,
        merge::MergedSeries,
    },
};

use crate::{
    Nanos, RuleSpec,
    alerting::{Alert, for_state_labels},
    rule::Rule,
    time::{from_ms, nanos},
};

/// How much of an outage is forgiven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restoring {
    /// An outage longer than this is not.
    pub(crate) outage_tolerance: Duration,
    /// A restored alert waits at least so long before it fires.
    pub(crate) grace_period: Duration,
}

/// Restores the alerts of a rule. From here on its series are written.
pub(crate) fn restore(
    rule: &Rule,
    storage: &dyn Queryable,
    ctx: &QueryContext,
    now: Nanos,
    restoring: Restoring,
) {
    // An alert that need not wait for as long as the grace period just begins anew.
    if rule.spec.hold >= restoring.grace_period {
        let end = crate::time::to_ms(now);
        let start = crate::time::to_ms(now - nanos(restoring.outage_tolerance));
        match last_samples(&rule.spec, storage, ctx, start, end) {
            Ok(found) => rule.alerts().for_each(|alert| {
                if let Some(sample) = found.get(&alert.labels) {
                    restore_one(alert, *sample, rule.spec.hold, now, restoring);
                }
            }),
            Err(error) => {
                tracing::error!(alertname = rule.spec.name, %error, "restoring alerts failed");
            }
        }
    }
    rule.set_restored();
}

fn restore_one(alert: &mut Alert, last: Sample, hold: Duration, now: Nanos, restoring: Restoring) {
    if is_stale_nan(last.v) {
        return;
    }
    let down_at = from_ms(last.t);
    // Seconds; what is no number was not written by a rule.
    let active_at = (last.v as i64).saturating_mul(1_000_000_000);
    let (hold, grace) = (nanos(hold), nanos(restoring.grace_period));
    let remaining = hold.saturating_sub(down_at.saturating_sub(active_at));
    alert.active_at = if remaining <= 0 {
        // It was firing, and will be again.
        active_at
    } else if remaining < grace {
        now + grace - hold
    } else {
        // The time that we were down does not count.
        active_at.saturating_add(now - down_at)
    };
}

/// The last sample of each series of a rule's alerts, by the alert's labels.
fn last_samples(
    spec: &RuleSpec,
    storage: &dyn Queryable,
    ctx: &QueryContext,
    start: Timestamp,
    end: Timestamp,
) -> Result<HashMap<Labels, Sample>, StorageError> {
    let labels = for_state_labels(spec);
    // What is a template is something else in the series.
    let known = labels.iter().filter(|(_, value)| !value.contains("{{"));
    let matchers: Vec<_> = known.map(|(name, value)| Matcher::equal(name, value)).collect();
    let querier = storage.querier(start, end)?;
    let selection = querier.select(ctx, &matchers, &SelectHints::range(start, end))?;
    let mut interner = Interner::new();
    let series = MergedSeries::new(ctx, selection, &mut interner)?;
    let mut reader = series.reader(ctx);
    let (mut found, mut batch) = (HashMap::new(), SampleBatch::default());
    for i in 0..series.len() {
        reader.open(i)?;
        let mut last = None;
        while reader.next(&mut batch)? {
            let BatchValues::Floats(values) = &batch.values else { continue };
            let samples = batch.timestamps.iter().zip(values).map(|(&t, &v)| Sample { t, v });
            last = samples.rev().find(|s| (start..=end).contains(&s.t)).or(last);
        }
        let Some(last) = last else { continue };
        let pairs = series.pairs(i).iter().map(|p| (interner.text(p.0), interner.text(p.1)));
        let labels = Labels::from_pairs(pairs.filter(|(name, _)| *name != METRIC_NAME));
        found.insert(labels, last);
    }
    Ok(found)
}
