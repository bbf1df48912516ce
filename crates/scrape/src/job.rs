//! What a job's configuration means for its loops.

use std::sync::Arc;

use firesteel_config::{ScrapeConfig, ScrapeProtocol};
use firesteel_exposition::{ParserOptions, Protocol, accept_header};

use crate::{IngestSettings, Target, native};

/// What is switched on for all jobs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features {
    pub(crate) append_metadata: bool,
    pub(crate) start_timestamps: bool,
    pub(crate) type_and_unit_labels: bool,
}

const fn protocol(protocol: ScrapeProtocol) -> Protocol {
    match protocol {
        ScrapeProtocol::PrometheusProto => Protocol::PrometheusProto,
        ScrapeProtocol::OpenMetricsText0_0_1 => Protocol::OpenMetricsText0_0_1,
        ScrapeProtocol::OpenMetricsText1_0_0 => Protocol::OpenMetricsText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4 => Protocol::PrometheusText0_0_4,
        ScrapeProtocol::PrometheusText1_0_0 => Protocol::PrometheusText1_0_0,
    }
}

/// The `Accept` header.
pub(crate) fn accept_of(config: &ScrapeConfig) -> String {
    let protocols: Vec<_> = config.scrape_protocols.iter().map(|p| protocol(*p)).collect();
    accept_header(&protocols, config.name_escaping.name())
}

/// What a job's configuration and the features of the manager say.
pub(crate) fn ingest_settings(config: &ScrapeConfig, features: Features) -> IngestSettings {
    IngestSettings {
        honor_labels: config.honor_labels,
        honor_timestamps: config.honor_timestamps,
        track_timestamps_staleness: config.track_timestamps_staleness,
        sample_limit: config.limits.samples,
        label_limit: config.limits.labels,
        label_name_length_limit: config.limits.label_name_length,
        label_value_length_limit: config.limits.label_value_length,
        metric_relabel: config.metric_relabel_configs.clone(),
        scheme: config.name_validation,
        fallback: config.fallback_scrape_protocol.map(|p| protocol(p).format()),
        parser: ParserOptions {
            ignore_native_histograms: !config.scrape_native_histograms,
            keep_classic_histograms: config.always_scrape_classic_histograms,
            convert_classic_histograms: config.convert_classic_histograms_to_nhcb,
            start_timestamps: features.start_timestamps,
        },
        bucket_limit: config.limits.native_histogram_buckets,
        max_schema: native::schema_of(config.native_histogram_min_bucket_factor),
        extra_metrics: config.extra_scrape_metrics,
        timeout: config.scrape_timeout,
        report: true,
        append_metadata: features.append_metadata,
        type_and_unit_labels: features.type_and_unit_labels,
    }
}

/// The job's settings as they are for a target, whose labels may say how histograms are read.
pub(crate) fn settings_for(settings: &Arc<IngestSettings>, target: &Target) -> Arc<IngestSettings> {
    let parser = target.parser_options(settings.parser);
    if parser == settings.parser {
        return Arc::clone(settings);
    }
    Arc::new(IngestSettings { parser, ..(**settings).clone() })
}

/// Whether nothing that concerns scraping differs; where targets come from is another matter.
pub(crate) fn same_job(a: &ScrapeConfig, b: &ScrapeConfig) -> bool {
    a.job_name == b.job_name
        && a.scrape_interval == b.scrape_interval
        && a.scrape_timeout == b.scrape_timeout
        && a.scrape_native_histograms == b.scrape_native_histograms
        && a.always_scrape_classic_histograms == b.always_scrape_classic_histograms
        && a.convert_classic_histograms_to_nhcb == b.convert_classic_histograms_to_nhcb
        && a.metrics_path == b.metrics_path
        && a.scheme == b.scheme
        && a.params == b.params
        && a.enable_compression == b.enable_compression
        && a.limits == b.limits
        && a.http == b.http
        && a.relabel_configs == b.relabel_configs
        && accept_of(a) == accept_of(b)
        && ingest_settings(a, Features::default()) == ingest_settings(b, Features::default())
}
