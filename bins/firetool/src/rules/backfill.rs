//! `tsdb create-blocks-from rules`: what recording rules would have recorded, from the data of a
//! server. Source: `cmd/promtool/rules.go`; here all rules share the blocks of a range of time.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use firesteel_config::{OsFiles, RuleKind};
use firesteel_model::{Labels, METRIC_NAME, Timestamp};
use firesteel_promql::ParserOptions;
use firesteel_rules::{GroupSpec, LoadOptions, RuleSpec, load_files};
use firesteel_tsdb::fs::{Fs, OsFs};

use super::dry_run::{items, range_series};
use crate::{
    Failure, Outcome,
    import::{self, Samples, block_range},
    query::{Client, Server},
};

const NANOS_PER_MS: i64 = 1_000_000;
/// The newest data is left to the server itself.
const MARGIN: Timestamp = 3 * 3_600_000;

pub(super) struct Options {
    pub(super) files: Vec<PathBuf>,
    pub(super) server: Server,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) output: PathBuf,
    /// For groups that give none.
    pub(super) interval: Duration,
    pub(super) parser: ParserOptions,
    pub(super) blocks: import::Options,
}

pub(super) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let now = || jiff::Timestamp::now().as_millisecond();
    let end = options.end.unwrap_or_else(|| now() - MARGIN);
    if options.start >= end {
        return Err(Failure::new("start time is not before end time"));
    }
    let load = LoadOptions {
        interval: options.interval,
        parser: options.parser,
        ..LoadOptions::default()
    };
    let groups = load_files(&options.files, &OsFiles, &load)
        .map_err(|error| Failure::Message(format!("rule importer parse error: {error}")))?;
    let client = options.server.client()?;
    let fs: Arc<dyn Fs> = Arc::new(OsFs::mapped());
    fs.create_dir_all(&options.output)
        .map_err(|e| Failure::Message(format!("create output dir: {e}")))?;
    let range = block_range(options.blocks.longest);
    let mut header = true;
    let mut from = options.start.div_euclid(range).saturating_mul(range);
    while from <= end {
        let last = from.saturating_add(range - 1);
        let span = (from.max(options.start), last.min(end));
        let mut samples = Samples::new(&options.blocks, range);
        for group in &groups {
            for rule in group.rules.iter().filter(|rule| rule.kind == RuleKind::Recording) {
                record(&client, group, rule, span, &mut samples)?;
            }
        }
        if let Some(meta) = samples.write(&fs, &options.output)? {
            import::report(&meta, &options.output, &mut header, &options.blocks, out)?;
        }
        from = from.saturating_add(range);
    }
    Ok(())
}

/// Evaluates a rule at the times of its group within a block.
fn record(
    client: &Client,
    group: &GroupSpec,
    rule: &RuleSpec,
    (from, to): (Timestamp, Timestamp),
    samples: &mut Samples<'_>,
) -> Outcome {
    let first = group.first_evaluation(from.saturating_mul(NANOS_PER_MS));
    // Servers round the times that they are given to milliseconds.
    let first = first.saturating_add(NANOS_PER_MS / 2).div_euclid(NANOS_PER_MS);
    if first > to {
        return Ok(());
    }
    let seconds = |t: Timestamp| (t as f64 / 1000.0).to_string();
    let data = client.call(
        "query_range",
        &[
            ("query", rule.query.to_string()),
            ("start", seconds(first)),
            ("end", seconds(to)),
            ("step", group.interval.as_secs_f64().to_string()),
        ],
    )?;
    for series in items(&data["result"]).iter().map(range_series) {
        let labels = recorded(&series.labels, rule);
        samples.add_series(&labels, series.floats.iter().map(|s| (s.t, s.v)))?;
    }
    Ok(())
}

/// The labels of what a rule records.
fn recorded(labels: &Labels, rule: &RuleSpec) -> Labels {
    let mut builder = labels.to_builder();
    for (name, value) in &rule.labels {
        builder.set(name, value);
    }
    builder.set(METRIC_NAME, &rule.name);
    builder.build()
}
