//! An image of the head, from which it is put together again faster than from the log.
//!
//! What an image looks like is described in `docs/format/head-snapshot.md`. Here are its parts
//! ([`Part`]), which [`write`] makes while commits go on, and [`read`] takes in; where they lie in a
//! file, and whether they may be trusted, is the database's business.
//!
//! An image is of no single moment: a series may have samples of commits that another does not have
//! yet. It holds all that was committed when it was begun, and the log from there on, replayed over
//! it, brings each series to the same state: samples that a series has already are not newer than
//! its newest, and are passed over.

mod read;
mod write;

pub(crate) use read::{ImageError, Parts};

/// What a part of an image holds. Stripes' parts are independent of each other, so that several
/// threads can take them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Settings: what all others rest on.
    Head,
    /// Labels and references of series.
    Series,
    /// Names of a schema.
    Schema,
    /// Rows of a schema.
    Rows,
    /// Strings.
    Symbols,
    /// Records of the log: what is kept for few series.
    Records,
    /// Metadata of series.
    Metadata,
    /// Series of a stripe.
    Stripe(u8),
}

impl Part {
    /// The two bytes by which a file knows it.
    pub(crate) const fn code(self) -> [u8; 2] {
        match self {
            Self::Head => [1, 0],
            Self::Series => [2, 0],
            Self::Schema => [3, 0],
            Self::Rows => [4, 0],
            Self::Symbols => [5, 0],
            Self::Records => [6, 0],
            Self::Metadata => [7, 0],
            Self::Stripe(n) => [8, n],
        }
    }

    pub(crate) const fn of(code: [u8; 2]) -> Option<Self> {
        Some(match code {
            [1, 0] => Self::Head,
            [2, 0] => Self::Series,
            [3, 0] => Self::Schema,
            [4, 0] => Self::Rows,
            [5, 0] => Self::Symbols,
            [6, 0] => Self::Records,
            [7, 0] => Self::Metadata,
            [8, n] => Self::Stripe(n),
            _ => return None,
        })
    }
}

/// Bytes of a part, about: what is in memory at once.
const PART: usize = 256 << 10;
