//! The database's own metrics, under Prometheus' names.

use std::sync::atomic::{AtomicU64, Ordering};

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Collect, Counter, Families, Gauge, Point},
};

use super::{Db, report::OpenReport};

/// Prometheus' bounds for durations of compactions: a second, doubled 13 times.
const COMPACTION_SECONDS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Counts of a database.
#[derive(Debug)]
pub(super) struct DbMetrics {
    pub(super) syncs: Counter,
    pub(super) reloads: Counter,
    pub(super) reloads_failed: Counter,
    compactions: Counter,
    pub(super) compactions_triggered: Counter,
    pub(super) vertical_compactions: Counter,
    compaction_seconds: Buckets,
    pub(super) populating: Gauge,
    pub(super) tombstone_cleanup_seconds: Buckets,
    pub(super) stale_compactions: Counter,
    pub(super) stale_compactions_failed: Counter,
    pub(super) stale_compaction_seconds: Buckets,
    pub(super) compactions_failed: Counter,
    pub(super) checkpoints_failed: Counter,
    pub(super) time_retentions: Counter,
    pub(super) size_retentions: Counter,
    pub(super) wal_corruptions: Counter,
    pub(super) quarantined: Counter,
    /// Chunks that queries leave out because they are damaged.
    pub(super) damaged_chunks: AtomicU64,
}

impl DbMetrics {
    /// Takes note of what was found in the log.
    pub(super) fn opened(&self, report: &OpenReport) {
        self.wal_corruptions.add(report.damage.len() as u64);
        self.quarantined.add(report.quarantined.len() as u64);
    }

    pub(super) fn new() -> Self {
        Self {
            syncs: Counter::new(),
            reloads: Counter::new(),
            reloads_failed: Counter::new(),
            compactions: Counter::new(),
            compactions_triggered: Counter::new(),
            vertical_compactions: Counter::new(),
            compaction_seconds: Buckets::new(&COMPACTION_SECONDS),
            populating: Gauge::new(),
            tombstone_cleanup_seconds: Buckets::new(&COMPACTION_SECONDS),
            stale_compactions: Counter::new(),
            stale_compactions_failed: Counter::new(),
            stale_compaction_seconds: Buckets::new(&COMPACTION_SECONDS),
            compactions_failed: Counter::new(),
            checkpoints_failed: Counter::new(),
            time_retentions: Counter::new(),
            size_retentions: Counter::new(),
            wal_corruptions: Counter::new(),
            quarantined: Counter::new(),
            damaged_chunks: AtomicU64::new(0),
        }
    }

    /// Counts a block that was made, or was to be made, in so long.
    pub(super) fn compacted(&self, took: std::time::Duration) {
        self.compactions.inc();
        self.compaction_seconds.observe(took.as_secs_f64());
    }
}

impl Collect for Db {
    fn collect(&self, out: &mut Families) {
        self.collect_head(out);
        self.collect_wal(out);
        self.collect_wbl(out);
        self.collect_blocks(out);
        self.collect_decoded(out);
    }
}

impl Db {
    fn collect_decoded(&self, out: &mut Families) {
        let Some(decoded) = &self.0.options.decoded else { return };
        let (bytes, uses) = (decoded.bytes() as f64, decoded.uses());
        out.gauge(
            "firesteel_tsdb_decoded_chunks_bytes",
            "Bytes of chunks that are kept decoded because they are read again and again.",
            bytes,
        );
        for (found, n) in [("true", uses.hits), ("false", uses.misses)] {
            out.add(
                "firesteel_tsdb_decoded_chunks_reads_total",
                MetricType::Counter,
                "Reads of series by whether what was wanted of them was kept decoded.",
                &[("kept", found)],
                Point::Value(n as f64),
            );
        }
    }

