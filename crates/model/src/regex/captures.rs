//! Where the groups of a match are.

use regex_automata::util::primitives::NonMaxUsize;

pub(super) type Slot = Option<NonMaxUsize>;

/// Start and end of the whole match and of seven groups.
const INLINE: usize = 16;

/// What the groups of an expression matched. Up to seven groups it is made without an allocation.
#[derive(Clone, Debug)]
pub struct Captures(Slots);

#[derive(Clone, Debug)]
enum Slots {
    Inline([Slot; INLINE]),
    Heap(Vec<Slot>),
}

impl Captures {
    /// Room for a number of groups, the whole match among them.
    pub(super) fn new(groups: usize) -> Self {
        let slots = groups.saturating_mul(2);
        Self(if slots <= INLINE {
            Slots::Inline([None; INLINE])
        } else {
            Slots::Heap(vec![None; slots])
        })
    }

    fn slots(&self) -> &[Slot] {
        match &self.0 {
            Slots::Inline(slots) => slots,
            Slots::Heap(slots) => slots,
        }
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        match &mut self.0 {
            Slots::Inline(slots) => slots,
            Slots::Heap(slots) => slots,
        }
    }

    /// Notes start and end of a group.
    pub(super) fn set(&mut self, index: usize, start: usize, end: usize) {
        if let Some([first, second]) = self.slots_mut().get_mut(index * 2..index * 2 + 2) {
            (*first, *second) = (NonMaxUsize::new(start), NonMaxUsize::new(end));
        }
    }

    /// Start and end of a group.
    pub(super) fn span(&self, index: usize) -> Option<(usize, usize)> {
        let at = index.checked_mul(2)?;
        let &[start, end] = self.slots().get(at..at.checked_add(2)?)? else { return None };
        Some((start?.get(), end?.get()))
    }

    /// The text of group `index`, where group 0 is the whole match; `None` if it did not take part.
    #[must_use]
    pub fn group<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        let (start, end) = self.span(index)?;
        text.get(start..end)
    }
}
