//! The chunks of a series out of those of the inputs.

use std::ops::Range;

use firesteel_chunk::{ChunkError, Encoding, Xor2Encoder, XorEncoder, xor, xor2};

use super::series::Input;
use crate::{
    TsdbError,
    block::{EncodedChunk, Interval},
    head::{HistogramSample, Made, decode_histograms, encode_histograms},
};

/// Floats per chunk that is encoded anew.
const FLOATS: usize = 120;
/// Histograms that are encoded at a time.
const HISTOGRAMS: usize = 4 * 120;

/// A chunk of an input.
#[derive(Clone, Debug)]
struct Piece {
    mint: i64,
    maxt: i64,
    /// Number of the input.
    input: usize,
    reference: u64,
    /// What is deleted of the series; a range in [`Mender::deleted`].
    deleted: Range<usize>,
    /// Whether a part of it must not come into the result.
    trim: bool,
}

/// A chunk of the result; its bytes are in [`Mender::data`].
#[derive(Debug)]
struct Done {
    mint: i64,
    maxt: i64,
    encoding: Encoding,
    data: Range<usize>,
}

/// Makes the chunks of one series after the other; keeps its buffers.
#[derive(Default)]
pub(super) struct Mender {
    pieces: Vec<Piece>,
    deleted: Vec<Interval>,
    done: Vec<Done>,
    data: Vec<u8>,
    made: Vec<Made>,
    spare: Vec<Samples>,
}

impl Mender {
    /// Begins a series.
    pub(super) fn begin(&mut self) {
        self.pieces.clear();
        self.deleted.clear();
        self.done.clear();
        self.data.clear();
    }

    /// Takes note of what an input has of the series, as far as it is in range and not deleted.
    pub(super) fn take(&mut self, number: usize, input: &Input<'_>) {
        let range = input.range();
        let start = self.deleted.len();
        self.deleted.extend_from_slice(input.deleted());
        let deleted = start..self.deleted.len();
        let stones = self.deleted.get(deleted.clone()).unwrap_or_default();
        for chunk in input.chunks() {
            let (mint, maxt) = (chunk.mint.max(range.mint), chunk.maxt.min(range.maxt));
            let gone = |i: &Interval| i.mint <= mint && maxt <= i.maxt;
            if mint > maxt || stones.iter().any(gone) {
                continue;
            }
            let trim = (mint, maxt) != (chunk.mint, chunk.maxt)
                || stones.iter().any(|i| i.mint <= maxt && mint <= i.maxt);
            let reference = chunk.reference;
            let deleted = deleted.clone();
            self.pieces.push(Piece { mint, maxt, input: number, reference, deleted, trim });
        }
    }

    /// Makes the chunks of the series.
    pub(super) fn mend(&mut self, inputs: &mut [Input<'_>]) -> Result<(), TsdbError> {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.sort_by_key(|p| (p.mint, p.maxt, p.input));
        let mut rest = &pieces[..];
        while let Some(first) = rest.first() {
            let mut end = first.maxt;
            let mut n = 1;
            while let Some(next) = rest.get(n).filter(|p| p.mint <= end) {
                end = end.max(next.maxt);
                n += 1;
            }
            let (group, later) = rest.split_at(n);
            self.mend_group(group, inputs)?;
            rest = later;
        }
        self.pieces = pieces;
        Ok(())
    }

    /// The chunks of the series, in order of time.
    pub(super) fn chunks(&self) -> Vec<EncodedChunk<'_>> {
        let chunk = |d: &Done| EncodedChunk {
            mint: d.mint,
            maxt: d.maxt,
            encoding: d.encoding,
            data: self.data.get(d.data.clone()).unwrap_or_default(),
        };
        self.done.iter().map(chunk).collect()
    }

