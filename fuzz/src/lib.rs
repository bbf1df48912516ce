//! Fuzz targets as plain functions: each takes any bytes and must neither panic nor take long. The
//! driver in `main.rs` calls them with mutated seeds; any other fuzzer can, too.
#![allow(clippy::unwrap_used, reason = "what fails here is a finding")]

mod exposition;
mod mutate;
mod promql;
mod seal;
mod tsdb;

pub use exposition::{openmetrics, protobuf, text};
pub use mutate::mutate;
pub use promql::{evaluate, parse, regex};
pub use tsdb::{chunks, head_chunks, index, integrity, meta_json, tombstones, wal};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Well-formed inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes the checksums of an input right, so that what is behind them is reached.
    pub seal: fn(&mut [u8]),
}

/// All targets.
pub const TARGETS: [Target; 13] = [
    Target { name: "text", run: text, seeds: exposition::text_seeds, seal: |_| () },
    Target {
        name: "openmetrics",
        run: openmetrics,
        seeds: exposition::openmetrics_seeds,
        seal: |_| (),
    },
    Target { name: "protobuf", run: protobuf, seeds: exposition::protobuf_seeds, seal: |_| () },
    Target { name: "wal", run: wal, seeds: tsdb::wal_seeds, seal: seal::wal },
    Target { name: "index", run: index, seeds: tsdb::index_seeds, seal: seal::index },
    Target { name: "chunks", run: chunks, seeds: tsdb::chunks_seeds, seal: seal::chunks },
    Target { name: "meta_json", run: meta_json, seeds: tsdb::meta_seeds, seal: |_| () },
    Target {
        name: "tombstones",
        run: tombstones,
        seeds: tsdb::stone_seeds,
        seal: seal::tombstones,
    },
    Target {
        name: "head_chunks",
        run: head_chunks,
        seeds: tsdb::head_seeds,
        seal: seal::head_chunks,
    },
    Target {
        name: "integrity",
        run: integrity,
        seeds: tsdb::integrity_seeds,
        seal: seal::integrity,
    },
    Target { name: "parse", run: parse, seeds: promql::queries, seal: |_| () },
    Target { name: "evaluate", run: evaluate, seeds: promql::queries, seal: |_| () },
    Target { name: "regex", run: regex, seeds: promql::patterns, seal: |_| () },
];
