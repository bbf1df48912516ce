//! The work on `firesteel-tsdb`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use firesteel_model::{
    Labels, Matcher, Value,
    storage::{
        AppendOptions, Appendable as _, QueryContext, Queryable as _, SampleBatch, SelectHints,
        SeriesKey,
    },
};
use firesteel_tsdb::{Db, Durability};

use super::{BATCH, Failure, Figures, START, STEP, each, labels, resident, value};

fn open(dir: &Path) -> Result<Db, Failure> {
    let durability = Durability::Interval(Duration::from_secs(1));
    Ok(Db::builder(dir).durability(durability).open()?)
}

/// Reads everything; the number of samples.
fn read(db: &Db, matchers: &[Matcher]) -> Result<usize, Failure> {
    let ctx = QueryContext::background();
    let querier = db.querier(i64::MIN, i64::MAX)?;
    let selection = querier.select(&ctx, matchers, &SelectHints::range(i64::MIN, i64::MAX))?;
    let mut found = 0;
    for set in &selection.sets {
        let (mut reader, mut batch) = (set.reader(&ctx), SampleBatch::default());
        for i in 0..set.len() {
            reader.open(i)?;
            while reader.next(&mut batch)? {
                found += batch.len();
            }
        }
    }
    Ok(found)
}

pub fn run(dir: &Path, series: usize, samples: i64) -> Result<Figures, Failure> {
    let all: Vec<Labels> = (0..series)
        .map(|i| Labels::from_pairs(labels(i).iter().map(|(n, v)| (*n, v.as_str()))))
        .collect();
    let before = resident();
    let db = open(dir)?;
    let maintenance = db.spawn_maintenance()?;
    let options = AppendOptions::default();
    let mut refs = Vec::with_capacity(series);
    let began = Instant::now();
    for n in 0..samples {
        for (part, labels) in all.chunks(BATCH).enumerate() {
            let mut appender = db.appender();
            for (j, labels) in labels.iter().enumerate() {
                let i = part * BATCH + j;
                let key = refs.get(i).map_or(SeriesKey::Labels(labels), |&r| SeriesKey::Ref(r));
                let found =
                    appender.append(key, START + n * STEP, Value::Float(value(i, n)), &options)?;
                if refs.len() == i {
                    refs.push(found);
                }
            }
            appender.commit()?;
        }
    }
    let total = series * samples as usize;
    let append = each(began, total);
    std::thread::sleep(Duration::from_secs(2));
    let memory = (resident() - before) / series as f64;
    drop(maintenance);
    db.close()?;
    drop(db);
    let began = Instant::now();
    let db = open(dir)?;
    let one = [Matcher::equal("__name__", "http_requests_total_7")];
    let found = read(&db, &one)?;
    let reopen = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(found, (series / 50) * samples as usize);
    let began = Instant::now();
    assert_eq!(read(&db, &[Matcher::equal("job", "kubernetes-pods")])?, total);
    Ok(Figures { append, memory, reopen, read: each(began, total) })
}
