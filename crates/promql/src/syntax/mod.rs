//! From text to tree.

mod check;
mod duration;
mod expr;
mod lexer;
mod literal;
mod modifiers;
mod parser;
mod selector;
mod token;

pub use parser::{parse, parse_metric, parse_metric_selector};

#[cfg(feature = "promqltest")]
pub(crate) use literal::number;
