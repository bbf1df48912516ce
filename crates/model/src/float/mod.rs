//! Floats and strings as Go prints and reads them.
//!
//! Prometheus' files, API and metrics carry floats in Go's notations: `'f'` in the engine and in
//! most of the API ([`write_f`], [`write_json`]), `'g'` in the exposition ([`write_g`]) and, with a
//! `.0` behind integers, in `le` and `quantile` labels ([`write_om`]). All of them print the
//! shortest digits that read back as the same float, `NaN`, `+Inf` and `-Inf`.

mod format;
mod parse;
mod quote;

pub use format::{format_f, write_e, write_f, write_g, write_json, write_om};
pub use parse::{FloatError, parse_go, parse_number};
pub use quote::{UnquoteError, go_quote, go_unquote};
