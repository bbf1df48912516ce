//! Targets: what discovery found, made into something that can be scraped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use firesteel_config::ScrapeConfig;
use firesteel_exposition::ParserOptions;
use firesteel_model::{Labels, LabelsBuilder, Timestamp, duration, float::go_quote, relabel};

use crate::{
    FamilyMetadata, ScrapeError, metadata::MetadataStore, series::public_labels, url::target_url,
};

/// The label that holds a target's address.
pub(crate) const ADDRESS: &str = "__address__";
pub(crate) const SCHEME: &str = "__scheme__";
pub(crate) const METRICS_PATH: &str = "__metrics_path__";
pub(crate) const PARAM_PREFIX: &str = "__param_";
pub(crate) const UNIX_SOCKET: &str = "__unix_socket__";
const META_PREFIX: &str = "__meta_";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const CONVERT_CLASSIC: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC: &str = "__always_scrape_classic_histograms__";
const SCRAPE_NATIVE: &str = "__scrape_native_histograms__";
const JOB: &str = "job";
const INSTANCE: &str = "instance";

/// How a target was at its last scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// The scrape succeeded.
    Up,
    /// It failed.
    Down,
}

impl Health {
    /// The name in the API: `unknown`, `up` or `down`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The outcome of a target's last scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastScrape {
    /// How the target was.
    pub health: Health,
    /// Why the scrape failed, empty if it did not.
    pub error: String,
    /// When it began; `None` before the first.
    pub time: Option<Timestamp>,
    /// How long it took.
    pub duration: Duration,
}

/// Something to scrape.
#[derive(Debug)]
pub struct Target {
    discovered: Mutex<Labels>,
    labels: Labels,
    public: Labels,
    url: String,
    interval: Duration,
    timeout: Duration,
    hash: u64,
    last: Mutex<LastScrape>,
    metadata: Mutex<Arc<MetadataStore>>,
}

/// What became of discovered labels.
#[derive(Debug)]
pub enum Discovered {
    /// A target to scrape.
    Target(Box<Target>),
    /// Relabelling dropped it; its labels before.
    Dropped(Labels),
}

impl Target {
    /// Makes a target from discovered labels: adds what the job's configuration says where they say
    /// nothing, relabels, checks. Source: `PopulateLabels` in `scrape/target.go`.
    ///
    /// # Errors
    /// The labels make no target; the text is Prometheus'.
    pub fn from_discovered(
        labels: &Labels,
        config: &ScrapeConfig,
    ) -> Result<Discovered, ScrapeError> {
        let discovered = Self::completed(labels, config);
        let mut builder = discovered.to_builder();
        if !relabel::process(&config.relabel_configs, &mut builder) {
            return Ok(Discovered::Dropped(discovered));
        }
        let (interval, timeout) = check(&builder).map_err(ScrapeError::Target)?;
        builder.retain(|name, _| !name.starts_with(META_PREFIX));
        if builder.get(INSTANCE).is_none() {
            let address = builder.get(ADDRESS).unwrap_or_default().to_owned();
            builder.set(INSTANCE, &address);
        }
        let labels = builder.build();
        let url = target_url(&labels, &config.params);
        let hash = hash(&labels, &url);
        Ok(Discovered::Target(Box::new(Self {
            discovered: Mutex::new(discovered),
            public: public_labels(&labels),
            labels,
            url,
            interval,
            timeout,
            hash,
            last: Mutex::default(),
            metadata: Mutex::default(),
        })))
    }

    /// Discovered labels, and what the job's configuration says where they say nothing.
    #[must_use]
    pub fn completed(labels: &Labels, config: &ScrapeConfig) -> Labels {
        let mut builder = labels.to_builder();
        add_defaults(&mut builder, config);
        builder.build()
    }

    /// All labels after relabelling, those that begin with `__` among them.
    #[must_use]
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The labels that the target's series get.
    #[must_use]
    pub const fn public_labels(&self) -> &Labels {
        &self.public
    }