    fn collect_head(&self, out: &mut Families) {
        let head = &self.0.head;
        let counts = &head.counts;
        let gauge = |out: &mut Families, name, help, v: f64| out.gauge(name, help, v);
        let counter = |out: &mut Families, name, help, c: &Counter| {
            out.counter(name, help, c.value() as f64);
        };
        let series = head.num_series() as f64;
        gauge(
            out,
            "prometheus_tsdb_head_series",
            "Total number of series in the head block.",
            series,
        );
        let chunks = head.num_chunks() as f64;
        gauge(
            out,
            "prometheus_tsdb_head_chunks",
            "Total number of chunks in the head block.",
            chunks,
        );
        for (kind, count) in [("float", &counts.floats), ("histogram", &counts.histograms)] {
            out.add(
                "prometheus_tsdb_head_samples_appended_total",
                MetricType::Counter,
                "Total number of appended samples.",
                &[("type", kind)],
                Point::Value(count.value() as f64),
            );
        }
        counter(
            out,
            "prometheus_tsdb_head_series_created_total",
            "Total number of series created in the head",
            &counts.series_created,
        );
        counter(
            out,
            "prometheus_tsdb_head_series_removed_total",
            "Total number of series removed in the head",
            &counts.series_removed,
        );
        let (oldest, newest) = head.time_range().unwrap_or((0, 0));
        let seconds = |ms: i64| ms as f64 / 1000.0;
        for (name, help, ms) in [
            (
                "prometheus_tsdb_head_min_time",
                "Minimum time bound of the head block. The unit is decided by the library consumer.",
                oldest as f64,
            ),
            (
                "prometheus_tsdb_head_max_time",
                "Maximum timestamp of the head block. The unit is decided by the library consumer.",
                newest as f64,
            ),
            (
                "prometheus_tsdb_head_min_time_seconds",
                "Minimum time bound of the head block.",
                seconds(oldest),
            ),
            (
                "prometheus_tsdb_head_max_time_seconds",
                "Maximum timestamp of the head block.",
                seconds(newest),
            ),
        ] {
            gauge(out, name, help, ms);
        }
        let late = [&counts.late_floats, &counts.late_histograms];
        for (name, help, [floats, histograms]) in [
            (
                "prometheus_tsdb_head_out_of_order_samples_appended_total",
                "Total number of appended out of order samples.",
                late,
            ),
            (
                "prometheus_tsdb_out_of_order_samples_total",
                "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
                counts.out_of_order.both(),
            ),
            (
                "prometheus_tsdb_out_of_bound_samples_total",
                "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
                counts.out_of_bounds.both(),
            ),
            (
                "prometheus_tsdb_too_old_samples_total",
                "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
                counts.too_old.both(),
            ),
        ] {
            for (kind, count) in [("float", floats), ("histogram", histograms)] {
                let value = Point::Value(count.value() as f64);
                out.add(name, MetricType::Counter, help, &[("type", kind)], value);
            }
        }
        out.add(
            "prometheus_tsdb_sample_ooo_delta",
            MetricType::Histogram,
            "Delta in seconds by which a sample is considered out of order (reported regardless of OOO time window and whether sample is accepted or not).",
            &[],
            counts.late_by.point(),
        );
        let (exemplars, with, max) = head.exemplar_sizes();
        for (name, help, v) in [
            (
                "prometheus_tsdb_exemplar_exemplars_in_storage",
                "Number of exemplars currently in circular storage.",
                exemplars,
            ),
            (
                "prometheus_tsdb_exemplar_series_with_exemplars_in_storage",
                "Number of series with exemplars currently in circular storage.",
                with,
            ),
            (
                "prometheus_tsdb_exemplar_max_exemplars",
                "Total number of exemplars the exemplar storage can store, resizeable.",
                max,
            ),
            (
                "prometheus_tsdb_symbol_table_size_bytes",
                "Size of symbol table in memory for loaded blocks",
                head.symbol_bytes(),
            ),
        ] {
            gauge(out, name, help, v as f64);
        }
    }

    fn collect_wal(&self, out: &mut Families) {
        let metrics = &self.0.metrics;
        let wal = self.0.head.with_wal(|wal| (wal.counts, wal.size(), wal.last_index()));
        let Some((counts, size, segment)) = wal else { return };
        let full = self.0.head.with_wal(|wal| wal.full().is_some()).unwrap_or(false);
        out.gauge(
            "firesteel_tsdb_out_of_space",
            "Whether commits are refused because the disk is full.",
            f64::from(u8::from(full)),
        );
        out.gauge(
            "prometheus_tsdb_wal_segment_current",
            "Write log segment index that TSDB is currently writing to.",
            segment as f64,
        );
        out.gauge(
            "prometheus_tsdb_wal_storage_size_bytes",
            "Size of the write log directory.",
            size as f64,
        );
        for (name, help, v) in [
            (
                "prometheus_tsdb_wal_page_flushes_total",
                "Total number of page flushes.",
                counts.writes,
            ),
            (
                "prometheus_tsdb_wal_completed_pages_total",
                "Total number of completed pages.",
                counts.pages,
            ),
            (
                "prometheus_tsdb_wal_writes_failed_total",
                "Total number of write log writes that failed.",
                counts.failed,
            ),
            (
                "prometheus_tsdb_wal_corruptions_total",
                "Total number of WAL corruptions.",
                metrics.wal_corruptions.value(),
            ),
            (
                "prometheus_tsdb_checkpoint_creations_failed_total",
                "Total number of checkpoint creations that failed.",
                metrics.checkpoints_failed.value(),
            ),
        ] {
            out.counter(name, help, v as f64);
        }
    }

    /// The out-of-order log, once there is one.
    fn collect_wbl(&self, out: &mut Families) {
        let wbl = self.0.head.with_wbl(|wbl| (wbl.counts, wbl.size(), wbl.last_index()));
        let Some((counts, size, segment)) = wbl.filter(|w| w.1 > 0) else { return };
        out.gauge(
            "prometheus_tsdb_out_of_order_wbl_segment_current",
            "Write log segment index that TSDB is currently writing to.",
            segment as f64,
        );
        out.gauge(
            "prometheus_tsdb_out_of_order_wbl_storage_size_bytes",
            "Size of the write log directory.",
            size as f64,
        );
        for (name, help, v) in [
            (
                "prometheus_tsdb_out_of_order_wbl_page_flushes_total",
                "Total number of page flushes.",
                counts.writes,
            ),
            (
                "prometheus_tsdb_out_of_order_wbl_completed_pages_total",
                "Total number of completed pages.",
                counts.pages,
            ),
            (
                "prometheus_tsdb_out_of_order_wbl_writes_failed_total",
                "Total number of write log writes that failed.",
                counts.failed,
            ),
        ] {
            out.counter(name, help, v as f64);
        }
    }

