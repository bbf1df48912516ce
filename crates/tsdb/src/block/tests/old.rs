//! Blocks as Prometheus 2.0 and 2.1 wrote them, made here from the formats' description.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use firesteel_chunk::{
    Encoding, XorEncoder,
    varint::{put_uvarint, put_varint},
};
use firesteel_model::Labels;
use proptest::prelude::*;

use super::{ALL, Series, check_labels, read, samples, sim, some_series, write};
use crate::{
    block::{Block, Interval, Tombstones, Ulid, repair::repair_version},
    fs::{Fs, Open},
    testing::{any_labels, any_matchers, satisfies},
};

fn put(fs: &Arc<dyn Fs>, path: &Path, bytes: &[u8]) {
    fs.open(path, Open::Truncate).unwrap().append(bytes).unwrap();
}

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

/// First and last time and reference of each chunk of each series.
type Chunks = Vec<Vec<(i64, i64, u64)>>;

/// One chunk file, version 1.
fn chunk_file(series: &Series, per_chunk: usize) -> (Vec<u8>, Chunks) {
    let mut out = 0x85bd_40dd_u32.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 0]);
    let mut all = Chunks::new();
    for samples in series.values() {
        let mut chunks = Vec::new();
        for samples in samples.chunks(per_chunk) {
            let mut chunk = XorEncoder::new();
            for &(t, v) in samples {
                chunk.append(t, v).unwrap();
            }
            chunks.push((samples[0].0, samples[samples.len() - 1].0, out.len() as u64));
            let mut body = vec![Encoding::Xor.id()];
            body.extend_from_slice(chunk.bytes());
            put_uvarint(&mut out, body.len() as u64 - 1);
            out.extend_from_slice(&body);
            out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        }
        all.push(chunks);
    }
    (out, all)
}