    /// The labels before relabelling.
    #[must_use]
    pub fn discovered_labels(&self) -> Labels {
        self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that discovery now gives other labels that lead to the same target.
    pub(crate) fn set_discovered(&self, labels: Labels) {
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = labels;
    }

    /// What is asked for.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The unix socket that connections go through, where there is one.
    #[must_use]
    pub fn unix_socket(&self) -> Option<&str> {
        self.labels.get(UNIX_SOCKET)
    }

    /// What the labels say about histograms; `options` where they say nothing.
    pub(crate) fn parser_options(&self, options: ParserOptions) -> ParserOptions {
        let says = |name, default| match self.labels.get(name) {
            None => default,
            Some(text) => go_bool(text).unwrap_or(default),
        };
        ParserOptions {
            ignore_native_histograms: !says(SCRAPE_NATIVE, !options.ignore_native_histograms),
            keep_classic_histograms: says(ALWAYS_CLASSIC, options.keep_classic_histograms),
            convert_classic_histograms: says(CONVERT_CLASSIC, options.convert_classic_histograms),
            ..options
        }
    }

    /// How often it is scraped.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How long a scrape may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Identifies the target within its job; Prometheus' own number.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How long to wait until the first scrape, so that the targets spread over the interval and
    /// each keeps its place in it over restarts. `now` is wall time in milliseconds, `seed` differs
    /// from server to server ([`offset_seed`]).
    #[must_use]
    pub fn offset(&self, interval: Duration, seed: u64, now: Timestamp) -> Duration {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let into = (i128::from(now) * 1_000_000).rem_euclid(i128::from(interval)) as u64;
        let base = interval - into;
        let offset = (self.hash ^ seed) % interval;
        let next = match u128::from(base) + u128::from(offset) {
            next if next > u128::from(interval) => next - u128::from(interval),
            next => next,
        };
        Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX))
    }

    /// How the last scrape went.
    #[must_use]
    pub fn last_scrape(&self) -> LastScrape {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn report(&self, last: LastScrape) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    pub(crate) fn set_metadata(&self, store: Arc<MetadataStore>) {
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    pub(crate) fn metadata_store(&self) -> Arc<MetadataStore> {
        Arc::clone(&self.metadata.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The metadata of its metric families, sorted by name.
    #[must_use]
    pub fn metadata(&self) -> Vec<FamilyMetadata> {
        self.metadata_store().list()
    }
}

fn add_defaults(builder: &mut LabelsBuilder, config: &ScrapeConfig) {
    let mut default = |name: &str, value: &str| {
        if builder.get(name).is_none() {
            builder.set(name, value);
        }
    };
    default(JOB, &config.job_name);
    default(SCRAPE_INTERVAL, &duration::format(config.scrape_interval));
    default(SCRAPE_TIMEOUT, &duration::format(config.scrape_timeout));
    default(METRICS_PATH, &config.metrics_path);
    default(SCHEME, &config.scheme);
    default(CONVERT_CLASSIC, &config.convert_classic_histograms_to_nhcb.to_string());
    default(ALWAYS_CLASSIC, &config.always_scrape_classic_histograms.to_string());
    default(SCRAPE_NATIVE, &config.scrape_native_histograms.to_string());
    for (name, values) in &config.params {
        if let Some(value) = values.first() {
            default(&format!("{PARAM_PREFIX}{name}"), value);
        }
    }
}

/// Whether relabelled labels make a target; its interval and timeout.
fn check(labels: &LabelsBuilder) -> Result<(Duration, Duration), String> {
    let address = labels.get(ADDRESS).unwrap_or_default();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{} is not a valid hostname", go_quote(address)));
    }
    let interval_text = labels.get(SCRAPE_INTERVAL).unwrap_or_default();
    let interval = duration::parse(interval_text)
        .map_err(|e| format!("error parsing scrape interval: {e}"))?;
    if interval.is_zero() {
        return Err("scrape interval cannot be 0".to_owned());
    }
    let timeout_text = labels.get(SCRAPE_TIMEOUT).unwrap_or_default();
    let timeout =
        duration::parse(timeout_text).map_err(|e| format!("error parsing scrape timeout: {e}"))?;
    if timeout.is_zero() {
        return Err("scrape timeout cannot be 0".to_owned());
    }
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            go_quote(timeout_text),
            go_quote(interval_text)
        ));
    }
    for (name, what) in [
        (CONVERT_CLASSIC, "convert classic histograms to nhcb"),
        (ALWAYS_CLASSIC, "always scrape classic histograms"),
        (SCRAPE_NATIVE, "scrape native histograms"),
    ] {
        if let Some(value) = labels.get(name)
            && go_bool(value).is_none()
        {
            let value = go_quote(value);
            return Err(format!(
                "error parsing {what}: strconv.ParseBool: parsing {value}: invalid syntax"
            ));
        }
    }
    Ok((interval, timeout))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits, from an earlier state.
fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn hash(labels: &Labels, url: &str) -> u64 {
    let state = fnv1a(FNV_OFFSET, format!("{:016}", labels.prom_hash()).as_bytes());
    fnv1a(state, url.as_bytes())
}

