//! Filling the head from the head snapshot and the log when a database is opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_model::Timestamp;

use super::{
    DbBuilder, Inner,
    head_snapshot::{self, Manifest, Snapshot, Unusable},
    late::Logged,
    loading::{OpenPhase, Progress},
    open::{WAL_DIR, describe},
    report::{DamageReport, OpenReport, SnapshotReport},
};
use crate::{
    TsdbError,
    fs::{Fs, Slice},
    head::{FoundChunks, Head, Replay, group_chunks},
    wal::{
        page::PAGE,
        read::{Summary, read_part, read_segment},
        repair::{Repair, repair},
        segments::{checkpoint_path, list_checkpoints, list_segments, segment_path},
        writer::{SegmentInfo, Writer},
    },
};

/// Replays the newest checkpoint and the segments after it, or what of them the head snapshot does
/// not have.
pub(super) fn replay(
    inner: &Inner,
    dir: &Path,
    chunks: FoundChunks,
    min_valid: Timestamp,
    report: &mut OpenReport,
) -> Result<(Writer, Logged), TsdbError> {
    let (options, head, progress) = (&inner.options, &inner.head, &inner.progress);
    let (fs, wal) = (&*options.fs, dir.join(WAL_DIR));
    let checkpoints = list_checkpoints(fs, &wal)?;
    let snapshot = load_snapshot(options, dir, head, min_valid, report)?;
    let mut chunks = chunks.chunks;
    if let Some(snapshot) = &snapshot {
        chunks.retain(|(_, chunk)| snapshot.manifest.is_later(chunk));
    }
    progress.check()?;
    progress.enter(OpenPhase::Log);
    let mut log = Log {
        fs,
        wal: &wal,
        checkpoints: &checkpoints,
        head,
        progress,
        spills: !options.read_only,
        read: LogRead::default(),
    };
    let (done, stats, unknown) =
        head.replay(options.threads(), min_valid, group_chunks(chunks), |replay| match &snapshot {
            None => log.replay(replay, report),
            Some(snapshot) => {
                if let Err(error) = head.image_records_into(snapshot, replay) {
                    // What few series have; the samples are all there.
                    report.not_read.push(format!("{}: {error}", snapshot.path.display()));
                }
                replay.take_known_chunks();
                log.replay_tail(&snapshot.manifest, replay, report)
            }
        });
    let LogRead { next, infos, covered, mut logged } = log.read;
    done?;
    (report.replay, report.unknown_series) = (stats, unknown);
    // A checkpoint covers these; only its last step was missing.
    for segment in covered {
        let _ = fs.remove_file(&segment_path(&wal, segment));
    }
    for &checkpoint in checkpoints.iter().rev().skip(1) {
        let _ = fs.remove_dir_all(&checkpoint_path(&wal, checkpoint));
    }
    // What a power cut leaves is in the newest segments.
    let old = logged.segments.get(..logged.segments.len().saturating_sub(2)).unwrap_or_default();
    let is_old = |d: &&DamageReport| old.iter().any(|s| s.0 == d.path);
    logged.damaged |= report.damage.iter().filter(is_old).any(|d| !d.torn);
    let (size, durability) = (options.wal_segment_size, options.durability);
    let writer = Writer::new(Arc::clone(&options.fs), &wal, next, infos, size, durability);
    Ok((writer, logged))
}

/// Fills the head from the newest snapshot, if it fits the log. Returns it.
fn load_snapshot(
    options: &DbBuilder,
    dir: &Path,
    head: &Head,
    min_valid: Timestamp,
    report: &mut OpenReport,
) -> Result<Option<Snapshot>, TsdbError> {
    let fs = &*options.fs;
    let Some((path, found)) = head_snapshot::find(fs, dir, &dir.join(WAL_DIR), min_valid)? else {
        return Ok(None);
    };
    let mut entry = SnapshotReport { path: path.clone(), ..SnapshotReport::default() };
    let loaded = found.and_then(|snapshot| {
        let stats = head.read_image(&snapshot, min_valid, options.threads())?;
        Ok((snapshot, stats))
    });
    let used = match loaded {
        Ok((snapshot, stats)) => {
            (entry.series, entry.chunks, entry.bytes) = (stats.series, stats.chunks, snapshot.size);
            Some(snapshot)
        }
        Err(why) => {
            if let Unusable::Damaged(what) = &why {
                report.not_read.push(format!("{}: {what}", path.display()));
            }
            let (Unusable::Damaged(what) | Unusable::Outdated(what)) = why;
            entry.unused = Some(what);
            // The log has everything.
            let _ = fs.remove_file(&path);
            None
        }
    };
    report.snapshot = Some(entry);
    Ok(used)
}

