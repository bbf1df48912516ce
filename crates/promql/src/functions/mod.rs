//! The functions of the language.

pub(crate) mod date;
pub(crate) mod gomath;
pub(crate) mod label;
pub(crate) mod math;
mod signatures;

pub use signatures::{FUNCTIONS, Function, FunctionId};

/// The name of a function.
pub(crate) fn name_of(id: FunctionId) -> &'static str {
    FUNCTIONS.iter().find(|f| f.id == id).map_or("", |f| f.name)
}
