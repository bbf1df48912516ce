//! How much a request may ask for.

/// Limits of a request. What is above them is refused before memory is taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteLimits {
    /// Bytes of the decompressed body. Default 32 MiB.
    pub decoded_bytes: usize,
    /// Decompressed bytes for each compressed one. Default 32; snappy itself cannot do better than
    /// about 22, so that only bodies that lie about their length are refused.
    pub ratio: usize,
    /// Series in a request. Default 1 000 000.
    pub series: usize,
    /// Samples, histograms and exemplars in a request, together. Default 4 000 000.
    pub samples: usize,
    /// Labels of a series or an exemplar. Default 512.
    pub labels: usize,
    /// Bytes of a label's name. Default 16 KiB.
    pub label_name_bytes: usize,
    /// Bytes of a label's value. Default 1 MiB.
    pub label_value_bytes: usize,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            decoded_bytes: 32 << 20,
            ratio: 32,
            series: 1_000_000,
            samples: 4_000_000,
            labels: 512,
            label_name_bytes: 16 << 10,
            label_value_bytes: 1 << 20,
        }
    }
}