/// The seed of [`Target::offset`]: from the server's host name and its external labels, so that the
/// servers of a pair scrape at different times.
#[must_use]
pub fn offset_seed(hostname: &str, external_labels: &Labels) -> u64 {
    let state = fnv1a(FNV_OFFSET, hostname.as_bytes());
    fnv1a(state, external_labels.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::{
        regex::Regex,
        relabel::{Action, RelabelConfig},
    };

    fn discovered(pairs: &[(&str, &str)], config: &ScrapeConfig) -> Result<Discovered, String> {
        let labels = Labels::from_pairs(pairs.iter().copied());
        Target::from_discovered(&labels, config).map_err(|e| e.to_string())
    }

    fn target(pairs: &[(&str, &str)], config: &ScrapeConfig) -> Target {
        match discovered(pairs, config) {
            Ok(Discovered::Target(target)) => *target,
            other => panic!("{other:?}"),
        }
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        let mut all = vec![("__address__", "host:1234")];
        all.extend_from_slice(pairs);
        discovered(&all, &ScrapeConfig::new("job")).unwrap_err()
    }

    #[test]
    fn labels_come_from_the_job_where_discovery_says_nothing() {
        let mut config = ScrapeConfig::new("job");
        config.scrape_interval = Duration::from_secs(1);
        config.scrape_timeout = Duration::from_secs(1);
        config.params = vec![("module".into(), vec!["m1".into(), "m2".into()])];
        let pairs = [("__address__", "1.2.3.4:1000"), ("custom", "v"), ("__meta_x", "y")];
        let t = target(&pairs, &config);
        assert_eq!(
            t.labels().to_string(),
            r#"{__address__="1.2.3.4:1000", __always_scrape_classic_histograms__="false", __convert_classic_histograms_to_nhcb__="false", __metrics_path__="/metrics", __param_module="m1", __scheme__="http", __scrape_interval__="1s", __scrape_native_histograms__="false", __scrape_timeout__="1s", custom="v", instance="1.2.3.4:1000", job="job"}"#
        );
        assert_eq!(
            t.public_labels().to_string(),
            r#"{custom="v", instance="1.2.3.4:1000", job="job"}"#
        );
        assert!(t.discovered_labels().has("__meta_x"));
        assert_eq!(t.url(), "http://1.2.3.4:1000/metrics?module=m1&module=m2");
        let t = target(
            &[
                ("__address__", "h"),
                ("job", "other"),
                ("__scheme__", "https"),
                ("__metrics_path__", "/p"),
                ("__scrape_interval__", "30s"),
                ("__param_module", "x y"),
                ("instance", "i"),
            ],
            &config,
        );
        assert_eq!(t.url(), "https://h/p?module=x+y&module=m2");
        assert_eq!(t.public_labels().to_string(), r#"{instance="i", job="other"}"#);
        assert_eq!((t.interval(), t.timeout()), (Duration::from_secs(30), Duration::from_secs(1)));
    }

    #[test]
    fn wrong_labels_are_refused_in_prometheus_words() {
        let config = ScrapeConfig::new("job");
        assert_eq!(discovered(&[("a", "b")], &config).unwrap_err(), "no address");
        for (pairs, text) in [
            (&[("__address__", "h/x")][..], "\"h/x\" is not a valid hostname"),
            (
                &[("__scrape_interval__", "2notseconds")],
                "error parsing scrape interval: unknown unit \"notseconds\" in duration \"2notseconds\"",
            ),
            (&[("__scrape_interval__", "0s")], "scrape interval cannot be 0"),
            (&[("__scrape_timeout__", "0s")], "scrape timeout cannot be 0"),
            (
                &[("__scrape_interval__", "1s"), ("__scrape_timeout__", "2s")],
                "scrape timeout cannot be greater than scrape interval (\"2s\" > \"1s\")",
            ),
            (
                &[("__scrape_native_histograms__", "yes")],
                "error parsing scrape native histograms: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
        ] {
            assert_eq!(error(pairs), text);
        }
    }

    #[test]
    fn relabelling_drops_targets() {
        let mut config = ScrapeConfig::new("job");
        config.relabel_configs = vec![RelabelConfig {
            source_labels: vec!["drop".into()],
            regex: Regex::anchored("yes").unwrap(),
            ..RelabelConfig::new(Action::Drop)
        }];
        let pairs = [("__address__", "h"), ("drop", "yes")];
        let Ok(Discovered::Dropped(labels)) = discovered(&pairs, &config) else { panic!() };
        assert_eq!((labels.get("drop"), labels.get("job")), (Some("yes"), Some("job")));
    }

    #[test]
    fn the_hash_is_prometheus_own() {
        // `TestTargetHash`-like: FNV-1a of the decimal label hash and the URL.
        let labels = Labels::from_pairs([("__address__", "localhost")]);
        let text = format!("{:016}http://localhost/", labels.prom_hash());
        let mut expected = FNV_OFFSET;
        for b in text.bytes() {
            expected = (expected ^ u64::from(b)).wrapping_mul(1_099_511_628_211);
        }
        assert_eq!(hash(&labels, "http://localhost/"), expected);
        assert_eq!(fnv1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn offsets_keep_their_place_in_the_interval() {
        let interval = Duration::from_secs(10);
        let config = ScrapeConfig::new("job");
        let mut buckets = [0; 10];
        for i in 0..1000 {
            let address = format!("host{i}:80");
            let t = target(&[("__address__", address.as_str())], &config);
            let place = |now: i64| {
                let wait = t.offset(interval, 0, now);
                assert!(wait <= interval);
                (now as u128 * 1_000_000 + wait.as_nanos()) % interval.as_nanos()
            };
            let first = place(1_700_000_000_123);
            assert_eq!(first, place(1_700_000_007_999));
            assert_eq!(first, u128::from(t.hash() % interval.as_nanos() as u64));
            buckets[(first / 1_000_000_000) as usize] += 1;
        }
        assert!(buckets.iter().all(|&n| n > 50), "{buckets:?}");
    }
}
