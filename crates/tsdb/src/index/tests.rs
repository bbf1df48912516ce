//! An index of version 1, which nothing writes any more, and damage.

use std::path::Path;

use firesteel_chunk::varint::{put_uvarint, put_varint};
use firesteel_model::{
    Matcher,
    storage::{QueryContext, StorageError},
};

use super::*;
use crate::{
    TsdbError,
    fs::{Fs, Open, SimFs, Window},
};

fn section(out: &mut Vec<u8>, body: &[u8]) -> u64 {
    let at = out.len() as u64;
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    at
}

fn string(out: &mut Vec<u8>, s: &str) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s.as_bytes());
}

/// Three series `{a="1"}`, `{a="2"}`, `{a="2", b="1"}`, the postings offset table not sorted.
fn version_1() -> Vec<u8> {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(1);
    let mut body = 4_u32.to_be_bytes().to_vec();
    let mut symbols = Vec::new();
    for symbol in ["1", "2", "a", "b"] {
        // Symbols are named by their offsets.
        symbols.push(out.len() as u64 + 4 + body.len() as u64);
        string(&mut body, symbol);
    }
    let symbols_at = section(&mut out, &body);
    let [one, two, a, b] = symbols[..] else { panic!("four symbols") };
    let series_at = out.len() as u64;
    let mut ids = Vec::new();
    for labels in [&[(a, one)][..], &[(a, two)], &[(a, two), (b, one)]] {
        ids.push(out.len() as u32);
        let mut body = Vec::new();
        put_uvarint(&mut body, labels.len() as u64);
        for &(name, value) in labels {
            put_uvarint(&mut body, name);
            put_uvarint(&mut body, value);
        }
        put_uvarint(&mut body, 1);
        put_varint(&mut body, -7);
        put_uvarint(&mut body, 10);
        put_uvarint(&mut body, 8);
        put_uvarint(&mut out, body.len() as u64);
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    }
    let postings_at = out.len() as u64;
    let mut table = 4_u32.to_be_bytes().to_vec();
    for (name, value, list) in
        [("b", "1", &ids[2..]), ("a", "2", &ids[1..]), ("", "", &ids[..]), ("a", "1", &ids[..1])]
    {
        let mut body = (list.len() as u32).to_be_bytes().to_vec();
        body.extend(list.iter().flat_map(|id| id.to_be_bytes()));
        let at = section(&mut out, &body);
        put_uvarint(&mut table, 2);
        string(&mut table, name);
        string(&mut table, value);
        put_uvarint(&mut table, at);
    }
    let table_at = section(&mut out, &table);
    let mut toc = Vec::new();
    for offset in [symbols_at, series_at, postings_at, table_at, postings_at, table_at] {
        toc.extend_from_slice(&offset.to_be_bytes());
    }
    out.extend_from_slice(&toc);
    out.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
    out
}

fn open(bytes: &[u8]) -> Result<IndexReader, TsdbError> {
    let fs = SimFs::new();
    let path = Path::new("/index");
    fs.open(path, Open::Create).unwrap().append(bytes).unwrap();
    IndexReader::open(&fs, path)
}

fn labels(index: &IndexReader, id: u32) -> Result<Vec<String>, TsdbError> {
    let mut pairs = Vec::new();
    index.series(&mut Window::default(), id)?.labels(&mut pairs)?;
    let ids: Vec<u32> = pairs.into_iter().flat_map(|(n, v)| [n, v]).collect();
    let mut out = Vec::new();
    index.symbols().resolve(index.source(), &ids, &mut |_, s| out.push(s.to_owned()))?;
    Ok(out)
}

fn select(index: &IndexReader, matchers: &[Matcher]) -> Result<Vec<u32>, StorageError> {
    let ctx = QueryContext::background();
    let mut memory = Memory::new(&ctx)?;
    Search::new(index).select(matchers, &ctx, &mut memory)
}

fn find(index: &IndexReader, matchers: &[Matcher]) -> Vec<Vec<String>> {
    let ids = select(index, matchers).unwrap();
    ids.into_iter().map(|id| labels(index, id).unwrap()).collect()
}

