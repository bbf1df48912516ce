//! What the tests of loops and managers share: a clock on tokio's time, a fetcher that plays a
//! script, and a readable dump of a storage.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use firesteel_config::HttpClientConfig;
use firesteel_model::{
    Matcher,
    clock::Clock,
    is_stale_nan,
    storage::{
        BatchValues, Interner, QueryContext, Queryable, SampleBatch, SelectHints,
        memory::MemoryStorage, merge::MergedSeries,
    },
};
use firesteel_scrape::{
    BoxFuture, Fetch, FetchRequest, Fetched, MakeFetch, ScrapeError, ScrapeManager, ScrapeOptions,
};

/// Wall time as tokio's time, from 1 000 000 000 s on.
#[derive(Debug)]
pub struct TokioClock(tokio::time::Instant);

pub const START: i64 = 1_000_000_000_000;

impl TokioClock {
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> i64 {
        START + self.0.elapsed().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What a target does when it is asked.
#[derive(Clone, Debug)]
pub enum Play {
    Page(String),
    Fail(String),
    Hang,
}

/// Plays a list of replies per URL; the last one is repeated.
#[derive(Debug, Default)]
pub struct Script {
    pub plays: Mutex<HashMap<String, VecDeque<Play>>>,
    pub requests: Mutex<Vec<FetchRequest>>,
}

impl Script {
    pub fn set(&self, url: &str, plays: impl IntoIterator<Item = Play>) {
        self.plays.lock().unwrap().insert(url.to_owned(), plays.into_iter().collect());
    }

    pub fn asked(&self, url: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|r| r.url == url).count()
    }
}

#[derive(Debug)]
pub struct Player(pub Arc<Script>);

impl Fetch for Player {
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        _size_hint: usize,
    ) -> BoxFuture<'a, Result<Fetched, ScrapeError>> {
        self.0.requests.lock().unwrap().push(request.clone());
        let play = {
            let mut plays = self.0.plays.lock().unwrap();
            let list = plays.entry(request.url.clone()).or_default();
            if list.len() > 1 { list.pop_front() } else { list.front().cloned() }
        };
        Box::pin(async move {
            match play {
                Some(Play::Page(body)) => {
                    Ok(Fetched { body: body.into(), content_type: "text/plain".into() })
                }
                Some(Play::Hang) => std::future::pending().await,
                Some(Play::Fail(text)) => Err(ScrapeError::Fetch(text)),
                None => Err(ScrapeError::Fetch("connection refused".into())),
            }
        })
    }
}

#[derive(Debug)]
pub struct Players(pub Arc<Script>);

impl MakeFetch for Players {
    fn make(&self, _config: &HttpClientConfig) -> Result<Arc<dyn Fetch>, ScrapeError> {
        Ok(Arc::new(Player(Arc::clone(&self.0))))
    }
}

/// A manager over a storage in memory and a script, on tokio's time.
pub fn manager() -> (ScrapeManager, MemoryStorage, Arc<Script>) {
    manager_with(|_| {})
}

pub fn manager_with(
    change: impl FnOnce(&mut ScrapeOptions),
) -> (ScrapeManager, MemoryStorage, Arc<Script>) {
    let script = Arc::new(Script::default());
    let mut options = ScrapeOptions::new(Arc::new(Players(Arc::clone(&script))));
    options.clock = Arc::new(TokioClock::new());
    change(&mut options);
    let storage = MemoryStorage::new();
    (ScrapeManager::new(Arc::new(storage.clone()), options), storage, script)
}

/// Series of one metric as `instance value value ...`, `stale` for a marker.
pub fn values(storage: &MemoryStorage, metric: &str) -> Vec<String> {
    samples(storage, metric)
        .into_iter()
        .map(|(instance, samples)| {
            let values = samples
                .iter()
                .map(|(_, v)| if is_stale_nan(*v) { "stale".to_owned() } else { v.to_string() });
            format!("{instance} {}", values.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// Series of one metric by instance: times from the clock's start on, and values.
pub fn samples(storage: &MemoryStorage, metric: &str) -> Vec<(String, Vec<(i64, f64)>)> {
    let ctx = QueryContext::background();
    let querier = storage.querier(i64::MIN, i64::MAX).unwrap();
    let matchers = [Matcher::equal("__name__", metric)];
    let hints = SelectHints::range(i64::MIN, i64::MAX);
    let selection = querier.select(&ctx, &matchers, &hints).unwrap();
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
    let mut reader = merged.reader(&ctx);
    let mut all = Vec::new();
    for i in 0..merged.len() {
        let labels = interner.labels(merged.pairs(i));
        reader.open(i).unwrap();
        let (mut batch, mut samples) = (SampleBatch::default(), Vec::new());
        while reader.next(&mut batch).unwrap() {
            let BatchValues::Floats(values) = &batch.values else { panic!("floats") };
            samples.extend(batch.timestamps.iter().map(|t| t - START).zip(values.iter().copied()));
        }
        all.push((labels.get("instance").unwrap_or_default().to_owned(), samples));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