    /// Chunks that overlap one another.
    fn mend_group(&mut self, group: &[Piece], inputs: &mut [Input<'_>]) -> Result<(), TsdbError> {
        if group.iter().all(|p| !p.trim) && self.copy(group, inputs)? {
            return Ok(());
        }
        let mut lanes = self.lanes(group);
        let mut run = Run::default();
        for lane in &mut lanes {
            lane.fill(&self.deleted, inputs)?;
        }
        // The first of those with the smallest time: earlier inputs come first.
        while let Some((t, at)) =
            lanes.iter().enumerate().filter_map(|(i, l)| Some((l.samples.time()?, i))).min()
        {
            if let Some(lane) = lanes.get_mut(at) {
                run.push(&lane.samples, &mut self.made)?;
            }
            for lane in &mut lanes {
                while lane.samples.time() == Some(t) {
                    lane.samples.at += 1;
                    lane.fill(&self.deleted, inputs)?;
                }
            }
        }
        run.flush(&mut self.made)?;
        self.spare.extend(lanes.into_iter().map(|l| l.samples));
        for made in std::mem::take(&mut self.made) {
            let start = self.data.len();
            self.data.extend_from_slice(&made.data);
            let data = start..self.data.len();
            let Made { mint, maxt, encoding, .. } = made;
            self.done.push(Done { mint, maxt, encoding, data });
        }
        Ok(())
    }

    /// Copies the first of some chunks if the others are the same. Returns whether they are.
    fn copy(&mut self, group: &[Piece], inputs: &mut [Input<'_>]) -> Result<bool, TsdbError> {
        let Some(first) = group.first() else { return Ok(true) };
        if group.iter().any(|p| (p.mint, p.maxt) != (first.mint, first.maxt)) {
            return Ok(false);
        }
        let start = self.data.len();
        let mut encoding = None;
        for piece in group {
            let Some(input) = inputs.get_mut(piece.input) else { continue };
            let (found, data) = input.read(piece.reference)?;
            if encoding.is_none() {
                encoding = Some(found);
                self.data.extend_from_slice(data);
            } else if encoding != Some(found) || self.data.get(start..) != Some(data) {
                self.data.truncate(start);
                return Ok(false);
            }
        }
        if let Some(encoding) = encoding {
            let (mint, maxt, data) = (first.mint, first.maxt, start..self.data.len());
            self.done.push(Done { mint, maxt, encoding, data });
        }
        Ok(true)
    }

    /// Chunks that follow one another without overlapping; those of an input, as a rule.
    fn lanes(&mut self, group: &[Piece]) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = Vec::new();
        for piece in group {
            let fits = |l: &&mut Lane| l.input == piece.input && l.maxt < piece.mint;
            if let Some(lane) = lanes.iter_mut().find(fits) {
                lane.maxt = piece.maxt;
                lane.pieces.push(piece.clone());
            } else {
                let mut samples = self.spare.pop().unwrap_or_default();
                samples.clear();
                let (input, maxt) = (piece.input, piece.maxt);
                lanes.push(Lane { input, maxt, pieces: vec![piece.clone()], next: 0, samples });
            }
        }
        lanes.sort_by_key(|l| l.input);
        lanes
    }
}

/// Chunks of an input in order of time, decoded one at a time.
struct Lane {
    input: usize,
    /// End of the last chunk.
    maxt: i64,
    pieces: Vec<Piece>,
    next: usize,
    samples: Samples,
}

impl Lane {
    /// Decodes the next chunks until there is a sample, or no chunk.
    fn fill(&mut self, deleted: &[Interval], inputs: &mut [Input<'_>]) -> Result<(), TsdbError> {
        while self.samples.time().is_none() {
            let Some(piece) = self.pieces.get(self.next) else { return Ok(()) };
            self.next += 1;
            let Some(input) = inputs.get_mut(piece.input) else { return Ok(()) };
            let (encoding, data) = input.read(piece.reference)?;
            let decoded = self.samples.decode(encoding, data);
            decoded.map_err(|e| input.corrupt(piece.reference, &e))?;
            if piece.trim {
                let stones = deleted.get(piece.deleted.clone()).unwrap_or_default();
                let range = Interval { mint: piece.mint, maxt: piece.maxt };
                self.samples.retain(|t| range.contains(t) && !stones.iter().any(|i| i.contains(t)));
            }
        }
        Ok(())
    }
}

/// Decoded samples, floats or histograms, and how many of them were taken.
#[derive(Default)]
struct Samples {
    at: usize,
    times: Vec<i64>,
    starts: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<HistogramSample>,
}

impl Samples {
    fn clear(&mut self) {
        self.at = 0;
        self.times.clear();
        self.starts.clear();
        self.values.clear();
        self.histograms.clear();
    }

