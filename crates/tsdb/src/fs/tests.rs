//! What both file systems must do alike, and what the simulated one adds.

use std::{io, path::Path};

use super::*;

fn same_behaviour(fs: &dyn Fs, root: &Path) {
    let dir = root.join("a/b");
    fs.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    let file = fs.open(&path, Open::CreateNew).unwrap();
    assert_eq!(file.append(b"hello ").unwrap(), 0);
    assert_eq!(file.append(b"world").unwrap(), 6);
    file.write_all_at(b"W", 6).unwrap();
    file.sync().unwrap();
    file.allocate(4096).unwrap();
    assert_eq!(file.len().unwrap(), 11);
    let mut five = [0; 5];
    file.read_exact_at(&mut five, 6).unwrap();
    assert_eq!(&five, b"World");
    assert_eq!(file.read_exact_at(&mut five, 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    file.set_len(5).unwrap();
    assert_eq!((file.end(), file.append(b"!").unwrap()), (5, 5));
    assert_eq!(&*fs.read_all(&path).unwrap(), b"hello!");
    assert_eq!(&*fs.read(&path, 1..3).unwrap(), b"el");
    assert_eq!(&*fs.read_all(&path).unwrap().slice(1..3).unwrap(), b"el");
    assert!(fs.read(&path, 1..30).is_err());
    assert_eq!(fs.open(&path, Open::CreateNew).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs.open(&path, Open::Create).unwrap().end(), 6);
    assert!(fs.open(&path, Open::Read).unwrap().append(b"x").is_err());
    let other = root.join("a/g");
    fs.hard_link(&path, &other).unwrap();
    fs.rename(&path, &dir.join("h")).unwrap();
    fs.sync_dir(&dir).unwrap();
    assert!(!fs.exists(&path).unwrap() && fs.exists(&other).unwrap());
    assert_eq!(fs.open(&path, Open::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
    let names = fs.read_dir(&root.join("a")).unwrap();
    let expected = [("b", true), ("g", false)];
    let names: Vec<_> = names.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
    assert_eq!(names, expected);
    let lock = fs.lock(&root.join("lock")).unwrap();
    assert_eq!(fs.lock(&root.join("lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(lock);
    fs.lock(&root.join("lock")).unwrap();
    fs.rename(&root.join("a"), &root.join("c")).unwrap();
    assert_eq!(&*fs.read_all(&root.join("c/b/h")).unwrap(), b"hello!");
    fs.remove_file(&root.join("c/g")).unwrap();
    fs.remove_dir_all(&root.join("c")).unwrap();
    assert!(!fs.exists(&root.join("c")).unwrap());
    let space = fs.space(root).unwrap();
    assert!(space.free > 0 && space.free <= space.total);
}

#[test]
fn the_real_and_the_simulated_one_agree() {
    let dir = tempfile::tempdir().unwrap();
    same_behaviour(&OsFs::new(), dir.path());
    same_behaviour(&OsFs::mapped(), dir.path());
    same_behaviour(&SimFs::new(), Path::new("/"));
}

#[test]
fn large_files_are_mapped_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, vec![7; 1 << 17]).unwrap();
    let slice = OsFs::mapped().read_all(&path).unwrap();
    assert!(slice.is_mapped() && slice.iter().all(|b| *b == 7));
    assert!(!OsFs::new().read_all(&path).unwrap().is_mapped());
}

#[test]
fn a_crash_drops_what_was_not_synced() {
    let fs = SimFs::new();
    let (kept, lost) = (Path::new("/d/kept"), Path::new("/d/lost"));
    fs.create_dir_all(Path::new("/d")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let file = fs.open(kept, Open::Create).unwrap();
    file.append(b"synced").unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    file.append(b" not").unwrap();
    let other = fs.open(lost, Open::Create).unwrap();
    other.append(b"x").unwrap();
    other.sync().unwrap();
    fs.crash(Crash::DropUnsynced);
    assert_eq!(&*fs.read_all(kept).unwrap(), b"synced");
    assert!(!fs.exists(lost).unwrap(), "its name was not synced");
    assert!(file.append(b"x").is_err(), "handles die with the machine");
}

#[test]
fn a_random_crash_tears_at_sectors_and_repeats() {
    let image = |seed| {
        let fs = SimFs::new();
        let file = fs.open(Path::new("/f"), Open::Create).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        file.append(&[1; 10_000]).unwrap();
        fs.crash(Crash::Random { seed });
        fs.read_all(Path::new("/f")).unwrap().to_vec()
    };
    assert_eq!(image(1), image(1));
    assert_ne!(image(1), image(2));
    for sector in image(1).chunks(512) {
        assert!(sector.iter().all(|b| *b == sector[0]));
    }
}

#[test]
fn planned_failures_come_in_time() {
    let fs = SimFs::new();
    let file = fs.open(Path::new("/f"), Open::Create).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let full = io::ErrorKind::StorageFull;
    fs.fail(Fault { kind: Some(OpKind::Write), after: 1, times: 1, error: full });
    file.append(b"a").unwrap();
    assert_eq!(file.append(b"b").unwrap_err().kind(), full);
    file.append(b"c").unwrap();
    fs.fail(Fault { kind: Some(OpKind::Sync), after: 0, times: 1, error: io::ErrorKind::Other });
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(&*fs.read_all(Path::new("/f")).unwrap(), b"ac");
    fs.crash(Crash::DropUnsynced);
    assert_eq!(&*fs.read_all(Path::new("/f")).unwrap(), b"", "a failed sync loses its writes");
}

#[test]
fn short_writes_and_a_full_disk() {
    let fs = SimFs::new();
    fs.set_total(100);
    fs.short_writes(7);
    let file = fs.open(Path::new("/f"), Open::Create).unwrap();
    file.append(&[1; 90]).unwrap();
    assert_eq!(file.append(&[2; 20]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.end(), file.len().unwrap()), (90, 100));
    file.set_len(file.end()).unwrap();
    assert_eq!(fs.space(Path::new("/")).unwrap(), Space { free: 10, total: 100 });
    fs.remove_file(Path::new("/f")).unwrap();
    assert_eq!(fs.space(Path::new("/")).unwrap().free, 100);
}
