//! Compression of records.

use std::io::{Cursor, Read};

use ruzstd::{
    decoding::{BlockDecodingStrategy, FrameDecoder},
    encoding::{CompressionLevel, FrameCompressor, MatchGeneratorDriver},
};

use super::writer::DEFAULT_SEGMENT_SIZE;

/// How the records of the log are compressed, each by itself. Those that do not get smaller stay as
/// they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy, as in Prometheus.
    #[default]
    Snappy,
    /// Zstandard: smaller, but a commit takes several times as long (about 0.3 us per sample more).
    Zstd,
}

/// Snappy copies at most 64 bytes with three, so a record can grow no more than this.
const MAX_SNAPPY_RATIO: usize = 24;
/// The longest record that is decompressed, and the farthest that zstd may look back: Prometheus
/// could not have written a longer one, for it had to fit a segment when it was not compressed.
const MAX_ZSTD: usize = DEFAULT_SEGMENT_SIZE as usize;

type ZstdEncoder = FrameCompressor<Cursor<Vec<u8>>, Vec<u8>, MatchGeneratorDriver>;

/// Compresses records; keeps its tables from one to the next.
pub(crate) enum Compressor {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(Box<ZstdEncoder>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Snappy => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Zstd => {
                Self::Zstd(Box::new(FrameCompressor::new(CompressionLevel::Fastest)))
            }
        }
    }

    /// Appends a record to `out`, compressed if that makes it smaller, and tells how.
    pub(crate) fn append(&mut self, record: &mut Vec<u8>, out: &mut Vec<u8>) -> Compression {
        let start = out.len();
        match self {
            Self::None => {}
            Self::Snappy(encoder) => {
                out.resize(start + snap::raw::max_compress_len(record.len()), 0);
                let to = out.get_mut(start..).unwrap_or_default();
                let n = encoder.compress(record, to).unwrap_or(usize::MAX);
                if n < record.len() {
                    out.truncate(start + n);
                    return Compression::Snappy;
                }
            }
            Self::Zstd(encoder) => {
                encoder.set_source(Cursor::new(std::mem::take(record)));
                encoder.set_drain(std::mem::take(out));
                encoder.compress();
                *record = encoder.take_source().map(Cursor::into_inner).unwrap_or_default();
                *out = encoder.take_drain().unwrap_or_default();
                if out.len() - start < record.len() {
                    return Compression::Zstd;
                }
            }
        }
        out.truncate(start);
        out.extend_from_slice(record);
        Compression::None
    }
}

