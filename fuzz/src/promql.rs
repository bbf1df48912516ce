//! Targets of the query language: parser and printer, regular expressions, the engine.

use std::{sync::OnceLock, time::Duration};

use firesteel_model::{
    FloatHistogram, Labels, MatchOp, Matcher, Value,
    regex::Regex,
    storage::{AppendOptions, Appendable as _, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryOptions, QueryValue, parse as parsed,
};

/// Well-formed queries, one of each kind of thing that the grammar has.
pub(crate) fn queries() -> Vec<Vec<u8>> {
    const QUERIES: [&str; 16] = [
        "sum by (job, \"a.b\") (rate(a{x=~\"1|2\", y!=\"\"}[5m] offset -1m @ 300))",
        "a + on (x) group_left (y) b * ignoring (x) fill (0) a ^ 2 ^ -1 == bool 1",
        "a and b or c unless on () vector(1)",
        "topk(3, a) > bottomk without (x) (2, b) atan2 -a % 1e3",
        "histogram_quantile(0.9, sum by (le) (rate(h[1m]))) / histogram_avg(h)",
        "max_over_time((a - b)[5m:30s] @ end() offset (1m + step()))",
        "{__name__=\"a\", \"b c\"!~\"x.*|(y|z)+\"}",
        "label_replace(label_join(a, \"n\", \"-\", \"x\", 'y'), \"m\", \"$1\", `n`, \"(.*)-.*\")",
        "quantile_over_time(scalar(b), a[10m]) or absent_over_time(c{x=\"1\"}[1h30m])",
        "rate(a[5m] anchored) + increase(a[max_of(1m, 2 * range())] smoothed)",
        "count_values(\"v\", round(a, 0.1)) <= limitk(2, a) != limit_ratio(-0.5, a)",
        "info(a, {version=~\".+\"})",
        "h >/ 1 </ 2",
        "-1 ^ 0x1F + Inf * NaN / 5m30s - 1_000.5e-3",
        "sort_by_label_desc(a, \"x\") # a comment",
        "predict_linear(a[5m], 60) * double_exponential_smoothing(b[5m], 0.1, 0.9)",
    ];
    QUERIES.iter().map(|q| q.as_bytes().to_vec()).collect()
}

/// Well-formed regular expressions.
pub(crate) fn patterns() -> Vec<Vec<u8>> {
    const PATTERNS: [&str; 8] = [
        "a|b|foo.*",
        "(?i:x+)[^a-z\\d]{2,5}$",
        "^(?s).?\\bfoo\\B",
        "\\p{Greek}+|\\x{10FFFF}|\\Qa.b\\E",
        "(?P<name>a*?)(b??){1,}",
        "[[:alpha:]\\]_-]+",
        "((((a))))|",
        "prefix-(one|two|three)-.+",
    ];
    PATTERNS.iter().map(|p| p.as_bytes().to_vec()).collect()
}

/// A parsed query printed and parsed again is the same query, in one line and in many.
pub fn parse(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for options in [ParserOptions::default(), ParserOptions::experimental()] {
        let Ok(expr) = parsed(text, &options) else { continue };
        let printed = expr.to_string();
        // Prometheus prints nothing for the `{}` of `info(a, {})`, and so do we; and infinity has a
        // sign, which in front of a power is read as one of the power.
        if printed.contains(", )") || printed.contains("+Inf ^") {
            continue;
        }
        let again = parsed(&printed, &options).unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(again.to_string(), printed, "of {text}");
        let pretty = expr.pretty();
        let again = parsed(&pretty, &options).unwrap_or_else(|e| panic!("{pretty}: {e}"));
        assert_eq!(again.to_string(), printed, "of {text}");
    }
}

/// A regular expression that compiles matches the same with and without captures, and as a matcher.
pub fn regex(input: &[u8]) {
    let (pattern, text) = input.split_at(input.len().min(input.len() / 2 + 8));
    let (Ok(pattern), Ok(text)) = (std::str::from_utf8(pattern), std::str::from_utf8(text)) else {
        return;
    };
    let Ok(regex) = Regex::anchored(pattern) else { return };
    let matcher = Matcher::new(MatchOp::Regex, "a", pattern).expect("it compiles");
    for text in [text, pattern, ""] {
        let matches = regex.is_match(text);
        assert_eq!(regex.captures(text).is_some(), matches, "{pattern:?} {text:?}");
        assert_eq!(matcher.matches(text), matches, "{pattern:?} {text:?}");
    }
    if let Some(literals) = regex.literals() {
        assert!(literals.iter().all(|literal| regex.is_match(literal)), "{pattern:?}");
    }
}

/// A query ends in time, within its limits, and gives at one time what it gives there as a range.
pub fn evaluate(input: &[u8]) {
    static WORLD: OnceLock<(Engine, MemoryStorage)> = OnceLock::new();
    let (engine, storage) = WORLD.get_or_init(|| {
        let parser = ParserOptions::experimental();
        let options = EngineOptions { parser, max_samples: 100_000, ..EngineOptions::default() };
        (Engine::new(options), storage())
    });
    let Ok(text) = std::str::from_utf8(input) else { return };
    let options = QueryOptions::default();
    let instant = engine.instant(storage, text, 300_000, &options);
    let step = Duration::from_secs(15);
    let range = engine.range(storage, text, 300_000, 300_000, step, &options);
    let (Ok(instant), Ok(range)) = (instant, range) else { return };
    // These are 0 at one time.
    if ["step", "range"].iter().any(|word| text.to_ascii_lowercase().contains(word)) {
        return;
    }
    if let (QueryValue::Vector(instant), QueryValue::Matrix(range)) = (instant.value, range.value) {
        assert_eq!(instant.len(), range.len(), "{text}");
    }
    // Many steps may have other errors, but no panic.
    let _ = engine.range(storage, text, 0, 600_000, step, &options);
}

/// Floats and histograms of a few names.
fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut appender = storage.appender();
    for (name, x) in
        [("a", "1"), ("a", "2"), ("b", "1"), ("h", "1"), ("h", "2"), ("target_info", "1")]
    {
        let labels = Labels::from_pairs([("__name__", name), ("x", x), ("job", "j")]);
        for i in 0..40_u32 {
            let count = f64::from(i % 17);
            let h = FloatHistogram { count, zero_count: count, sum: count, ..Default::default() };
            let value = if name == "h" { Value::FloatHistogram(&h) } else { Value::Float(count) };
            let (key, options) = (SeriesKey::Labels(&labels), AppendOptions::default());
            appender.append(key, i64::from(i) * 15_000, value, &options).expect("in order");
        }
    }
    appender.commit().expect("in memory");
    storage
}