    /// Time of the next one.
    fn time(&self) -> Option<i64> {
        let float = || self.times.get(self.at).copied();
        self.histograms.get(self.at).map(|h| h.t).or_else(float)
    }

    fn decode(&mut self, encoding: Encoding, data: &[u8]) -> Result<(), ChunkError> {
        self.clear();
        match encoding {
            Encoding::Xor => xor::decode(data, &mut self.times, &mut self.values).map(drop),
            Encoding::Xor2 => {
                xor2::decode(data, &mut self.times, &mut self.starts, &mut self.values).map(drop)
            }
            _ => {
                self.histograms = decode_histograms(encoding, data)?;
                Ok(())
            }
        }
    }

    fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        self.histograms.retain(|h| keep(h.t));
        let kept: Vec<bool> = self.times.iter().map(|&t| keep(t)).collect();
        filter(&mut self.times, &kept);
        filter(&mut self.starts, &kept);
        filter(&mut self.values, &kept);
    }
}

fn filter<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().copied().unwrap_or(false));
}

/// Samples of one kind in a row that are not encoded yet.
#[derive(Default)]
struct Run {
    times: Vec<i64>,
    starts: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<HistogramSample>,
}

impl Run {
    /// Adds the next sample of `from`.
    fn push(&mut self, from: &Samples, out: &mut Vec<Made>) -> Result<(), TsdbError> {
        if let Some(histogram) = from.histograms.get(from.at) {
            if !self.times.is_empty() || self.histograms.len() >= HISTOGRAMS {
                self.flush(out)?;
            }
            self.histograms.push(histogram.clone());
            return Ok(());
        }
        if !self.histograms.is_empty() || self.times.len() >= FLOATS {
            self.flush(out)?;
        }
        if let (Some(&t), Some(&v)) = (from.times.get(from.at), from.values.get(from.at)) {
            self.times.push(t);
            self.starts.push(from.starts.get(from.at).copied().unwrap_or(0));
            self.values.push(v);
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<Made>) -> Result<(), TsdbError> {
        if let (Some(&mint), Some(&maxt)) = (self.times.first(), self.times.last()) {
            let (encoding, data) = self.floats().map_err(|e| TsdbError::Invalid(e.to_string()))?;
            out.push(Made { mint, maxt, encoding, data });
        }
        let starts = self.histograms.iter().any(|h| h.start != 0);
        let bad = encode_histograms(&self.histograms, starts, out);
        if bad > 0 {
            // Chunks were decoded, so their samples can be encoded; what is not true of these.
            return Err(TsdbError::Invalid(format!("{bad} histograms cannot be encoded")));
        }
        self.times.clear();
        self.starts.clear();
        self.values.clear();
        self.histograms.clear();
        Ok(())
    }

    fn floats(&self) -> Result<(Encoding, Vec<u8>), ChunkError> {
        let samples = self.times.iter().zip(&self.values);
        if self.starts.iter().all(|s| *s == 0) {
            let mut encoder = XorEncoder::new();
            for (&t, &v) in samples {
                encoder.append(t, v)?;
            }
            return Ok((Encoding::Xor, encoder.bytes().to_vec()));
        }
        let mut encoder = Xor2Encoder::new();
        for ((&t, &v), &start) in samples.zip(&self.starts) {
            encoder.append(t, start, v)?;
        }
        Ok((Encoding::Xor2, encoder.bytes().to_vec()))
    }
}