/// What reading the log has found.
#[derive(Default)]
struct LogRead {
    /// Number of the segment to come.
    next: u64,
    infos: Vec<SegmentInfo>,
    /// Segments that the checkpoint covers.
    covered: Vec<u64>,
    logged: Logged,
}

/// The log on its way into the head.
struct Log<'a> {
    fs: &'a dyn Fs,
    wal: &'a Path,
    checkpoints: &'a [u64],
    head: &'a Head,
    progress: &'a Progress,
    /// Whether closed chunks can be written meanwhile.
    spills: bool,
    read: LogRead,
}

impl Log<'_> {
    /// The first segment that the newest checkpoint does not cover.
    fn first(&self) -> u64 {
        self.checkpoints.last().map_or(0, |n| n + 1)
    }

    /// The segments, those that the checkpoint covers left out.
    fn segments(&mut self) -> Result<Vec<u64>, TsdbError> {
        let first = self.first();
        let all = list_segments(self.fs, self.wal)?.into_iter();
        let (covered, segments) = all.partition(|&s| s < first);
        self.read.covered = covered;
        Ok(segments)
    }

    /// The segments of the newest checkpoint.
    fn checkpoint(&self) -> Result<Vec<PathBuf>, TsdbError> {
        let Some(&newest) = self.checkpoints.last() else { return Ok(Vec::new()) };
        let path = checkpoint_path(self.wal, newest);
        let segments = list_segments(self.fs, &path)?;
        Ok(segments.into_iter().map(|s| segment_path(&path, s)).collect())
    }

    /// Replays the newest of the checkpoints and the segments after it.
    fn replay(
        &mut self,
        replay: &mut Replay<'_>,
        report: &mut OpenReport,
    ) -> Result<(), TsdbError> {
        for path in self.checkpoint()? {
            replay_segment(self.fs, &path, 0, replay, report)?;
            self.read.logged.segments.push((path, std::mem::take(&mut replay.late)));
        }
        report.checkpoint = self.checkpoints.last().copied();
        let segments = self.segments()?;
        self.read.logged.whole = self.checkpoints.is_empty() && segments.first() == Some(&0);
        self.progress.segments(segments.iter().copied());
        self.read.next = segments.first().copied().unwrap_or(self.first());
        for segment in segments {
            let mut path = segment_path(self.wal, segment);
            let next = self.read.next;
            if segment != next {
                // Prometheus refuses to start where a number is missing.
                let to = segment_path(self.wal, next);
                report.not_read.push(format!("log segments {next} to {}: missing", segment - 1));
                self.read.logged.damaged = true;
                if self.fs.rename(&path, &to).is_ok() {
                    path = to;
                } else {
                    self.read.next = segment;
                }
            }
            self.segment(path, None, replay, report)?;
        }
        note_bad_records(replay, report);
        Ok(())
    }

    /// Replays what was logged after a snapshot.
    fn replay_tail(
        &mut self,
        manifest: &Manifest,
        replay: &mut Replay<'_>,
        report: &mut OpenReport,
    ) -> Result<(), TsdbError> {
        report.checkpoint = self.checkpoints.last().copied();
        let (first, from) = (self.first(), manifest.from);
        let segments = self.segments()?;
        let known = manifest.segments.iter().filter(|s| s.index >= first);
        self.read.infos = known.copied().collect();
        self.read.logged.floor = Some(manifest.late);
        self.read.logged.older = self.checkpoint()?;
        let older = segments.iter().filter(|&&s| s <= from.segment);
        self.read.logged.older.extend(older.map(|&s| segment_path(self.wal, s)));
        let after = segments.iter().copied().filter(|&s| s >= from.segment);
        self.progress.segments(after.clone());
        self.read.next = from.segment;
        for segment in after {
            let started = self.read.infos.pop_if(|s| s.index == segment);
            self.read.next = segment;
            let path = segment_path(self.wal, segment);
            self.segment(path, started.map(|s| (from.offset, s.max_time)), replay, report)?;
        }
        note_bad_records(replay, report);
        let last = self.read.infos.last().map_or(0, |s| s.index + 1);
        self.read.next = self.read.next.max(last);
        Ok(())
    }

    /// Replays the next segment, or of one that was begun what comes after an offset; up to there
    /// its newest sample is known.
    fn segment(
        &mut self,
        path: PathBuf,
        begun: Option<(u64, Timestamp)>,
        replay: &mut Replay<'_>,
        report: &mut OpenReport,
    ) -> Result<(), TsdbError> {
        let (from, newest) = begun.unwrap_or((0, Timestamp::MIN));
        replay.newest = newest;
        let len = replay_segment(self.fs, &path, from, replay, report)?;
        self.head.note_old_log(path.clone());
        if self.spills && self.head.many_wait() {
            replay.drain();
            if let Err(error) = self.head.spill() {
                let error = describe(&error);
                tracing::warn!(error, "chunks of the head stay in memory");
            }
        }
        let index = self.read.next;
        self.read.infos.push(SegmentInfo { index, len, max_time: replay.newest });
        self.read.logged.segments.push((path, std::mem::take(&mut replay.late)));
        self.read.next += 1;
        report.segments += 1;
        self.progress.replayed(index, replay.decoded);
        self.progress.check()
    }
}

