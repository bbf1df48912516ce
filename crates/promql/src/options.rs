//! What the parser accepts.

/// What the parser accepts. The default is Prometheus' default: nothing experimental.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserOptions {
    /// Functions and aggregations marked as experimental (`promql-experimental-functions`).
    pub experimental_functions: bool,
    /// Arithmetic in ranges, steps and offsets (`promql-duration-expr`).
    pub duration_expressions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`).
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right` (`promql-binop-fill-modifiers`).
    pub fill_modifiers: bool,
    /// The longest query, in bytes.
    pub max_length: usize,
    /// How deep expressions may be nested: parentheses, calls, right operands, ...
    pub max_nesting: usize,
    /// How many operators may follow one another without parentheses: `a + b + c + ...`.
    pub max_chain: usize,
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
            max_length: 1 << 20,
            max_nesting: 600,
            max_chain: 2500,
        }
    }
}

impl ParserOptions {
    /// Everything experimental too.
    #[must_use]
    pub fn experimental() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            ..Self::default()
        }
    }
}
