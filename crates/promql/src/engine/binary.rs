//! Evaluates binary operators.
//!
//! Vectors are joined once, by interned match signatures; then each pair of series is computed over
//! all steps. Prometheus joins anew at each step, so several series of a match group are fine as
//! long as no step has two of them; what would be an error there is found here from bitmaps, and
//! the error of the earliest step is reported.

use std::sync::Arc;

use firesteel_model::FloatHistogram;

use super::{
    block::{Block, Row, bits},
    error::{EvalError, execution, same_labelset},
    eval::Evaluator,
    labels::{Numbering, Pair, Projection, SetId},
    limits::{self, Room},
    notes as text,
    plan::{Binary, Kind, NodeId},
};
use crate::{
    ast::{BinaryOp, Cardinality, Span, ValueType, VectorMatching},
    binary::{apply_rows, arithmetic, changes_metric, comparison, filter_rows},
    histogram::{self, Incompatible},
    window::Grid,
};

/// An operand at a step.
#[derive(Clone, Copy)]
struct Operand<'a> {
    v: f64,
    h: Option<&'a FloatHistogram>,
}

impl<'a> Operand<'a> {
    fn of(row: Row<'a>, step: usize) -> Self {
        Self { v: row.values[step], h: row.histogram(step).map(|h| &**h) }
    }

    const fn kind(&self) -> &'static str {
        if self.h.is_some() { "histogram" } else { "float" }
    }
}

/// The result of an operation at a step, and whether a filter keeps it.
struct Outcome {
    v: f64,
    h: Option<FloatHistogram>,
    keep: bool,
}

