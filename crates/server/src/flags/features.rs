//! The names that `--enable-feature` knows.

/// What a feature does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureEffect {
    /// What it does in Prometheus.
    Works,
    /// It is on in any case.
    AlwaysOn,
    /// It is taken and has no effect; one line in the log says so.
    Ignored,
}

/// A feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// What it does here.
    pub effect: FeatureEffect,
}

const fn feature(name: &'static str, effect: FeatureEffect) -> Feature {
    Feature { name, effect }
}

use FeatureEffect::{AlwaysOn, Ignored, Works};

/// The features of Prometheus 3.14, then those of older versions that became the default.
pub static FEATURES: &[Feature] = &[
    feature("exemplar-storage", Works),
    feature("memory-snapshot-on-shutdown", Ignored),
    feature("extra-scrape-metrics", Works),
    feature("metadata-wal-records", Works),
    feature("promql-per-step-stats", Works),
    feature("promql-experimental-functions", Works),
    feature("promql-duration-expr", AlwaysOn),
    feature("promql-delayed-name-removal", Works),
    feature("promql-extended-range-selectors", Works),
    feature("promql-binop-fill-modifiers", Works),
    feature("use-start-timestamps", Ignored),
    feature("created-timestamp-zero-ingestion", Works),
    feature("st-storage", Works),
    feature("st-synthesis", Ignored),
    feature("xor2-encoding", Works),
    feature("histograms-st-encoding", Works),
    feature("native-histograms", AlwaysOn),
    feature("ooo-native-histograms", AlwaysOn),
    feature("auto-reload-config", Works),
    feature("concurrent-rule-eval", Works),
    feature("delayed-compaction", Ignored),
    feature("old-ui", Ignored),
    feature("otlp-deltatocumulative", Ignored),
    feature("otlp-native-delta-ingestion", Ignored),
    feature("type-and-unit-labels", Works),
    feature("use-uncached-io", Ignored),
    feature("fast-startup", Ignored),
    feature("search-api", Ignored),
    feature("promql-at-modifier", AlwaysOn),
    feature("promql-negative-offset", AlwaysOn),
    feature("new-service-discovery-manager", AlwaysOn),
    feature("no-default-scrape-port", AlwaysOn),
    feature("auto-gomemlimit", AlwaysOn),
    feature("auto-gomaxprocs", AlwaysOn),
    feature("expand-external-labels", AlwaysOn),
    feature("utf8-names", AlwaysOn),
    feature("remote-write-receiver", Ignored),
    feature("otlp-write-receiver", Ignored),
];
