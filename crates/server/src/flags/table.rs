//! The table of flags. It drives parsing, `/api/v1/status/flags` and `docs/compatibility.md`.

/// What kind of value a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// None: `--x` is true, `--no-x` is false.
    Bool,
    /// One.
    Value,
    /// Several, by repeating it.
    List,
}

/// In which mode of the program a flag may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In both.
    Both,
    /// As a server only.
    Server,
    /// As an agent only.
    Agent,
}

/// What a flag does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagEffect {
    /// What it does in Prometheus.
    Works,
    /// It is taken and has no effect, for this reason; one line in the log says so.
    Ignored(&'static str),
    /// The program does not start with it, for this reason: going on would lose data or safety.
    Refused(&'static str),
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its default as Prometheus prints it.
    pub default: &'static str,
    /// What value it takes.
    pub kind: FlagKind,
    /// In which mode.
    pub mode: Mode,
    /// What it does here.
    pub effect: FlagEffect,
    /// One line of help.
    pub help: &'static str,
}

use FlagEffect::{Ignored, Refused, Works};
use FlagKind::{Bool, List, Value};
use Mode::{Agent, Both, Server};

const GO: &str = "Go's runtime is not there to be tuned; limits come from the cgroup";
const AGENT: &str = "agent mode is not there yet";
const READ: &str = "the remote read endpoint is not there yet";
const DELAY: &str = "compaction is not delayed at random";

const fn flag(
    name: &'static str,
    default: &'static str,
    kind: FlagKind,
    mode: Mode,
    effect: FlagEffect,
    help: &'static str,
) -> Flag {
    Flag { name, default, kind, mode, effect, help }
}

/// All flags of Prometheus 3.14, the hidden ones too, in the order of its help.
#[rustfmt::skip]
pub static FLAGS: &[Flag] = &[
    flag("config.file", "prometheus.yml", Value, Both, Works, "Path of the configuration file."),
    flag("config.auto-reload", "false", Bool, Both, Works, "Reload the configuration when its files change: itself, rule files, scrape_config_files."),
    flag("config.auto-reload-interval", "30s", Value, Both, Works, "How often to look for a changed configuration, at least 1s."),
    flag("web.listen-address", "0.0.0.0:9090", List, Both, Works, "Address to listen on; can be repeated."),
    flag("auto-gomaxprocs", "true", Bool, Both, Ignored(GO), "Use as many cores as the container may."),
    flag("auto-gomemlimit", "true", Bool, Both, Ignored(GO), "Take the memory limit from the container."),
    flag("auto-gomemlimit.ratio", "0.9", Value, Both, Ignored(GO), "Share of the memory limit to use."),
    flag("auto-gomemlimit.refresh-interval", "0s", Value, Both, Ignored(GO), "How often to read the memory limit again."),
    flag("web.config.file", "", Value, Both, Works, "File with TLS, users and headers of the server itself."),
    flag("web.read-timeout", "5m", Value, Both, Works, "How long a client may take to send a request."),
    flag("web.max-connections", "512", Value, Both, Works, "Connections at a time, over all addresses."),
    flag("web.max-notifications-subscribers", "16", Value, Both, Ignored("live notifications are not there yet"), "Clients that may follow notifications."),
    flag("web.external-url", "", Value, Both, Works, "URL under which the server is reached from outside."),
    flag("web.route-prefix", "", Value, Both, Works, "Prefix of all paths; the path of --web.external-url by default."),
    flag("web.user-assets", "", Value, Both, Ignored("static assets are not served yet"), "Folder served at /user."),
    flag("web.enable-lifecycle", "false", Bool, Both, Works, "Allow reload and shutdown by HTTP."),
    flag("web.enable-admin-api", "false", Bool, Both, Works, "Allow the admin endpoints."),
    flag("web.enable-remote-write-receiver", "false", Bool, Both, Works, "Accept remote write requests at /api/v1/write."),
    flag("web.remote-write-receiver.accepted-protobuf-messages", "prometheus.WriteRequest,io.prometheus.write.v2.Request", List, Both, Ignored("remote write 1.0 alone is accepted"), "Remote write messages to accept."),
    flag("web.enable-otlp-receiver", "false", Bool, Both, Ignored("the OTLP receiver is not there yet"), "Accept OTLP metrics."),
    flag("web.console.templates", "consoles", Value, Both, Ignored("console templates are not rendered yet"), "Folder of console templates."),
    flag("web.console.libraries", "console_libraries", Value, Both, Ignored("console templates are not rendered yet"), "Folder of console libraries."),
    flag("web.page-title", "Prometheus Time Series Collection and Processing Server", Value, Both, Works, "Title of the pages."),
    flag("web.cors.origin", ".*", Value, Both, Works, "Origins that may read answers, as a regular expression."),
    flag("storage.tsdb.path", "data/", Value, Server, Works, "Folder of the data."),
    flag("storage.tsdb.min-block-duration", "2h", Value, Server, Works, "How much time a new block covers."),
    flag("storage.tsdb.max-block-duration", "", Value, Server, Works, "How much time a block may cover."),
    flag("storage.tsdb.max-block-chunk-segment-size", "", Value, Server, Ignored("chunk files are 512 MiB at most"), "Size of a chunk file."),
    flag("storage.tsdb.wal-segment-size", "", Value, Server, Works, "Size of a WAL segment."),
    flag("storage.tsdb.retention.time", "", Value, Server, Works, "How long to keep samples (15d where no retention is set)."),
    flag("storage.tsdb.retention.size", "", Value, Server, Works, "How many bytes of data to keep."),
    flag("storage.tsdb.no-lockfile", "false", Bool, Server, Works, "Do not lock the data folder."),
    flag("storage.tsdb.allow-overlapping-compaction", "true", Bool, Server, Works, "Merge overlapping blocks."),
    flag("storage.tsdb.wal-compression", "true", Bool, Server, Works, "Compress the WAL."),
    flag("storage.tsdb.wal-compression-type", "snappy", Value, Server, Works, "How to compress the WAL: snappy or zstd."),
    flag("storage.tsdb.head-chunks-write-queue-size", "0", Value, Server, Ignored("head chunks need no queue here"), "Queue of head chunks."),
    flag("storage.tsdb.samples-per-chunk", "120", Value, Server, Ignored("chunks have 120 samples"), "Samples per chunk."),
    flag("storage.tsdb.delayed-compaction.max-percent", "10", Value, Server, Ignored(DELAY), "Upper limit of the random compaction delay."),
    flag("storage.tsdb.delay-compact-file.path", "", Value, Server, Works, "File that lists uploaded blocks."),
    flag("storage.tsdb.block-reload-interval", "1m", Value, Server, Works, "How often to look for new blocks."),
    flag("storage.agent.path", "data-agent/", Value, Agent, Ignored(AGENT), "Folder of the agent's data."),
    flag("storage.agent.wal-segment-size", "", Value, Agent, Ignored(AGENT), "Size of a WAL segment."),
    flag("storage.agent.wal-compression", "true", Bool, Agent, Ignored(AGENT), "Compress the WAL."),
    flag("storage.agent.wal-compression-type", "snappy", Value, Agent, Ignored(AGENT), "How to compress the WAL."),
    flag("storage.agent.wal-truncate-frequency", "", Value, Agent, Ignored(AGENT), "How often to cut the WAL."),
    flag("storage.agent.retention.min-time", "5m", Value, Agent, Ignored(AGENT), "Age before which samples stay in the WAL."),
    flag("storage.agent.retention.max-time", "4h", Value, Agent, Ignored(AGENT), "Age after which samples leave the WAL."),
    flag("storage.agent.checkpoint-from-in-memory-series", "false", Bool, Agent, Ignored(AGENT), "Make checkpoints from memory."),
    flag("storage.agent.checkpoint-batch-size", "1000", Value, Agent, Ignored(AGENT), "Series per record of a checkpoint."),
    flag("storage.agent.no-lockfile", "false", Bool, Agent, Ignored(AGENT), "Do not lock the data folder."),
    flag("storage.remote.flush-deadline", "1m", Value, Both, Ignored("remote write is not there yet"), "How long to wait for remote writes when stopping."),
    flag("storage.remote.read-sample-limit", "5e7", Value, Server, Ignored(READ), "Samples of a remote read answer."),
    flag("storage.remote.read-concurrent-limit", "10", Value, Server, Ignored(READ), "Remote reads at a time."),
    flag("storage.remote.read-max-bytes-in-frame", "1048576", Value, Server, Ignored(READ), "Bytes of a frame of a remote read answer."),
    flag("web.search.max-limit", "10000", Value, Server, Ignored("the search endpoints are not there yet"), "Upper bound of the search endpoints' limit."),
    flag("rules.alert.for-outage-tolerance", "1h", Value, Server, Works, "Outage after which an alert's state is not restored."),
    flag("rules.alert.for-grace-period", "10m", Value, Server, Works, "Time that a restored alert waits at least."),
    flag("rules.alert.resend-delay", "1m", Value, Server, Works, "Time before an alert is sent again."),
    flag("rules.max-concurrent-evals", "4", Value, Server, Works, "Rules that run at a time."),
    flag("scrape.adjust-timestamps", "true", Bool, Both, Works, "Align timestamps of scrapes to their schedule."),
    flag("scrape.timestamp-tolerance", "2ms", Value, Both, Works, "How far to align timestamps."),
    flag("alertmanager.notification-queue-capacity", "10000", Value, Server, Works, "Alerts that may wait to be sent."),
    flag("alertmanager.notification-batch-size", "256", Value, Server, Works, "Alerts per request."),
    flag("alertmanager.drain-notification-queue-on-shutdown", "true", Bool, Server, Works, "Send waiting alerts before stopping."),
    flag("query.lookback-delta", "5m", Value, Server, Works, "How far an instant selector looks back."),
    flag("query.timeout", "2m", Value, Server, Works, "How long a query may take."),
    flag("query.max-concurrency", "20", Value, Server, Works, "Queries at a time."),
    flag("query.max-samples", "50000000", Value, Server, Works, "Samples that a query may hold in memory."),
    flag("scrape.discovery-reload-interval", "5s", Value, Both, Ignored("changed targets are taken over at once"), "How often to take over discovered targets."),
    flag("enable-feature", "", List, Both, Works, "Features to switch on, separated by commas."),
    flag("agent", "false", Bool, Both, Refused("agent mode is not there yet; without it nothing would be forwarded"), "Run as an agent."),
    flag("log.level", "info", Value, Both, Works, "Log messages of this level and above: debug, info, warn, error."),
    flag("log.format", "logfmt", Value, Both, Works, "Form of log messages: logfmt or json."),
];
