use std::{path::Path, sync::Arc};

use firesteel_chunk::Encoding;

use super::{
    format::{HEADER, entry, put, without_out_of_order},
    *,
};
use crate::fs::{Crash, Fault, OpKind, Open, SimFs};

fn chunk(series: u64, from: i64, len: usize) -> ToWrite {
    let data: Vec<u8> = (0..len).map(|i| (i as u64 + series) as u8).collect();
    let (mint, maxt) = (from, from + 10);
    ToWrite { series, mint, maxt, encoding: Encoding::Xor, data: data.into() }
}

fn sealed(chunk: &ToWrite, place: Place) -> Sealed {
    let (mint, maxt, encoding) = (chunk.mint, chunk.maxt, chunk.encoding);
    Sealed { mint, maxt, encoding, data: Data::File(place) }
}

fn open(fs: &SimFs) -> (Arc<ChunkFiles>, Found) {
    let (files, found) = ChunkFiles::open(Arc::new(fs.clone()), Path::new("/db")).unwrap();
    (Arc::new(files), found)
}

#[test]
fn what_is_written_is_read_now_and_after_a_restart() {
    let fs = SimFs::new();
    let (files, found) = open(&fs);
    assert!(found.chunks.is_empty());
    let chunks: Vec<_> =
        (1..2000).map(|i| chunk(i, 100 * i as i64, 30 + i as usize * 7 % 900)).collect();
    let huge = [chunk(9, 1_000_000, 70_000), chunk(9, 2_000_000, 65_535), chunk(9, 3_000_000, 1)];
    let mut places = Vec::new();
    files.write(&chunks, |i, place| places.push((i, place))).unwrap();
    files.write(&huge, |i, place| places.push((chunks.len() + i, place))).unwrap();
    assert!(places.iter().map(|p| p.0).eq(0..chunks.len() + 3));
    let all: Vec<_> = chunks.iter().chain(&huge).zip(&places).collect();
    let mut reader = ChunkReader::new(Some(Arc::clone(&files)));
    for &(c, &(_, place)) in all.iter().chain(all.iter().rev().step_by(7)) {
        assert_eq!(reader.get(&sealed(c, place)).unwrap(), &*c.data);
    }
    let wrong = ToWrite { data: chunks[1].data.clone(), ..chunk(1, 5, 0) };
    assert!(reader.get(&sealed(&wrong, places[1].1)).is_err());
    let (again, found) = open(&fs);
    assert_eq!((found.chunks.len(), found.damage.len()), (all.len(), 0));
    let mut reader = ChunkReader::new(Some(Arc::clone(&again)));
    for ((series, s), (c, _)) in found.chunks.iter().zip(&all) {
        assert_eq!((*series, s.mint, s.maxt), (c.series, c.mint, c.maxt));
        assert_eq!(reader.get(s).unwrap(), &*c.data);
    }
    // The next one goes into a new file, and old files stay readable for who has them.
    again.write(&huge[..1], |_, place| assert_eq!(place.file, 2)).unwrap();
    again.remove_before(2_000_000).unwrap();
    assert!(again.get(1).is_some(), "its newest sample is still needed");
    again.remove_before(4_000_000).unwrap();
    assert!(again.get(1).is_none() && again.bytes() == 0);
    assert_eq!(reader.get(&found.chunks[1].1).unwrap(), &*chunks[1].data);
    again.write(&huge[..1], |_, place| assert_eq!(place.file, 3)).unwrap();
}

/// A later chunk without the one before it would keep the log from filling the gap.
#[test]
fn files_reach_the_disk_in_order() {
    for fault in [false, true] {
        let fs = SimFs::new();
        open(&fs).0.write(&[chunk(1, 100, 50)], |_, _| {}).unwrap();
        fs.crash(Crash::KeepAll);
        let (files, found) = open(&fs);
        assert_eq!(found.chunks.len(), 1);
        if fault {
            let error = std::io::ErrorKind::Other;
            fs.fail(Fault { kind: Some(OpKind::Sync), after: 0, times: 1, error });
            assert!(files.write(&[chunk(1, 200, 50)], |_, _| panic!("in a file")).is_err());
        }
        files.write(&[chunk(1, 200, 50)], |_, _| {}).unwrap();
        files.sync().unwrap();
        fs.crash(Crash::DropUnsynced);
        assert_eq!(open(&fs).1.chunks.len(), 2);
    }
}

#[test]
fn what_is_torn_is_cut_off() {
    let fs = SimFs::new();
    let chunks: Vec<_> = (1..4).map(|i| chunk(i, 100, 50)).collect();
    let (files, _) = open(&fs);
    files.write(&chunks, |_, _| {}).unwrap();
    let path = Path::new("/db/chunks_head/000001");
    let whole = fs.read_all(path).unwrap().to_vec();
    let entry = (whole.len() - HEADER.len()) / 3;
    for cut in 0..whole.len() {
        let fs = SimFs::new();
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.open(path, Open::Create).unwrap().append(&whole[..cut]).unwrap();
        let complete = cut.saturating_sub(HEADER.len()) / entry;
        let (files, found) = open(&fs);
        assert_eq!(found.chunks.len(), complete, "cut at {cut}");
        // A few zeros are an end as well.
        let end = HEADER.len() + complete * entry;
        let clean = cut < HEADER.len() || whole[end..cut].iter().all(|&b| b == 0);
        assert_eq!(found.damage.is_empty(), clean, "cut at {cut}");
        let mut at = None;
        files.write(&chunks[2..], |_, place| at = Some(place.file)).unwrap();
        assert_eq!(at, Some(2), "cut at {cut}");
        let (_, found) = open(&fs);
        assert_eq!((found.chunks.len(), found.damage.len()), (complete + 1, 0), "cut at {cut}");
    }
}

#[test]
fn what_follows_damage_is_removed() {
    let fs = SimFs::new();
    for i in 0..3 {
        open(&fs).0.write(&[chunk(1, i * 100, 50), chunk(2, i * 100, 50)], |_, _| {}).unwrap();
    }
    let file = fs.open(Path::new("/db/chunks_head/000002"), Open::Write).unwrap();
    file.write_all_at(&[0xff; 3], 120).unwrap();
    let (_, found) = open(&fs);
    assert_eq!((found.chunks.len(), found.damage.len()), (3, 2));
    let (files, found) = open(&fs);
    assert_eq!((found.chunks.len(), found.damage.len()), (3, 0));
    files.write(&[chunk(1, 700, 50)], |_, place| assert_eq!(place.file, 3)).unwrap();
}

#[test]
fn out_of_order_chunks_are_skipped_in_place() {
    let mut file = HEADER.to_vec();
    for i in 1..4 {
        put(&mut file, i, (10, 20), Encoding::Xor, &[7, 8, 9]);
    }
    let len = (file.len() - HEADER.len()) / 3;
    assert_eq!(without_out_of_order(&file), None);
    let second = &mut file[HEADER.len() + len..][..len];
    second[24] |= 0x80;
    let (covered, crc) = second.split_at_mut(len - 4);
    crc.copy_from_slice(&crc32c::crc32c(covered).to_be_bytes());
    let changed = without_out_of_order(&file).unwrap();
    assert_eq!(changed.len(), file.len());
    let second = entry(&changed[HEADER.len() + len..]).unwrap().unwrap();
    assert_eq!((second.encoding, second.series, second.data), (0, 2, &[7, 8, 9][..]));
    for cut in 0..file.len() {
        let _ = without_out_of_order(&file[..cut]);
        let _ = entry(&file[cut..]);
    }
}
