//! `load_with_nhcb`: classic histograms loaded as native ones with custom buckets too. Source:
//! Prometheus `util/convertnhcb`.

use std::collections::BTreeMap;

use firesteel_model::{
    CounterResetHint, FloatHistogram, HistogramLayout, Labels, METRIC_NAME, Span, Timestamp,
    histogram::CUSTOM_BUCKETS_SCHEMA,
};

use super::backend::{Loaded, LoadedSample};
use crate::value::SampleValue;

/// A classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Upper bounds and cumulative counts, sorted by bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native histograms of the classic ones among `series`.
pub(super) fn converted(series: &[Loaded]) -> Result<Vec<Loaded>, String> {
    let mut histograms: BTreeMap<Labels, BTreeMap<Timestamp, Classic>> = BTreeMap::new();
    for one in series {
        let name = one.labels.metric_name().unwrap_or_default();
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|s| name.ends_with(s));
        let Some((suffix, base)) = suffix.and_then(|s| Some((s, name.strip_suffix(s)?))) else {
            continue;
        };
        let bound: Option<f64> = one.labels.get("le").and_then(|le| le.parse().ok());
        if suffix == "_bucket" && bound.is_none_or(f64::is_nan) {
            continue;
        }
        let key = one.labels.to_builder().set(METRIC_NAME, base).del("le").build();
        let by_time = histograms.entry(key).or_default();
        for sample in &one.samples {
            let SampleValue::Float(v) = sample.value else { continue };
            let classic = by_time.entry(sample.t).or_default();
            match (suffix, bound) {
                ("_bucket", Some(bound)) => classic.buckets.push((bound, v)),
                ("_sum", _) => classic.sum = v,
                _ => classic.count = Some(v),
            }
        }
    }
    histograms
        .into_iter()
        .map(|(labels, by_time)| {
            let sample = |(t, classic): (Timestamp, Classic)| {
                let value = SampleValue::Histogram(Box::new(classic.native()?));
                Ok(LoadedSample { t, start: None, value })
            };
            let samples = by_time.into_iter().map(sample).collect::<Result<_, String>>()?;
            Ok(Loaded { labels, samples })
        })
        .collect()
}

impl Classic {
    fn native(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, first| later.0 == first.0);
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or_default();
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|(_, total)| *total != count) {
            return Err("count mismatch in classic histogram".to_owned());
        }
        let mut previous = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, cumulative) in &self.buckets {
            if *cumulative < previous {
                return Err("counts of a classic histogram are not cumulative".to_owned());
            }
            counts.push(cumulative - previous);
            previous = *cumulative;
        }
        let bounds = self.buckets.iter().map(|(bound, _)| *bound);
        Ok(FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            layout: HistogramLayout {
                schema: CUSTOM_BUCKETS_SCHEMA,
                positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
                custom_values: bounds.filter(|b| b.is_finite()).collect(),
                ..HistogramLayout::default()
            },
            zero_count: 0.0,
            count,
            sum: self.sum,
            positive_buckets: counts,
            negative_buckets: Vec::new(),
        })
    }
}
