//! Automata, with bounded memory.

use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

use super::error::{Code, RegexError};

/// Bytes of the compiled automaton.
const NFA_BYTES: usize = 10 << 20;
/// Bytes of a cache of the automaton's states, of which there is one per thread that matches at the
/// same time.
const CACHE_BYTES: usize = 2 << 20;

/// Compiles a tree; `anchored`: it has to match the whole text.
pub(super) fn compile(hir: Hir, anchored: bool, pattern: &str) -> Result<meta::Regex, RegexError> {
    let hir = if anchored {
        Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)])
    } else {
        hir
    };
    let config =
        meta::Config::new().nfa_size_limit(Some(NFA_BYTES)).hybrid_cache_capacity(CACHE_BYTES);
    // What Go can compile and this engine cannot is only what is too large.
    let too_large = |_| Code::Large.at(pattern);
    meta::Builder::new().configure(config).build_from_hir(&hir).map_err(too_large)
}
