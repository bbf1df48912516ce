//! Putting a head together from its image.

use std::{
    fmt,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use firesteel_model::Timestamp;
use parking_lot::Mutex;

use super::Part;
use crate::{
    head::{
        Head, LOGGED,
        index::{Index, Postings},
        paged::Paged,
        replay::{EPOCH, Replay},
        stripe::{NEVER, RUN, STRIPES, Stripe, stripe_of},
    },
    wal::record::{Cursor, RecordError},
};

/// Why an image cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageError(String);

impl ImageError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RecordError> for ImageError {
    fn from(error: RecordError) -> Self {
        Self(error.to_string())
    }
}

/// Where the parts of an image come from. Threads fetch parts side by side.
pub(crate) trait Parts: Sync {
    /// The parts, with the length of each.
    fn list(&self) -> &[(Part, usize)];

    /// Reads a part, by its place in the list, into `out`.
    fn fetch(&self, part: usize, out: &mut Vec<u8>) -> Result<(), ImageError>;
}

/// What an image had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageStats {
    pub(crate) series: u64,
    pub(crate) chunks: u64,
}

/// What the head's part says.
struct Settings {
    bound: u32,
    last_ref: u64,
    key: u64,
}

/// A stripe as it was in the image.
#[derive(Default)]
struct TakenStripe {
    stripe: Stripe,
    oldest: Timestamp,
    newest: Timestamp,
    chunks: u64,
}

/// What threads leave for each other.
struct Work<'a> {
    head: &'a Head,
    parts: &'a dyn Parts,
    settings: Settings,
    min_valid: Timestamp,
    next: AtomicUsize,
    index: Mutex<Option<Index>>,
    stripes: Vec<Mutex<Option<TakenStripe>>>,
    failed: Mutex<Option<ImageError>>,
}

impl Head {
    /// Fills the head, which is empty, from an image, with `threads` threads, this one included.
    /// What comes of few series goes through [`Head::image_records_into`] afterwards.
    ///
    /// # Errors
    /// It cannot be read, or is none; the head is empty then.
    pub(crate) fn read_image(
        &self,
        parts: &dyn Parts,
        min_valid: Timestamp,
        threads: usize,
    ) -> Result<ImageStats, ImageError> {
        let settings = self.image_settings(parts)?;
        let work = Work {
            head: self,
            parts,
            settings,
            min_valid,
            next: AtomicUsize::new(0),
            index: Mutex::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            failed: Mutex::default(),
        };
        side_by_side(threads, || work.run());
        if let Some(error) = work.failed.into_inner() {
            return Err(error);
        }
        let mut index = work.index.into_inner().ok_or(ImageError::new("no series"))?;
        let stripes: Option<Vec<_>> = work.stripes.into_iter().map(Mutex::into_inner).collect();
        let stripes = stripes.ok_or(ImageError::new("a stripe is missing"))?;
        if let Some(id) = (0..index.bound()).find(|&id| {
            index.reference(id) == 0
                && stripes.get(stripe_of(id)).is_some_and(|s| !s.stripe.is_empty(id))
        }) {
            return Err(ImageError::new(format!("samples of series {id}, which does not exist")));
        }
        add_postings(&mut index, threads);
        let mut stats = ImageStats { series: index.len() as u64, chunks: 0 };
        self.last_ref.fetch_max(work.settings.last_ref, Ordering::AcqRel);
        self.counts.series_created.add(stats.series);
        for id in 0..index.bound() {
            let reference = index.reference(id);
            if reference == 0 {
                continue;
            }
            self.last_ref.fetch_max(reference, Ordering::AcqRel);
            self.bind(reference, Some(id));
        }
        *self.index.write() = index;
        for (place, taken) in self.stripes.iter().zip(stripes) {
            self.extend_time(taken.oldest, taken.newest);
            stats.chunks += taken.chunks;
            self.waiting.fetch_add(taken.stripe.waiting_bytes(), Ordering::AcqRel);
            *place.lock() = taken.stripe;
        }
        Ok(stats)
    }

    fn image_settings(&self, parts: &dyn Parts) -> Result<Settings, ImageError> {
        let list = parts.list();
        let at = list.iter().position(|p| p.0 == Part::Head);
        let mut bytes = Vec::new();
        parts.fetch(at.ok_or(ImageError::new("no settings"))?, &mut bytes)?;
        let (words, []) = bytes.as_chunks::<8>() else {
            return Err(ImageError::new("bad settings"));
        };
        let [range, bound, last_ref, key] = *words else {
            return Err(ImageError::new("bad settings"));
        };
        let [range, bound, last_ref, key] = [range, bound, last_ref, key].map(u64::from_le_bytes);
        if range != self.chunk_range as u64 {
            return Err(ImageError::new("it was made with another block range"));
        }
        let series: usize = list.iter().filter(|p| p.0 == Part::Series).map(|p| p.1).sum();
        let fits =
            |&n: &u32| series == n as usize * 20 && u64::from(n) <= Paged::<AtomicU32>::CAPACITY;
        let bound = u32::try_from(bound).ok().filter(fits);
        let bound = bound.ok_or(ImageError::new("its number of series is wrong"))?;
        Ok(Settings { bound, last_ref, key })
    }

