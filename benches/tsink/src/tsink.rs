//! The work on `tsink`.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tsink::{DataPoint, Label, Row, Storage, StorageBuilder, TimestampPrecision, wal::WalSyncMode};

use super::{BATCH, Failure, Figures, START, STEP, each, labels, resident, value};

fn open(dir: &Path) -> Result<Arc<dyn Storage>, Failure> {
    Ok(StorageBuilder::new()
        .with_data_path(dir)
        .with_timestamp_precision(TimestampPrecision::Milliseconds)
        .with_retention_enforced(false)
        .with_wal_sync_mode(WalSyncMode::Periodic(Duration::from_secs(1)))
        .build()?)
}

fn read(storage: &dyn Storage, metric: usize) -> Result<usize, Failure> {
    let all = storage.select_all(&format!("http_requests_total_{metric}"), START, i64::MAX)?;
    Ok(all.iter().map(|(_, points)| points.len()).sum())
}

pub fn run(dir: &Path, series: usize, samples: i64) -> Result<Figures, Failure> {
    let all: Vec<(String, Vec<Label>)> = (0..series)
        .map(|i| {
            let labels = labels(i);
            let name = labels[0].1.clone();
            (name, labels[1..].iter().map(|(n, v)| Label::new(*n, v.clone())).collect())
        })
        .collect();
    let before = resident();
    let storage = open(dir)?;
    let mut appending = Duration::ZERO;
    for n in 0..samples {
        for (part, series) in all.chunks(BATCH).enumerate() {
            // Rows own their labels: making them is part of every append.
            let began = Instant::now();
            let rows: Vec<Row> = series
                .iter()
                .enumerate()
                .map(|(j, (metric, labels))| {
                    let point = DataPoint::new(START + n * STEP, value(part * BATCH + j, n));
                    Row::with_labels(metric.as_str(), labels.clone(), point)
                })
                .collect();
            storage.insert_rows(&rows)?;
            appending += began.elapsed();
        }
    }
    let total = series * samples as usize;
    let append = appending.as_nanos() as f64 / total as f64;
    std::thread::sleep(Duration::from_secs(2));
    let memory = (resident() - before) / series as f64;
    storage.close()?;
    drop(storage);
    let began = Instant::now();
    let storage = open(dir)?;
    let found = read(&*storage, 7)?;
    let reopen = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(found, (series / 50) * samples as usize);
    let began = Instant::now();
    let found: usize = (0..50).map(|m| read(&*storage, m)).sum::<Result<_, _>>()?;
    assert_eq!(found, total);
    Ok(Figures { append, memory, reopen, read: each(began, total) })
}
