//! The functions of the language.

mod signatures;

pub use signatures::{FUNCTIONS, Function, FunctionId};