    /// Replays what an image keeps as records, and its metadata, after [`Head::read_image`].
    pub(crate) fn image_records_into(
        &self,
        parts: &dyn Parts,
        replay: &mut Replay<'_>,
    ) -> Result<(), ImageError> {
        let mut bytes = Vec::new();
        for (i, &(part, _)) in parts.list().iter().enumerate() {
            match part {
                Part::Records => {
                    parts.fetch(i, &mut bytes)?;
                    let mut cursor = Cursor::new(&bytes);
                    while !cursor.is_empty() {
                        let len = cursor.count(1, "length of a record")?;
                        replay.one(cursor.bytes(len, "a record")?)?;
                    }
                }
                Part::Metadata => {
                    parts.fetch(i, &mut bytes)?;
                    self.take_metadata(&bytes)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_metadata(&self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut cursor = Cursor::new(bytes);
        let bound = self.index.read().bound();
        let mut store = self.metadata.write();
        let mut found = Vec::new();
        while !cursor.is_empty() {
            let len = cursor.count(1, "length of metadata")?;
            let record = cursor.bytes(len, "metadata")?;
            crate::wal::record::metadata::decode(record, &mut found)?;
            let metadata = found.pop().ok_or(ImageError::new("no metadata"))?.metadata;
            let n = cursor.count(4, "number of series")?;
            for id in cursor.bytes(n * 4, "series")?.as_chunks::<4>().0 {
                let id = u32::from_le_bytes(*id);
                if id < bound {
                    store.set(id, metadata.clone());
                }
            }
        }
        Ok(())
    }
}

/// Runs `work` on so many threads at once, this one included.
fn side_by_side(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..threads.min(STRIPES) {
            let thread = std::thread::Builder::new().name("tsdb-load".to_owned());
            // With fewer threads it takes longer, no more.
            let _ = thread.spawn_scoped(scope, &work);
        }
        work();
    });
}

fn add_postings(index: &mut Index, threads: usize) {
    let columns = index.columns();
    let next = AtomicUsize::new(0);
    let made: Vec<Mutex<Option<Postings>>> = columns.iter().map(|_| Mutex::default()).collect();
    side_by_side(threads, || {
        while let at = next.fetch_add(1, Ordering::AcqRel)
            && let (Some((_, columns)), Some(place)) = (columns.get(at), made.get(at))
        {
            *place.lock() = Some(index.postings_of(columns));
        }
    });
    for ((name, _), postings) in columns.iter().zip(made) {
        if let Some(postings) = postings.into_inner() {
            index.put_postings(*name, postings);
        }
    }
    index.put_all();
}

impl Work<'_> {
    /// Does what there is to do: the index first, as it takes longest.
    fn run(&self) {
        loop {
            let task = self.next.fetch_add(1, Ordering::AcqRel);
            if task > STRIPES + 1 || self.failed.lock().is_some() {
                return;
            }
            let done = match task.checked_sub(1) {
                None => self.index().map(|index| *self.index.lock() = Some(index)),
                // They are taken later; what is wrong with them must be known now.
                Some(STRIPES) => self.each(&[Part::Records, Part::Metadata], |_, _| Ok(())),
                Some(stripe) => self.stripe(stripe),
            };
            if let Err(error) = done {
                self.failed.lock().get_or_insert(error);
                return;
            }
        }
    }

    /// Fetches the parts of a kind one after the other.
    fn each(
        &self,
        wanted: &[Part],
        mut take: impl FnMut(Part, &[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut bytes = Vec::new();
        for (i, (part, _)) in self.parts.list().iter().enumerate() {
            if wanted.contains(part) {
                self.parts.fetch(i, &mut bytes)?;
                take(*part, &bytes)?;
            }
        }
        Ok(())
    }

    fn index(&self) -> Result<Index, ImageError> {
        let mut index = Index::with_key(self.settings.key);
        self.each(&[Part::Schema, Part::Rows], |part, bytes| match part {
            Part::Schema => index.take_schema(bytes),
            _ => index.take_rows(bytes),
        })?;
        self.each(&[Part::Symbols], |_, bytes| index.symbols.take(bytes))?;
        let (flags, newest) = (&self.head.flags, &self.head.newest);
        self.each(&[Part::Series], |_, bytes| {
            index.take_series(bytes, |id, _| {
                if let Some(flags) = flags.ensure(u64::from(id)) {
                    flags.store(LOGGED, Ordering::Release);
                }
                newest.ensure(u64::from(id));
            })
        })?;
        index.taken()?;
        Ok(index)
    }

    fn stripe(&self, number: usize) -> Result<(), ImageError> {
        let mut taken = TakenStripe { oldest: Timestamp::MAX, newest: NEVER, ..Default::default() };
        let (bound, head) = (self.settings.bound, self.head);
        // Every series has its place, also those without samples.
        let last = (number * RUN..bound as usize).step_by(RUN * STRIPES).next_back();
        if let Some(last) = last {
            taken.stripe.ensure(last as u32);
        }
        let TakenStripe { stripe, oldest, newest, chunks } = &mut taken;
        let files = head.chunk_files();
        let has_place = |place| files.is_some_and(|f| f.has(place));
        self.each(&[Part::Stripe(number as u8)], |_, bytes| {
            let known = |id| id < bound && stripe_of(id) == number;
            stripe.take_series(bytes, (self.min_valid, EPOCH), known, &has_place, |series| {
                if series.newest == NEVER {
                    return;
                }
                if let Some(cell) = head.newest.ensure(u64::from(series.id)) {
                    cell.set(series.newest);
                }
                *oldest = (*oldest).min(series.oldest);
                *newest = (*newest).max(series.newest);
                *chunks += series.chunks;
            })
        })?;
        if let Some(place) = self.stripes.get(number) {
            *place.lock() = Some(taken);
        }
        Ok(())
    }
}
