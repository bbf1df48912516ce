//! What a template may take.

/// How deep control actions and parentheses of one text may lie in one another.
pub(super) const MAX_NESTING: usize = 100;

/// How deep an expansion may go, over all templates.
pub(super) const MAX_LEVELS: usize = 250;

/// Bounds of one expansion. Prometheus has none but the depth of templates, which is 100 000 there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Actions, commands and iterations.
    pub steps: u64,
    /// Bytes of the result, and of each text on the way.
    pub output_bytes: usize,
    /// Templates within templates.
    pub depth: usize,
    /// Calls of `query`.
    pub queries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 1_000_000, output_bytes: 4 << 20, depth: 50, queries: 1000 }
    }
}

/// What is left of the bounds.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    steps: u64,
    queries: u64,
    /// Bytes that functions made: not more than 16 times the output's bound over all.
    bytes: usize,
}

impl Budget {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            steps: limits.steps,
            queries: limits.queries,
            bytes: limits.output_bytes.saturating_mul(16),
            limits,
        }
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        match self.steps.checked_sub(1) {
            Some(left) => self.steps = left,
            None => return Err(format!("takes more than {} steps", self.limits.steps)),
        }
        Ok(())
    }

    pub(super) fn query(&mut self) -> Result<(), String> {
        match self.queries.checked_sub(1) {
            Some(left) => self.queries = left,
            None => return Err(format!("asks more than {} queries", self.limits.queries)),
        }
        Ok(())
    }

    /// Accounts for a text that a function made.
    pub(super) fn made(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.bytes.checked_sub(bytes).filter(|_| bytes <= self.limits.output_bytes);
        match left {
            Some(left) => self.bytes = left,
            None => {
                return Err(format!("makes texts of more than {} bytes", self.limits.output_bytes));
            }
        }
        Ok(())
    }
}