/// An index of version 1: strings are named by their offsets, series too, and nothing is aligned;
/// there are label indices, which nobody reads any more.
fn index_file(series: &Series, chunks: &Chunks) -> Vec<u8> {
    let mut out = 0xbaaa_d700_u32.to_be_bytes().to_vec();
    out.push(1);
    let strings: BTreeSet<&str> =
        series.keys().flat_map(Labels::iter).flat_map(|(n, v)| [n, v]).collect();
    let mut body = (strings.len() as u32).to_be_bytes().to_vec();
    let mut symbols = BTreeMap::new();
    for text in strings {
        symbols.insert(text, out.len() as u64 + 4 + body.len() as u64);
        string(&mut body, text);
    }
    let symbols_at = section(&mut out, &body);
    let series_at = out.len() as u64;
    let mut postings: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
    for (labels, chunks) in series.keys().zip(chunks) {
        let id = out.len() as u32;
        postings.entry(("", "")).or_default().push(id);
        let mut body = Vec::new();
        put_uvarint(&mut body, labels.iter().count() as u64);
        for (name, value) in labels {
            postings.entry((name, value)).or_default().push(id);
            put_uvarint(&mut body, symbols[name]);
            put_uvarint(&mut body, symbols[value]);
        }
        put_uvarint(&mut body, chunks.len() as u64);
        let mut last = None;
        for &(mint, maxt, reference) in chunks {
            match last {
                None => put_varint(&mut body, mint),
                Some((before, _)) => put_uvarint(&mut body, (mint - before) as u64),
            }
            put_uvarint(&mut body, (maxt - mint) as u64);
            match last {
                None => put_uvarint(&mut body, reference),
                Some((_, before)) => put_varint(&mut body, (reference - before) as i64),
            }
            last = Some((maxt, reference));
        }
        put_uvarint(&mut out, body.len() as u64);
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    }
    let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (name, value) in postings.keys().filter(|p| !p.0.is_empty()) {
        values.entry(name).or_default().push(symbols[value]);
    }
    let labels_at = out.len() as u64;
    let mut label_table = (values.len() as u32).to_be_bytes().to_vec();
    for (name, values) in values {
        let mut body = 1_u32.to_be_bytes().to_vec();
        body.extend_from_slice(&(values.len() as u32).to_be_bytes());
        body.extend(values.iter().flat_map(|v| (*v as u32).to_be_bytes()));
        put_uvarint(&mut label_table, 1);
        string(&mut label_table, name);
        put_uvarint(&mut label_table, section(&mut out, &body));
    }
    let postings_at = out.len() as u64;
    let mut table = (postings.len() as u32).to_be_bytes().to_vec();
    // Not in order: written as a map of Go came.
    for ((name, value), ids) in postings.iter().rev() {
        let mut body = (ids.len() as u32).to_be_bytes().to_vec();
        body.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
        put_uvarint(&mut table, 2);
        string(&mut table, name);
        string(&mut table, value);
        put_uvarint(&mut table, section(&mut out, &body));
    }
    let label_table_at = section(&mut out, &label_table);
    let table_at = section(&mut out, &table);
    let mut toc = Vec::new();
    for at in [symbols_at, series_at, labels_at, label_table_at, postings_at, table_at] {
        toc.extend_from_slice(&at.to_be_bytes());
    }
    let crc = crc32c::crc32c(&toc);
    out.extend_from_slice(&toc);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// A directory of a block as Prometheus 2.0 made it.
pub(super) fn write_version_1(fs: &Arc<dyn Fs>, series: &Series, per_chunk: usize) -> Block {
    let ulid = Ulid::generate(1, &mut fastrand::Rng::with_seed(1));
    let dir = Path::new("/").join(ulid.to_string());
    fs.create_dir_all(&dir.join("chunks")).unwrap();
    let times = || series.values().flatten().map(|s| s.0);
    let (mint, maxt) = (times().min().unwrap_or(0), times().max().unwrap_or(0) + 1);
    let meta = format!(
        "{{\n\t\"version\": 1,\n\t\"ulid\": \"{ulid}\",\n\t\"minTime\": {mint},\n\t\"maxTime\": {maxt},\
         \n\t\"stats\": {{\n\t\t\"numSeries\": {}\n\t}},\n\t\"compaction\": {{\n\t\t\"level\": 1,\
         \n\t\t\"sources\": [\n\t\t\t\"{ulid}\"\n\t\t]\n\t}}\n}}\n",
        series.len()
    );
    put(fs, &dir.join("meta.json"), meta.as_bytes());
    let (chunks, metas) = chunk_file(series, per_chunk);
    put(fs, &dir.join("chunks/000001"), &chunks);
    put(fs, &dir.join("index"), &index_file(series, &metas));
    // Without entries, as every block had them.
    put(fs, &dir.join("tombstones"), &[0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);
    Block::open(Arc::clone(fs), &dir).unwrap()
}

#[test]
fn a_block_of_version_1_can_be_deleted_from() {
    let (_, fs) = sim();
    let mut series = some_series();
    let block = write_version_1(&fs, &series, 30);
    assert_eq!(read(&block, ALL, &[]).unwrap(), series);
    let mut ids = Vec::new();
    let index = &block.files().unwrap().index;
    let all = index.table().all().unwrap();
    index.postings(&mut crate::fs::Window::default(), all, &mut ids).unwrap();
    let mut stones = Tombstones::default();
    stones.add(ids[3].into(), Interval { mint: 0, maxt: 50_000 });
    block.set_tombstones(stones).unwrap();
    let key = series.keys().nth(3).unwrap().clone();
    series.get_mut(&key).unwrap().retain(|s| s.0 > 50_000);
    let again = Block::open(fs, block.dir()).unwrap();
    assert_eq!(read(&again, ALL, &[]).unwrap(), series);
}

#[test]
fn mixed_up_version_numbers_are_put_right() {
    let (_, fs) = sim();
    let series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 30).unwrap().unwrap();
    let dir = Path::new("/").join(meta.ulid.to_string());
    assert!(!repair_version(&*fs, &dir).unwrap());
    let text = fs.read_all(&dir.join("meta.json")).unwrap().to_vec();
    let text = String::from_utf8(text).unwrap();
    put(&fs, &dir.join("meta.json"), text.replace("\"version\": 1", "\"version\": 2").as_bytes());
    let mut index = fs.read_all(&dir.join("index")).unwrap().to_vec();
    index[4] = 1;
    put(&fs, &dir.join("index"), &index);
    let error = Block::open(Arc::clone(&fs), &dir).unwrap_err().to_string();
    assert!(error.contains("unexpected meta file version 2"), "{error}");
    assert!(repair_version(&*fs, &dir).unwrap());
    let block = Block::open(Arc::clone(&fs), &dir).unwrap();
    assert_eq!(*block.meta(), meta);
    assert_eq!(read(&block, ALL, &[]).unwrap(), series);
    assert!(!repair_version(&*fs, &dir).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::testing::cases(48)))]
    #[test]
    fn any_block_of_version_1_reads_back(
        series in prop::collection::btree_map(any_labels(), samples(), 1..30),
        per_chunk in 1_usize..40, matchers in any_matchers(),
    ) {
        let (_, fs) = sim();
        let block = write_version_1(&fs, &series, per_chunk);
        prop_assert_eq!(&read(&block, ALL, &[]).unwrap(), &series);
        let mut expected = series;
        expected.retain(|labels, _| satisfies(labels, &matchers));
        let found = read(&block, ALL, &matchers).unwrap();
        prop_assert_eq!(&found, &expected);
        check_labels(&block, &expected, &matchers);
    }
}