    fn collect_blocks(&self, out: &mut Families) {
        let inner = &self.0;
        let retention = *inner.retention.lock();
        let blocks = self.blocks();
        out.gauge(
            "prometheus_tsdb_blocks_loaded",
            "Number of currently loaded data blocks",
            blocks.len() as f64,
        );
        out.gauge(
            "prometheus_tsdb_storage_blocks_bytes",
            "The number of bytes that are currently used for local storage by all blocks.",
            inner.block_bytes.load(Ordering::Relaxed) as f64,
        );
        out.gauge(
            "firesteel_tsdb_damaged_chunks",
            "Number of damaged chunks met so far that queries leave out.",
            inner.metrics.damaged_chunks.load(Ordering::Relaxed) as f64,
        );
        out.counter(
            "firesteel_tsdb_blocks_quarantined_total",
            "Total number of damaged blocks that were put aside.",
            inner.metrics.quarantined.value() as f64,
        );
        let lowest = self.time_range().map_or(0, |r| r.0);
        out.gauge(
            "prometheus_tsdb_lowest_timestamp",
            "Lowest timestamp value stored in the database. The unit is decided by the library consumer.",
            lowest as f64,
        );
        out.gauge(
            "prometheus_tsdb_lowest_timestamp_seconds",
            "Lowest timestamp value stored in the database.",
            lowest as f64 / 1000.0,
        );
        out.gauge(
            "prometheus_tsdb_retention_limit_bytes",
            "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled",
            retention.bytes.unwrap_or(0) as f64,
        );
        out.gauge(
            "prometheus_tsdb_retention_limit_seconds",
            "How long to retain samples in storage.",
            retention.time.map_or(0.0, |r| r.as_secs_f64()),
        );
        out.gauge(
            "prometheus_tsdb_retention_limit_percentage",
            "Max percentage of total storage space to be retained in the tsdb blocks, configured 0 means disabled",
            retention.percentage.unwrap_or(0.0),
        );
        self.collect_compaction(out);
    }

    fn collect_compaction(&self, out: &mut Families) {
        let metrics = &self.0.metrics;
        out.gauge(
            "prometheus_tsdb_compaction_populating_block",
            "Set to 1 when a block is currently being written to the disk.",
            metrics.populating.value(),
        );
        for (name, help, seconds) in [
            (
                "prometheus_tsdb_compaction_duration_seconds",
                "Duration of compaction runs",
                &metrics.compaction_seconds,
            ),
            (
                "prometheus_tsdb_tombstone_cleanup_seconds",
                "The time taken to recompact blocks to remove tombstones.",
                &metrics.tombstone_cleanup_seconds,
            ),
            (
                "prometheus_tsdb_stale_series_compaction_duration_seconds",
                "Duration of stale series compaction runs.",
                &metrics.stale_compaction_seconds,
            ),
        ] {
            out.add(name, MetricType::Histogram, help, &[], seconds.point());
        }
        for (name, help, c) in [
            (
                "prometheus_tsdb_reloads_total",
                "Number of times the database reloaded block data from disk.",
                &metrics.reloads,
            ),
            (
                "prometheus_tsdb_reloads_failures_total",
                "Number of times the database failed to reloadBlocks block data from disk.",
                &metrics.reloads_failed,
            ),
            (
                "prometheus_tsdb_compactions_triggered_total",
                "Total number of triggered compactions for the partition.",
                &metrics.compactions_triggered,
            ),
            (
                "prometheus_tsdb_vertical_compactions_total",
                "Total number of compactions done on overlapping blocks.",
                &metrics.vertical_compactions,
            ),
            (
                "prometheus_tsdb_stale_series_compactions_triggered_total",
                "Total number of triggered stale series compactions.",
                &metrics.stale_compactions,
            ),
            (
                "prometheus_tsdb_stale_series_compactions_failed_total",
                "Total number of stale series compactions that failed.",
                &metrics.stale_compactions_failed,
            ),
            (
                "prometheus_tsdb_compactions_total",
                "Total number of compactions that were executed for the partition.",
                &metrics.compactions,
            ),
            (
                "prometheus_tsdb_compactions_failed_total",
                "Total number of compactions that failed for the partition.",
                &metrics.compactions_failed,
            ),
            (
                "prometheus_tsdb_time_retentions_total",
                "The number of times that blocks were deleted because the maximum time limit was exceeded.",
                &metrics.time_retentions,
            ),
            (
                "prometheus_tsdb_size_retentions_total",
                "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
                &metrics.size_retentions,
            ),
        ] {
            out.counter(name, help, c.value() as f64);
        }
    }
}
