//! The file `queries.active`: the queries that run now, for the one who looks for what killed the
//! server. Source of the format: `promql/query_logger.go`.
//!
//! A bracket, then one slot of fixed size per place in the engine's gate: a JSON object and, in the
//! slot's last byte, a comma; zeros where no query runs. Plain writes into the page cache, which a
//! dead process leaves behind.

use std::{fs, io, os::unix::fs::FileExt as _, path::Path, sync::Arc, sync::OnceLock};

use firesteel_model::clock::Clock;
use firesteel_promql::{ObservedQuery, QueryObserver, QueryOutcome};

/// Bytes of a slot.
const SLOT: usize = 1000;
/// Its name in the data folder.
const NAME: &str = "queries.active";

/// Writes the file. Does nothing until it is opened.
pub(crate) struct ActiveQueries {
    file: OnceLock<fs::File>,
    clock: Arc<dyn Clock>,
}

impl ActiveQueries {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { file: OnceLock::new(), clock }
    }

    /// Opens the file in the data folder, which nobody else uses, and says in the log which queries
    /// were running when the last server ended.
    pub(crate) fn open(&self, folder: &Path, slots: usize) -> io::Result<()> {
        let path = folder.join(NAME);
        let length = 1 + slots as u64 * SLOT as u64;
        if let Ok(file) = fs::File::open(&path) {
            let mut left = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, length), &mut left)?;
            if let Some(queries) = unfinished(&left) {
                tracing::info!(%queries, "These queries didn't finish in prometheus' last run:");
            }
        }
        let file =
            fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(length)?;
        file.write_all_at(b"[", 0)?;
        let _ = self.file.set(file);
        Ok(())
    }

    fn write(&self, slot: Option<usize>, bytes: &[u8]) {
        let (Some(file), Some(slot)) = (self.file.get(), slot) else { return };
        if let Err(error) = file.write_all_at(bytes, 1 + slot as u64 * SLOT as u64) {
            tracing::warn!(%error, "writing the file of active queries failed");
        }
    }
}

impl QueryObserver for ActiveQueries {
    fn started(&self, query: &ObservedQuery<'_>) {
        let seconds = self.clock.now().div_euclid(1000);
        self.write(query.slot, &entry(query.text, seconds));
    }

    fn finished(&self, query: &ObservedQuery<'_>, _: &QueryOutcome<'_>) {
        self.write(query.slot, &[0; SLOT]);
    }
}

/// The bytes of a slot. The text is cut so that they fit.
fn entry(query: &str, seconds: i64) -> [u8; SLOT] {
    let head = b"{\"query\":\"";
    let tail = format!("\",\"timestamp_sec\":{seconds}}}");
    let room = SLOT - 1 - head.len() - tail.len();
    let mut text = String::with_capacity(room + 8);
    for c in query.chars() {
        let before = text.len();
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // As Go escapes for the sake of web pages.
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => text.push(c),
        }
        if text.len() > room {
            text.truncate(before);
            break;
        }
    }
    let mut slot = [0; SLOT];
    let parts = head.iter().chain(text.as_bytes()).chain(tail.as_bytes());
    slot.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    slot[SLOT - 1] = b',';
    slot
}

/// The queries that a file still has, as a JSON list; `None` where there are none.
fn unfinished(bytes: &[u8]) -> Option<String> {
    let used: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
    let text = String::from_utf8_lossy(&used);
    // A bracket alone: none was running. Else the last comma makes room for the end of the list.
    let mut text = text.into_owned();
    text.pop();
    (!text.is_empty()).then(|| text + "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_json_however_long_the_query() {
        for query in ["up", "a<b", &"\u{20ac}".repeat(2000), &"\"\\\n".repeat(1000), "\u{1}"] {
            let slot = entry(query, 1_700_000_000);
            assert_eq!(slot[SLOT - 1], b',');
            let text = unfinished(&[b"[", &slot[..], &[0; SLOT], &slot[..]].concat()).unwrap();
            let list: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(list.as_array().unwrap().len(), 2);
            assert_eq!(list[0]["timestamp_sec"], 1_700_000_000);
            assert!(query.starts_with(list[1]["query"].as_str().unwrap()));
        }
        assert!(entry("a<b", 1).starts_with(br#"{"query":"a\u003cb","timestamp_sec":1}"#));
        assert_eq!(unfinished(b"[\0\0\0"), None);
        assert_eq!(unfinished(b""), None);
    }
}
