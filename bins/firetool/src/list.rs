//! `list`: the blocks of a directory.

use std::{io::Write, path::Path, sync::Arc};

use firesteel_tsdb::{
    block::{Block, Ulid},
    fs::{Fs, OsFs, ReadOnlyFs},
};

use crate::{Failure, Outcome, text};

/// Prints the blocks, oldest first.
pub(crate) fn run(path: &Path, human: bool, out: &mut dyn Write) -> Outcome {
    print(&blocks(path)?, true, human, out)
}

/// The file system, for reading.
pub(crate) fn fs() -> Arc<dyn Fs> {
    Arc::new(ReadOnlyFs::new(Arc::new(OsFs::new())))
}

/// Names of the blocks in a directory.
pub(crate) fn names(path: &Path) -> Result<Vec<Ulid>, Failure> {
    let open = |e: std::io::Error| {
        // As Go words it.
        let cause = match e.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => e.to_string(),
        };
        Failure::Message(format!("opening the db dir: stat {}: {cause}", path.display()))
    };
    let entries = fs().read_dir(path).map_err(open)?;
    Ok(entries.iter().filter(|e| e.is_dir).filter_map(|e| e.name.parse().ok()).collect())
}

/// Opens a block.
pub(crate) fn open(path: &Path, name: &str) -> Result<Block, Failure> {
    let dir = path.join(name);
    Block::open(fs(), &dir).map_err(|e| Failure::of(&format!("opening block {name}"), &e))
}

/// The blocks of a directory, oldest first.
pub(crate) fn blocks(path: &Path) -> Result<Vec<Block>, Failure> {
    let mut blocks = Vec::new();
    for name in names(path)? {
        blocks.push(open(path, &name.to_string())?);
    }
    blocks.sort_by_key(|b| (b.meta().min_time, b.meta().max_time));
    Ok(blocks)
}

/// Prints blocks as a table.
pub(crate) fn print(blocks: &[Block], header: bool, human: bool, out: &mut dyn Write) -> Outcome {
    let mut rows = Vec::new();
    if header {
        let names = [
            "BLOCK ULID",
            "MIN TIME",
            "MAX TIME",
            "DURATION",
            "NUM SAMPLES",
            "NUM CHUNKS",
            "NUM SERIES",
            "SIZE",
        ];
        rows.push(names.map(str::to_owned).to_vec());
    }
    let time = |t: i64| if human { text::time(t) } else { t.to_string() };
    for block in blocks {
        let (meta, size) = (block.meta(), block.size().unwrap_or(0));
        rows.push(vec![
            meta.ulid.to_string(),
            time(meta.min_time),
            time(meta.max_time),
            text::duration(meta.max_time.saturating_sub(meta.min_time)),
            meta.stats.num_samples.to_string(),
            meta.stats.num_chunks.to_string(),
            meta.stats.num_series.to_string(),
            if human { text::bytes(size) } else { size.to_string() },
        ]);
    }
    Ok(text::table(&rows, out)?)
}
