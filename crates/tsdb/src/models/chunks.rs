//! Chunks that are closed, written to files and given up while they are read.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use firesteel_model::Labels;

use super::{Acknowledged, commit, head, read, series, whole_commits};
use crate::{
    fs::{Fs, SimFs},
    head::{ChunkFiles, Head},
    sync::model::{Task, explore},
};

struct State {
    head: Arc<Head>,
    all: Vec<Labels>,
    acknowledged: Acknowledged,
}

/// A chunk has two samples.
fn setup() -> State {
    let head = head(2);
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
    let dir = Path::new("/data");
    fs.create_dir_all(dir).unwrap();
    let (files, _) = ChunkFiles::open(fs, dir).unwrap();
    head.set_chunk_files(Arc::new(files));
    let mut other = series(0, 1).to_builder();
    other.set("kind", "histogram");
    let all = vec![series(0, 0), other.build()];
    for t in 2..5 {
        commit(head.appender(), all.iter().cloned(), t).unwrap();
    }
    State { head, all, acknowledged: Default::default() }
}

fn writer() -> Task<State> {
    Box::new(|state: &State| {
        for t in 5..10 {
            commit(state.head.appender(), state.all.iter().cloned(), t).unwrap();
            state.acknowledged[0].store(t, Ordering::Release);
        }
    })
}

fn spill(times: usize) -> Task<State> {
    Box::new(move |state: &State| {
        for _ in 0..times {
            state.head.spill().unwrap();
        }
    })
}

fn reader(views: usize) -> Task<State> {
    Box::new(move |state: &State| {
        for _ in 0..views {
            let known = state.acknowledged[0].load(Ordering::Acquire).max(4);
            let querier = state.head.querier(i64::MIN, i64::MAX, i64::MIN);
            let all = read(&querier, &[]);
            assert!(whole_commits(&all, &state.all, 2) >= known);
            assert_eq!(read(&querier, &[]), all, "a view has changed");
        }
    })
}

#[test]
fn chunks_are_closed_and_written_while_they_are_read() {
    let after = |state: &State| {
        state.head.spill().unwrap();
        let all = read(&state.head.querier(i64::MIN, i64::MAX, i64::MIN), &[]);
        assert_eq!(whole_commits(&all, &state.all, 2), 9);
        let files = state.head.chunk_files().unwrap().bytes();
        assert!(files > 0, "nothing was written");
    };
    let tasks = vec![writer(), spill(2), reader(2), spill(1)];
    explore(300, setup, tasks, after);
}