#[test]
fn reads_version_1() {
    let index = open(&version_1()).unwrap();
    let all = find(&index, &[]);
    assert_eq!(all, [vec!["a", "1"], vec!["a", "2"], vec!["a", "2", "b", "1"]]);
    assert_eq!(find(&index, &[Matcher::equal("a", "2")]), all[1..]);
    assert_eq!(find(&index, &[Matcher::equal("a", "2"), Matcher::equal("b", "")]), all[1..2]);
    assert_eq!(find(&index, &[Matcher::not_equal("b", "")]), all[2..]);
    let names: Vec<_> = index.table().names().collect();
    assert_eq!(names, [(&b"a"[..], 2), (&b"b"[..], 1)]);
    let ids = select(&index, &[]).unwrap();
    let mut window = Window::default();
    let chunks = index.series(&mut window, ids[0]).unwrap().chunks().unwrap();
    let chunks: Vec<_> = chunks.collect::<Result<_, _>>().unwrap();
    assert_eq!(chunks, [ChunkMeta { mint: -7, maxt: 3, reference: 8 }]);
}

#[test]
fn versions_and_magic_are_checked() {
    let mut bytes = version_1();
    bytes[4] = 4;
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("unknown index version 4"), "{error}");
    bytes[0] = 0;
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("wrong magic number"), "{error}");
    assert!(open(&[]).is_err());
}

#[test]
fn wrong_numbers_are_errors() {
    let index = open(&version_1()).unwrap();
    for id in [0, 3, u32::MAX] {
        assert!(labels(&index, id).is_err());
        assert!(index.symbols().resolve(index.source(), &[id], &mut |_, _| ()).is_err());
        assert!(index.postings(&mut Window::default(), id.into(), &mut Vec::new()).is_err());
    }
    for at in [u64::MAX, u64::MAX - 8, 1 << 63] {
        assert!(index.postings(&mut Window::default(), at, &mut Vec::new()).is_err());
    }
    // A table of contents that is whole but says nonsense.
    let good = version_1();
    for field in 0..6 {
        for offset in [1_u64, 1 << 40, u64::MAX, u64::MAX - 7] {
            let mut bad = good.clone();
            let toc = bad.len() - TOC_LEN as usize;
            bad[toc + 8 * field..][..8].copy_from_slice(&offset.to_be_bytes());
            let crc = crc32c::crc32c(&bad[toc..][..48]);
            bad[toc + 48..].copy_from_slice(&crc.to_be_bytes());
            if let Ok(index) = open(&bad) {
                for id in select(&index, &[]).unwrap_or_default() {
                    let _ = labels(&index, id);
                }
            }
        }
    }
}

/// Every value is found whichever of the kept ones it is next to.
#[test]
fn samples_of_the_tables_hide_nothing() {
    let fs = SimFs::new();
    let path = Path::new("/index");
    let mut values: Vec<String> = (0..200).map(|i| format!("v{i:03}")).collect();
    values.push("a".repeat(500));
    values.extend(["n".to_owned(), "o".to_owned()]);
    values.sort();
    let symbols = SymbolTable::new(values.iter().map(String::as_str)).unwrap();
    let n = symbols.find("n").unwrap();
    let mut writer = IndexWriter::create(&fs, path, symbols).unwrap();
    let is_value = |v: &String| v.starts_with('v') || v.starts_with('a');
    for (i, _) in values.iter().enumerate().filter(|(_, v)| is_value(v)) {
        writer.add_series(&[(n, i as u32)], &[]).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), fs.metadata(path).unwrap().len);
    let index = IndexReader::open(&fs, path).unwrap();
    let ids: Vec<u32> = (0..index.symbols().bound()).collect();
    let mut found = Vec::new();
    index.symbols().resolve(index.source(), &ids, &mut |_, s| found.push(s.to_owned())).unwrap();
    assert_eq!(found, values);
    for value in values.iter().filter(|v| is_value(v)) {
        assert_eq!(find(&index, &[Matcher::equal("n", value)]), [["n", value]]);
    }
    for missing in ["", "v", "v0005", "v199x", "w", "b"] {
        let found = index.table().find(index.source(), &mut Window::default(), "n", missing);
        assert_eq!(found.unwrap(), None, "{missing:?}");
    }
    let regex = Matcher::new(firesteel_model::MatchOp::Regex, "n", "v1[0-4].*").unwrap();
    assert_eq!(find(&index, &[regex]).len(), 50);
}