/// Decompresses records.
#[derive(Default)]
pub(crate) struct Decompressor {
    plain: Vec<u8>,
    snappy: snap::raw::Decoder,
    zstd: Option<Box<FrameDecoder>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Decompressor {
    /// The record that `packed` holds.
    pub(crate) fn snappy(&mut self, packed: &[u8]) -> Result<&[u8], String> {
        let bad = |e: snap::Error| format!("snappy: {e}");
        let len = snap::raw::decompress_len(packed).map_err(bad)?;
        if len > packed.len().saturating_mul(MAX_SNAPPY_RATIO) + 64 {
            return Err(format!("snappy: {} bytes cannot hold {len}", packed.len()));
        }
        // Only ever grows: the decoder wants initialised memory.
        if self.plain.len() < len {
            self.plain.resize(len, 0);
        }
        let n = self.snappy.decompress(packed, &mut self.plain[..len]).map_err(bad)?;
        Ok(self.plain.get(..n).unwrap_or_default())
    }

    /// The record that `packed`, a zstd frame, holds.
    pub(crate) fn zstd(&mut self, packed: &[u8]) -> Result<&[u8], String> {
        const STEP: usize = 128 << 10;
        let decoder = self.zstd.get_or_insert_with(|| {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(MAX_ZSTD as u64);
            Box::new(decoder)
        });
        let mut rest = packed;
        decoder.reset(&mut rest).map_err(|e| format!("zstd: {e}"))?;
        self.plain.clear();
        while !decoder.is_finished() || decoder.can_collect() > 0 {
            if !decoder.is_finished() {
                decoder
                    .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBytes(STEP))
                    .map_err(|e| format!("zstd: {e}"))?;
            }
            let n = decoder.can_collect();
            if self.plain.len() + n > MAX_ZSTD {
                return Err(format!("zstd: a record of more than {MAX_ZSTD} bytes"));
            }
            (&mut **decoder)
                .take(n as u64)
                .read_to_end(&mut self.plain)
                .map_err(|e| format!("zstd: {e}"))?;
        }
        if !rest.is_empty() {
            return Err(format!("zstd: {} bytes after the record", rest.len()));
        }
        Ok(&self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(compression: Compression, record: &[u8]) -> (Compression, Vec<u8>) {
        let mut out = vec![7];
        let done = Compressor::new(compression).append(&mut record.to_vec(), &mut out);
        assert_eq!(out.remove(0), 7);
        (done, out)
    }

    fn hex(hex: &str) -> Vec<u8> {
        let digits = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    /// With and without a checksum.
    #[test]
    fn reads_frames_of_others() {
        let mut decompressor = Decompressor::default();
        // zstd 1.5: `printf 'aaaa...' | zstd`, 200 times an a, with and without a checksum.
        let plain = vec![b'a'; 200];
        for frame in
            ["28b52ffd04584d00001061610100430a6001beeb4ef3", "28b52ffd00584d00001061610100430a6001"]
        {
            let found = decompressor.zstd(&hex(frame));
            assert_eq!(found.unwrap(), plain);
        }
        assert!(decompressor.zstd(&hex("28b52ffd00584d00001061610100430a600100")).is_err());
        assert!(decompressor.zstd(&hex("28b52ffd00584d00001061610100430a")).is_err());
    }

    #[test]
    fn what_does_not_shrink_stays() {
        for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
            assert_eq!(packed(compression, b"ab"), (Compression::None, b"ab".to_vec()));
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        // A single block repeats one byte; 2000 of them are 256 MiB.
        let mut bomb = hex("28b52ffd0058");
        for i in 0..2100_u32 {
            let header = (128 << 10) << 3 | 1 << 1 | u32::from(i == 2099);
            bomb.extend_from_slice(&header.to_le_bytes()[..3]);
            bomb.push(b'a');
        }
        let error = Decompressor::default().zstd(&bomb).unwrap_err();
        assert!(error.contains("zstd: "), "{error}");
    }

    proptest! {
        #[test]
        fn round_trip(seed in prop::collection::vec(any::<u8>(), 0..400), times in 1_usize..200) {
            let record = seed.repeat(times);
            let mut decompressor = Decompressor::default();
            for compression in [Compression::Snappy, Compression::Zstd] {
                let (done, bytes) = packed(compression, &record);
                let found = match done {
                    Compression::None => Ok(&bytes[..]),
                    Compression::Snappy => decompressor.snappy(&bytes),
                    Compression::Zstd => decompressor.zstd(&bytes),
                };
                prop_assert_eq!(found.unwrap(), &record[..]);
            }
        }

        #[test]
        fn damage_never_panics(
            seed in prop::collection::vec(any::<u8>(), 1..200), flips in prop::collection::vec(any::<(u16, u8)>(), 0..5), cut: u16,
        ) {
            let (_, mut bytes) = packed(Compression::Zstd, &seed.repeat(40));
            bytes.truncate(cut as usize);
            for (at, x) in flips {
                let n = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at as usize % n) {
                    *byte ^= x;
                }
            }
            let mut decompressor = Decompressor::default();
            let _ = decompressor.zstd(&bytes);
            let _ = decompressor.snappy(&bytes);
            let _ = decompressor.zstd(&seed);
        }
    }
}
