//! What `/api/v1/status/flags` shows: not what was given but what holds, as Thanos and others read it.
//! Source: `cmd/prometheus/main.go`.

use std::time::Duration;

use firesteel_config::{Config, size};
use firesteel_model::duration;

use super::Flags;
use crate::options::Options;

/// The longest range of a block where nothing says otherwise.
const LONGEST_BLOCK: Duration = Duration::from_secs(31 * 86_400);

/// Flags that show as zero where they are not given.
const UNSET: [(&str, &str); 6] = [
    ("storage.tsdb.wal-segment-size", "0B"),
    ("storage.tsdb.max-block-chunk-segment-size", "0B"),
    ("storage.agent.wal-segment-size", "0B"),
    ("storage.agent.wal-truncate-frequency", "0s"),
    ("storage.agent.retention.min-time", "0s"),
    ("storage.agent.retention.max-time", "0s"),
];

/// Names and values, sorted.
pub(crate) fn shown(flags: &Flags, options: &Options, config: &Config) -> Vec<(String, String)> {
    let retention = &config.storage.retention;
    let mut rows = flags.listing();
    for (name, value) in &mut rows {
        let unset = UNSET.iter().find(|(unset, _)| unset == name && !flags.given().contains(unset));
        let holds = match name.as_str() {
            "web.route-prefix" if options.route_prefix.is_empty() => "/".to_owned(),
            "web.route-prefix" => options.route_prefix.clone(),
            "storage.tsdb.retention.time" => duration::format(retention.time),
            "storage.tsdb.retention.size" => {
                size::format(i64::try_from(retention.size_bytes).unwrap_or(i64::MAX))
            }
            "storage.tsdb.max-block-duration" => {
                duration::format(options.max_block_range.unwrap_or_else(|| longest(retention.time)))
            }
            "storage.remote.read-sample-limit" if value == "5e7" => "50000000".to_owned(),
            _ => match unset {
                Some((_, zero)) => (*zero).to_owned(),
                None => continue,
            },
        };
        *value = holds;
    }
    rows
}

/// A tenth of the retention, and not more than a month.
fn longest(retention: Duration) -> Duration {
    if retention.is_zero() { LONGEST_BLOCK } else { (retention / 10).min(LONGEST_BLOCK) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;

    #[test]
    fn shows_what_holds() {
        for (args, config, name, value) in [
            (&[][..], "", "web.route-prefix", "/"),
            (&["--web.external-url=http://x/p/"], "", "web.route-prefix", "/p"),
            (
                &[],
                "storage: {tsdb: {retention: {time: 15d}}}",
                "storage.tsdb.retention.time",
                "15d",
            ),
            (
                &[],
                "storage: {tsdb: {retention: {time: 15d}}}",
                "storage.tsdb.max-block-duration",
                "1d12h",
            ),
            (&[], "", "storage.tsdb.max-block-duration", "31d"),
            (
                &["--storage.tsdb.max-block-duration=2h"],
                "",
                "storage.tsdb.max-block-duration",
                "2h",
            ),
            (
                &[],
                "storage: {tsdb: {retention: {size: 1GB}}}",
                "storage.tsdb.retention.size",
                "1GiB",
            ),
            (&[], "", "storage.tsdb.retention.size", "0B"),
            (&[], "", "storage.tsdb.wal-segment-size", "0B"),
            (
                &["--storage.tsdb.wal-segment-size=64MB"],
                "",
                "storage.tsdb.wal-segment-size",
                "64MB",
            ),
            (&[], "", "query.timeout", "2m"),
        ] {
            let flags = parse(std::iter::once("firesteel").chain(args.iter().copied()), "0");
            let flags = flags.unwrap();
            let options = Options::from_flags(&flags).unwrap();
            let config = firesteel_config::load_str("p.yml", config).unwrap();
            let rows = shown(&flags, &options, &config);
            let row = rows.iter().find(|(n, _)| n == name).unwrap();
            assert_eq!(row.1, value, "{args:?} {name}");
        }
    }
}