fn note_bad_records(replay: &Replay<'_>, report: &mut OpenReport) {
    if let Some(error) = &replay.first_error {
        report.not_read.push(format!("records that do not decode, the first: {error}"));
    }
}

/// Replays a segment, from the end of a batch on, and repairs it. Returns its length.
fn replay_segment(
    fs: &dyn Fs,
    path: &Path,
    from: u64,
    replay: &mut Replay<'_>,
    report: &mut OpenReport,
) -> Result<u64, TsdbError> {
    let (data, summary) = if from == 0 {
        let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
        let summary = read_segment(&data, |records| replay.batch(records));
        (data, summary)
    } else {
        read_from(fs, path, from, replay)?
    };
    report.replayed_bytes += data.len() as u64;
    mend(fs, path, &data, &summary, report)?;
    let len = fs.metadata(path).map_or(data.len() as u64, |m| m.len);
    Ok(len)
}

/// Repairs a segment in which `summary` was found, and reports it.
pub(super) fn mend(
    fs: &dyn Fs,
    path: &Path,
    data: &[u8],
    summary: &Summary,
    report: &mut OpenReport,
) -> Result<(), TsdbError> {
    report.unclosed_records += summary.unclosed;
    let outcome = match repair(fs, path, data, summary) {
        Ok(Repair::None) => "nothing done".to_owned(),
        Ok(Repair::Cut) => format!("cut off at byte {}", summary.end),
        Ok(Repair::Rewritten) => "rewritten without it".to_owned(),
        Err(error) => format!("not repaired: {}", describe(&error)),
    };
    for damage in &summary.damage {
        report.damage.push(DamageReport {
            path: path.to_owned(),
            start: damage.start as u64,
            end: damage.end as u64,
            what: damage.what.clone(),
            outcome: outcome.clone(),
            torn: damage.torn,
        });
    }
    Ok(())
}

/// Replays a segment of ours from the end of a batch on. Where something is wrong the whole segment
/// is read again, to repair it.
fn read_from(
    fs: &dyn Fs,
    path: &Path,
    from: u64,
    replay: &mut Replay<'_>,
) -> Result<(Slice, Summary), TsdbError> {
    let base = from / PAGE as u64 * PAGE as u64;
    let len = fs.metadata(path).map_err(TsdbError::io("stat", path))?.len;
    let data = fs.read(path, base..len).map_err(TsdbError::io("read", path))?;
    let at = (from - base) as usize;
    let summary = read_part(&data, at, true, |records, _| replay.batch(records));
    if summary.damage.is_empty() && summary.unclosed == 0 {
        return Ok((data, summary));
    }
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    let summary = read_segment(&data, |_| ());
    Ok((data, summary))
}