/// What is to be said about an operation.
enum Remark {
    /// These kinds do not go together.
    Types(&'static str, &'static str),
    /// Exponential and custom buckets.
    Layout,
    ResetCollision(&'static str),
    Reconciled(&'static str),
}

/// One operation at one step. `None` where there is no result.
fn elementwise(
    op: BinaryOp,
    a: Operand<'_>,
    b: Operand<'_>,
    remark: &mut dyn FnMut(Remark),
) -> Option<Outcome> {
    let of = |h: FloatHistogram| Some(Outcome { v: 0.0, h: Some(h), keep: true });
    let compacted = |mut h: FloatHistogram| {
        histogram::compact(&mut h);
        of(h)
    };
    match (a.h, b.h, op) {
        (None, None, op) => {
            if let Some(f) = arithmetic(op) {
                return Some(Outcome { v: f(a.v, b.v), h: None, keep: true });
            }
            if let Some(f) = comparison(op) {
                return Some(Outcome { v: a.v, h: None, keep: f(a.v, b.v) });
            }
        }
        (None, Some(h), BinaryOp::Mul) => {
            let mut h = h.clone();
            histogram::scale(&mut h, a.v);
            return compacted(h);
        }
        (Some(h), None, BinaryOp::Mul) => {
            let mut h = h.clone();
            histogram::scale(&mut h, b.v);
            return compacted(h);
        }
        (Some(h), None, BinaryOp::Div) => {
            let mut h = h.clone();
            histogram::divide(&mut h, b.v);
            return compacted(h);
        }
        (Some(h), None, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
            let mut h = h.clone();
            histogram::trim(&mut h, b.v, op == BinaryOp::TrimUpper);
            return of(h);
        }
        (Some(x), Some(y), BinaryOp::Add | BinaryOp::Sub) => {
            let add = op == BinaryOp::Add;
            let result = if add { histogram::added(x, y) } else { histogram::subtracted(x, y) };
            let word = if add { "addition" } else { "subtraction" };
            return match result {
                Ok((mut h, outcome)) => {
                    if outcome.reset_collision {
                        remark(Remark::ResetCollision(word));
                    }
                    if outcome.reconciled {
                        remark(Remark::Reconciled(word));
                    }
                    if !add {
                        h.counter_reset_hint = firesteel_model::CounterResetHint::Gauge;
                    }
                    compacted(h)
                }
                Err(Incompatible) => {
                    remark(Remark::Layout);
                    None
                }
            };
        }
        (Some(x), Some(y), BinaryOp::Eq | BinaryOp::Ne) => {
            let keep = histogram::equal(x, y) == (op == BinaryOp::Eq);
            return Some(Outcome { v: 0.0, h: Some(x.clone()), keep });
        }
        _ => {}
    }
    remark(Remark::Types(a.kind(), b.kind()));
    None
}

/// The first thing that goes wrong, by step.
#[derive(Default)]
struct FirstError(Option<(usize, u8, EvalError)>);

impl FirstError {
    fn note(&mut self, step: usize, rank: u8, error: impl FnOnce() -> EvalError) {
        if self.0.as_ref().is_none_or(|(s, r, _)| (step, rank) < (*s, *r)) {
            self.0 = Some((step, rank, error()));
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates an operation and those in its chain of left operands, with a loop.
    pub(crate) fn binary_chain(&mut self, id: NodeId, grid: Grid) -> Result<Block, EvalError> {
        let plan = self.plan;
        let mut spine = Vec::new();
        let mut left = id;
        while let Kind::Binary(binary) = &plan.node(left).kind {
            spine.push((left, binary));
            left = binary.lhs;
        }
        let before = self.samples.current();
        let mut block = self.eval(left, grid)?;
        for (id, binary) in spine.into_iter().rev() {
            let rhs = self.eval(binary.rhs, grid)?;
            let gathered = crate::aggregate::select::widest_step(&block)
                + crate::aggregate::select::widest_step(&rhs);
            let result = self.binary(id, binary, block, rhs, grid)?;
            block = self.finish(before, gathered, result)?;
        }
        Ok(block)
    }

    #[inline(never)]
    fn binary(
        &mut self,
        id: NodeId,
        binary: &Binary,
        lhs: Block,
        rhs: Block,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let span = self.span(id);
        let scalar = |id: NodeId| self.value_type(id) == ValueType::Scalar;
        match (scalar(binary.lhs), scalar(binary.rhs)) {
            (true, true) => Ok(scalar_scalar(binary.op, lhs, &rhs)),
            (false, true) => self.vector_scalar(binary, lhs, &rhs, false, span, grid),
            (true, false) => self.vector_scalar(binary, rhs, &lhs, true, span, grid),
            (false, false) => {
                let default = VectorMatching::default();
                let matching = binary.matching.as_ref().unwrap_or(&default);
                if binary.op.is_set() {
                    self.set_operation(binary.op, matching, lhs, &rhs, grid)
                } else {
                    self.vector_vector(binary, matching, &lhs, &rhs, span, grid)
                }
            }
        }
    }

    fn remark(&mut self, op: BinaryOp, span: Span, remark: &Remark) {
        let a = &mut self.annotations;
        match remark {
            Remark::Types(left, right) => {
                a.info(span, text::incompatible_types(left, op.as_str(), right));
            }
            Remark::Layout => a.warn(span, text::incompatible_layout(op.as_str())),
            Remark::ResetCollision(word) => a.warn(span, text::reset_collision(word)),
            Remark::Reconciled(word) => a.info(span, text::reconciled(word)),
        }
    }

    #[inline(never)]
    fn vector_scalar(
        &mut self,
        binary: &Binary,
        mut vector: Block,
        scalar: &Block,
        swapped: bool,
        span: Span,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let op = binary.op;
        let scalars: &[f64] = if scalar.len() > 0 { scalar.values(0) } else { &[] };
        if scalars.len() != grid.n {
            return Err(execution("a scalar has no value"));
        }
        let mut out = vec![0.0; grid.n];
        for row in 0..vector.len() {
            if vector.row(row).histograms.iter().any(Option::is_some)
                || matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
            {
                self.vector_scalar_slow(binary, &mut vector, row, scalars, swapped, span);
                continue;
            }
            let (values, present) = vector.columns_mut(row);
            if op.is_comparison() {
                let (a, b): (&[f64], &[f64]) =
                    if swapped { (scalars, values) } else { (values, scalars) };
                if binary.return_bool {
                    let Some(holds) = comparison(op) else { continue };
                    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| {
                        *out = f64::from(u8::from(holds(*a, *b)));
                    });
                    values.copy_from_slice(&out);
                } else {
                    filter_rows(op, a, b, present);
                }
            } else {
                let (a, b): (&[f64], &[f64]) =
                    if swapped { (scalars, values) } else { (values, scalars) };
                apply_rows(op, a, b, &mut out);
                values.copy_from_slice(&out);
            }
        }
        if changes_metric(op) || binary.return_bool {
            self.drop_names(&mut vector)?;
        }
        vector.remove_empty_rows();
        self.merge_results(vector, grid)
    }

    /// A row that has histograms against a scalar.
    fn vector_scalar_slow(
        &mut self,
        binary: &Binary,
        vector: &mut Block,
        row: usize,
        scalars: &[f64],
        swapped: bool,
        span: Span,
    ) {
        let op = binary.op;
        let steps: Vec<usize> = bits::ones(vector.present(row)).collect();
        let mut remarks = Vec::new();
        for step in steps {
            let own = vector.row(row);
            let element = Operand::of(own, step);
            let scalar = Operand { v: scalars[step], h: None };
            let (a, b) = if swapped { (scalar, element) } else { (element, scalar) };
            let original = (element.v, own.histogram(step).cloned());
            let result = elementwise(op, a, b, &mut |r| remarks.push(r));
            bits::clear(vector.present_mut(row), step);
            if let Some(slot) = vector.histograms_mut(row).get_mut(step) {
                *slot = None;
            }
            let Some(result) = result else { continue };
            if binary.return_bool {
                vector.set(row, step, f64::from(u8::from(result.keep)));
            } else if op.is_comparison() {
                match original {
                    _ if !result.keep => {}
                    (_, Some(h)) => vector.set_histogram(row, step, h),
                    (v, None) => vector.set(row, step, v),
                }
            } else {
                match result.h {
                    Some(h) => vector.set_histogram(row, step, Arc::new(h)),
                    None => vector.set(row, step, result.v),
                }
            }
        }
        for r in &remarks {
            self.remark(op, span, r);
        }
    }

    /// The match signature of each row, as a dense number.
    fn signatures(
        &mut self,
        block: &Block,
        projection: &Projection,
        numbering: &mut Numbering,
    ) -> Result<Vec<usize>, EvalError> {
        let mut ordinals = Vec::with_capacity(block.len());
        for &set in &block.sets {
            let signature = projection.of(&mut self.store, set)?;
            ordinals.push(numbering.number(signature));
        }
        Ok(ordinals)
    }

    #[inline(never)]
    fn set_operation(
        &mut self,
        op: BinaryOp,
        matching: &VectorMatching,
        mut lhs: Block,
        rhs: &Block,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let projection = Projection::new(&mut self.store, &matching.labels, matching.on)?;
        let mut numbering = Numbering::default();
        let left = self.signatures(&lhs, &projection, &mut numbering)?;
        let right = self.signatures(rhs, &projection, &mut numbering)?;
        let words = bits::words(grid.n);
        // Steps at which each match group has a series on the side that decides.
        let bytes = numbering.len().saturating_mul(words).saturating_mul(8);
        let _reserved = self.ctx.budget.reserve(bytes as u64)?;
        let mut present = vec![0_u64; numbering.len() * words];
        let (decisive, ordinals) = if op == BinaryOp::Or { (&lhs, &left) } else { (rhs, &right) };
        for (row, ordinal) in ordinals.iter().enumerate() {
            bits::or(&mut present[ordinal * words..][..words], decisive.present(row));
        }
        match op {
            BinaryOp::Or => {
                let rows_before = lhs.len();
                // The columns move: both are there for a moment.
                let rows = lhs.len().saturating_add(rhs.len());
                let both = limits::reserve_rows(&self.ctx.budget, rows, grid.n)?;
                lhs.reserve_rows(rhs.len());
                lhs.reserved = Some(both);
                for (row, ordinal) in right.iter().enumerate() {
                    let index = lhs.push(rhs.sets[row], rhs.drop_name[row], rhs.row(row));
                    let taken = &present[ordinal * words..][..words];
                    lhs.present_mut(index).iter_mut().zip(taken).for_each(|(p, t)| *p &= !t);
                }
                if lhs.has_histograms() {
                    for row in rows_before..lhs.len() {
                        forget_absent_histograms(&mut lhs, row);
                    }
                }
            }
            _ => {
                let unless = op == BinaryOp::Unless;
                for (row, ordinal) in left.iter().enumerate() {
                    let mask = &present[ordinal * words..][..words];
                    lhs.present_mut(row).iter_mut().zip(mask).for_each(|(p, m)| {
                        *p &= if unless { !m } else { *m };
                    });
                    forget_absent_histograms(&mut lhs, row);
                }
            }
        }
        lhs.remove_empty_rows();
        self.merge_results(lhs, grid)
    }

    #[inline(never)]
    fn vector_vector(
        &mut self,
        binary: &Binary,
        matching: &VectorMatching,
        lhs: &Block,
        rhs: &Block,
        span: Span,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let projection = Projection::new(&mut self.store, &matching.labels, matching.on)?;
        let mut numbering = Numbering::default();
        let left = self.signatures(lhs, &projection, &mut numbering)?;
        let right = self.signatures(rhs, &projection, &mut numbering)?;
        let swapped = matching.card == Cardinality::OneToMany;
        let (many, many_ordinals, one, one_ordinals) =
            if swapped { (rhs, right, lhs, left) } else { (lhs, left, rhs, right) };
        let include = self.store.label_ids(&matching.include)?;
        let labels = self.store.label_ids(&matching.labels)?;
        let empty = self.store.interner.intern("")?;
        let room = Room::new(&self.ctx.budget)?;
        let mut join = Join {
            evaluator: self,
            binary,
            matching,
            swapped,
            many,
            one,
            include,
            labels,
            empty,
            words: bits::words(grid.n),
            out: Block::new(grid.n),
            room,
            work: 0,
            results: Numbering::default(),
            matched: Vec::new(),
            sources: Vec::new(),
            error: FirstError::default(),
            remarks: Vec::new(),
            scratch: Vec::new(),
        };
        join.run(&many_ordinals, &one_ordinals, &numbering)?;
        let Join { out, room, error, remarks, .. } = join;
        if let Some((_, _, error)) = error.0 {
            return Err(error);
        }
        let mut distinct = Vec::new();
        remarks.into_iter().flatten().for_each(|r| push_once(&mut distinct, r));
        for r in &distinct {
            self.remark(binary.op, span, r);
        }
        let mut out = out;
        room.give(&mut out);
        out.remove_empty_rows();
        Ok(out)
    }
}

/// Removes histograms at steps whose sample was filtered out.
fn forget_absent_histograms(block: &mut Block, row: usize) {
    if !block.has_histograms() || block.row(row).histograms.is_empty() {
        return;
    }
    let present = block.present(row).to_vec();
    for (step, slot) in block.histograms_mut(row).iter_mut().enumerate() {
        if !bits::get(&present, step) {
            *slot = None;
        }
    }
}

fn scalar_scalar(op: BinaryOp, mut lhs: Block, rhs: &Block) -> Block {
    if lhs.len() == 0 || rhs.len() == 0 {
        return lhs;
    }
    let b = rhs.values(0);
    let values = lhs.values_mut(0);
    if let Some(holds) = comparison(op) {
        values.iter_mut().zip(b).for_each(|(a, b)| *a = f64::from(u8::from(holds(*a, *b))));
    } else if let Some(f) = arithmetic(op) {
        values.iter_mut().zip(b).for_each(|(a, b)| *a = f(*a, *b));
    }
    lhs
}

/// Pairs between two looks at whether to go on.
const LOOK: usize = 1 << 13;

/// A join of two vectors: `many` against `one`.
struct Join<'j, 'e> {
    evaluator: &'j mut Evaluator<'e>,
    binary: &'j Binary,
    matching: &'j VectorMatching,
    /// Whether `many` is the right operand.
    swapped: bool,
    many: &'j Block,
    one: &'j Block,
    include: Vec<u32>,
    labels: Vec<u32>,
    /// Id of the empty string.
    empty: u32,
    words: usize,
    out: Block,
    room: Room,
    /// Pairs looked at.
    work: usize,
    /// Rows of the result by label set.
    results: Numbering,
    /// Steps at which each row of the result had a match, filtered out or not.
    matched: Vec<u64>,
    /// The match group that each row of the result came from first.
    sources: Vec<usize>,
    error: FirstError,
    /// What is to be said, by step; empty if nothing is.
    remarks: Vec<Option<Remark>>,
    scratch: Vec<Pair>,
}

impl Join<'_, '_> {
    fn run(
        &mut self,
        many_ordinals: &[usize],
        one_ordinals: &[usize],
        numbering: &Numbering,
    ) -> Result<(), EvalError> {
        let groups = numbering.len();
        // Rows of the "one" side by group, as linked lists.
        let mut first = vec![usize::MAX; groups];
        let mut next = vec![usize::MAX; self.one.len()];
        for (row, &group) in one_ordinals.iter().enumerate().rev() {
            next[row] = first[group];
            first[group] = row;
        }
        self.find_duplicates(one_ordinals, &first, &next, numbering)?;
        if matches!(self.error.0, Some((0, 0, _))) {
            // Nothing can go wrong before the first step.
            return Ok(());
        }

        let one_to_one = self.matching.card == Cardinality::OneToOne;
        let fill = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        // Steps at which each group has had a match, where several series may claim it.
        let bytes = if one_to_one || fill { groups.saturating_mul(self.words) } else { 0 };
        let _reserved = self.evaluator.ctx.budget.reserve(bytes as u64 * 8)?;
        let mut claimed =
            if one_to_one || fill { vec![0; groups * self.words] } else { Vec::new() };
        let mut here = vec![0_u64; self.words];
        let mut any_one = vec![0_u64; self.words];
        for (row, &group) in many_ordinals.iter().enumerate() {
            if row % 1024 == 0 {
                self.look()?;
            }
            any_one.fill(0);
            let mut partner = first[group];
            while partner != usize::MAX {
                self.work += 1;
                if self.work.is_multiple_of(LOOK) {
                    self.look()?;
                }
                bits::or(&mut any_one, self.one.present(partner));
                and_into(&mut here, self.many.present(row), self.one.present(partner));
                if bits::any(&here) {
                    self.claim(&mut claimed, group, &here, one_to_one);
                    let (a, b) = (self.many.row(row), self.one.row(partner));
                    let set = self.result_set(self.many.sets[row], self.one.sets[partner])?;
                    self.emit(set, group, a, b, &here)?;
                }
                partner = next[partner];
            }
            if let Some(v) = self.matching.fill_right {
                here.copy_from_slice(self.many.present(row));
                here.iter_mut().zip(&any_one).for_each(|(h, one)| *h &= !one);
                if bits::any(&here) {
                    self.claim(&mut claimed, group, &here, one_to_one);
                    let filled = numbering.sets[group];
                    let set = self.result_set(self.many.sets[row], filled)?;
                    let values = vec![v; here.len() * 64];
                    let b = Row { values: &values, present: &here, histograms: &[] };
                    let here = here.clone();
                    self.emit(set, group, self.many.row(row), b, &here)?;
                }
            }
        }
        if let Some(v) = self.matching.fill_left {
            for (row, &group) in one_ordinals.iter().enumerate() {
                here.copy_from_slice(self.one.present(row));
                let done = &claimed[group * self.words..][..self.words];
                here.iter_mut().zip(done).for_each(|(h, done)| *h &= !done);
                if bits::any(&here) {
                    let filled = numbering.sets[group];
                    let set = self.result_set(filled, self.one.sets[row])?;
                    let values = vec![v; here.len() * 64];
                    let a = Row { values: &values, present: &here, histograms: &[] };
                    let here = here.clone();
                    self.emit(set, group, a, self.one.row(row), &here)?;
                }
            }
        }
        Ok(())
    }

    /// Whether to go on.
    fn look(&mut self) -> Result<(), EvalError> {
        self.evaluator.ctx.check()?;
        self.evaluator.account_labels()
    }

    /// Notes that a group has a match at these steps.
    fn claim(&mut self, claimed: &mut [u64], group: usize, here: &[u64], one_to_one: bool) {
        let Some(claimed) = claimed.get_mut(group * self.words..(group + 1) * self.words) else {
            return;
        };
        if one_to_one && let Some(step) = bits::first_common(claimed, here) {
            self.error.note(step, 1, || {
                execution(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                )
            });
        }
        bits::or(claimed, here);
    }

    /// Finds steps at which two series of the "one" side are in the same group.
    fn find_duplicates(
        &mut self,
        ordinals: &[usize],
        first: &[usize],
        next: &[usize],
        numbering: &Numbering,
    ) -> Result<(), EvalError> {
        if ordinals.len() == numbering.len() && self.many.len() == 0 {
            return Ok(());
        }
        let fill = self.matching.fill_left.is_some() || self.matching.fill_right.is_some();
        let mut any_many: Option<Vec<u64>> = None;
        let mut earliest: Option<usize> = None;
        for &head in first.iter().filter(|row| **row != usize::MAX && next[**row] != usize::MAX) {
            let mut seen = self.one.present(head).to_vec();
            let mut row = next[head];
            while row != usize::MAX {
                self.work += 1;
                if self.work.is_multiple_of(LOOK) {
                    self.evaluator.ctx.check()?;
                }
                let present = self.one.present(row);
                let mut both: Vec<u64> = seen.iter().zip(present).map(|(a, b)| a & b).collect();
                if bits::any(&both) && !fill {
                    // Prometheus does not look where the other side has nothing at all.
                    let any = any_many.get_or_insert_with(|| {
                        let mut any = vec![0; self.words];
                        (0..self.many.len()).for_each(|m| bits::or(&mut any, self.many.present(m)));
                        any
                    });
                    both.iter_mut().zip(any).for_each(|(b, any)| *b &= *any);
                }
                if let Some(step) = bits::ones(&both).next() {
                    earliest = Some(earliest.map_or(step, |e| e.min(step)));
                }
                bits::or(&mut seen, present);
                row = next[row];
            }
        }
        let Some(step) = earliest else { return Ok(()) };
        // As Prometheus finds it: the first series, in order, whose group is taken.
        let mut holder = vec![usize::MAX; numbering.len()];
        for row in (0..self.one.len()).filter(|row| self.one.row(*row).has(step)) {
            let group = ordinals[row];
            if holder[group] == usize::MAX {
                holder[group] = row;
                continue;
            }
            let store = &self.evaluator.store;
            let mut pair = [row, holder[group]].map(|r| store.labels(self.one.sets[r]).to_string());
            pair.sort_unstable();
            let side = if self.swapped { "left" } else { "right" };
            let labels = store.labels(numbering.sets[group]);
            let error = execution(format!(
                "found duplicate series for the match group {labels} on the {side} hand-side of \
                 the operation: [{}, {}];many-to-many matching not allowed: matching labels must \
                 be unique on one side",
                pair[0], pair[1]
            ));
            self.error.note(step, 0, || error);
            return Ok(());
        }
        Ok(())
    }

    /// The labels of a result.
    fn result_set(&mut self, many: SetId, one: SetId) -> Result<SetId, EvalError> {
        let delayed = self.evaluator.flags.delayed_name_removal;
        let drop = changes_metric(self.binary.op) || !delayed && self.binary.return_bool;
        let store = &mut self.evaluator.store;
        let one_to_one = self.matching.card == Cardinality::OneToOne;
        let mut pairs = std::mem::take(&mut self.scratch);
        pairs.clear();
        pairs.extend(store.pairs(many).iter().copied().filter(|p| {
            let dropped = drop && store.is_metadata(p.0);
            let matched = !one_to_one || self.labels.contains(&p.0) == self.matching.on;
            !dropped && matched
        }));
        for &label in &self.include {
            let value = store.value(one, label).unwrap_or(self.empty);
            store.edit(&mut pairs, label, value);
        }
        let set = store.intern(&pairs);
        self.scratch = pairs;
        Ok(set?)
    }

    /// Computes a pair at the steps of `here` and adds the result to its row.
    fn emit(
        &mut self,
        set: SetId,
        group: usize,
        many: Row<'_>,
        one: Row<'_>,
        here: &[u64],
    ) -> Result<(), EvalError> {
        let known = self.results.len();
        let target = self.results.number(set);
        let new = target == known;
        if new {
            self.room.row(&mut self.out)?;
            self.out.push_row(set, self.binary.return_bool);
            self.matched.resize(self.matched.len() + self.words, 0);
            self.sources.push(group);
        }
        let (a, b) = if self.swapped { (one, many) } else { (many, one) };
        if many.histograms.is_empty() && one.histograms.is_empty() && self.is_fast() {
            self.emit_floats(target, new, group, a, b, here);
        } else {
            self.emit_slow(target, group, a, b, here);
        }
        Ok(())
    }

    fn is_fast(&self) -> bool {
        arithmetic(self.binary.op).is_some() || comparison(self.binary.op).is_some()
    }

    /// Notes an error where the result's row has a sample already.
    fn check_taken(&mut self, target: usize, group: usize, here: &[u64], kept: &[u64]) {
        let matched = &self.matched[target * self.words..][..self.words];
        let one_to_one = self.matching.card == Cardinality::OneToOne;
        if !one_to_one
            && self.sources[target] == group
            && let Some(step) = bits::first_common(matched, here)
        {
            self.error.note(step, 1, || {
                execution("multiple matches for labels: grouping labels must ensure unique matches")
            });
        }
        if let Some(step) = bits::first_common(self.out.present(target), kept) {
            self.error.note(step, 2, same_labelset);
        }
    }

    fn emit_floats(
        &mut self,
        target: usize,
        new: bool,
        group: usize,
        a: Row<'_>,
        b: Row<'_>,
        here: &[u64],
    ) {
        let op = self.binary.op;
        let steps = self.out.steps();
        let (av, bv) = (&a.values[..steps], &b.values[..steps]);
        let mut kept = here.to_vec();
        if comparison(op).is_some() && !self.binary.return_bool {
            filter_rows(op, av, bv, &mut kept);
        }
        if !new {
            self.check_taken(target, group, here, &kept);
        }
        bits::or(&mut self.matched[target * self.words..][..self.words], here);
        let (values, present) = self.out.columns_mut(target);
        if new {
            match comparison(op).filter(|_| self.binary.return_bool) {
                Some(holds) => {
                    for (out, (a, b)) in values.iter_mut().zip(av.iter().zip(bv)) {
                        *out = f64::from(u8::from(holds(*a, *b)));
                    }
                }
                None => apply_rows(op, av, bv, values),
            }
        } else {
            for step in bits::ones(&kept) {
                let (a, b) = (av[step], bv[step]);
                values[step] = match (arithmetic(op), comparison(op)) {
                    (Some(f), _) => f(a, b),
                    (None, Some(holds)) if self.binary.return_bool => {
                        f64::from(u8::from(holds(a, b)))
                    }
                    _ => a,
                };
            }
        }
        bits::or(present, &kept);
    }

    fn emit_slow(&mut self, target: usize, group: usize, a: Row<'_>, b: Row<'_>, here: &[u64]) {
        let mut kept = vec![0; self.words];
        let mut results = Vec::new();
        let mut valid = here.to_vec();
        for step in bits::ones(here) {
            let mut remark = None;
            let (x, y) = (Operand::of(a, step), Operand::of(b, step));
            let result = elementwise(self.binary.op, x, y, &mut |r| remark = Some(r));
            if remark.is_some() {
                // Prometheus keeps the last one of a step.
                self.remarks.resize_with(here.len() * 64, || None);
                self.remarks[step] = remark;
            }
            match result {
                Some(result) => {
                    if result.keep || self.binary.return_bool {
                        bits::set(&mut kept, step);
                        results.push((step, result));
                    }
                }
                None => bits::clear(&mut valid, step),
            }
        }
        self.check_taken(target, group, &valid, &kept);
        bits::or(&mut self.matched[target * self.words..][..self.words], &valid);
        for (step, result) in results {
            if self.binary.return_bool {
                self.out.set(target, step, f64::from(u8::from(result.keep)));
            } else if let Some(h) = result.h {
                self.out.set_histogram(target, step, Arc::new(h));
            } else {
                self.out.set(target, step, result.v);
            }
        }
    }
}

/// Keeps one remark of each sort.
fn push_once(remarks: &mut Vec<Remark>, remark: Remark) {
    let same = |a: &Remark, b: &Remark| match (a, b) {
        (Remark::Types(a, b), Remark::Types(c, d)) => (a, b) == (c, d),
        (Remark::Layout, Remark::Layout) => true,
        (Remark::ResetCollision(a), Remark::ResetCollision(b))
        | (Remark::Reconciled(a), Remark::Reconciled(b)) => a == b,
        _ => false,
    };
    if !remarks.iter().any(|r| same(r, &remark)) {
        remarks.push(remark);
    }
}

fn and_into(out: &mut [u64], a: &[u64], b: &[u64]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = a & b);
}
