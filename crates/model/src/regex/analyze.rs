//! What can be told about an expression without an automaton: the texts that it matches, or how
//! they are made of literals and gaps, and how they begin and end.

use regex_syntax::hir::{Capture, Class, ClassUnicode, Hir, HirKind, Look, Repetition};

/// How many texts a product of choices may make.
const MAX_PRODUCT: usize = 256;
/// How many bytes they, or a list of alternatives, may have in all.
const MAX_BYTES: usize = 1 << 20;
/// How deep the expression is looked into.
const MAX_DEPTH: usize = 64;

/// A run of literals and gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) parts: Vec<Part>,
    /// The end of the text was asked for; nothing may follow.
    ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Gap(Gap),
}

/// Any characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// How many at least.
    pub(super) min: u32,
    /// Whether there may be more.
    pub(super) open: bool,
}

impl Sequence {
    pub(super) fn text(text: String) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] };
        Self { parts, ended: false }
    }

    fn gap(gap: Gap) -> Self {
        Self { parts: vec![Part::Gap(gap)], ended: false }
    }

    fn bytes(&self) -> usize {
        let len = |part: &Part| if let Part::Text(t) = part { t.len() } else { 1 };
        self.parts.iter().map(len).sum()
    }

    fn append(&mut self, other: &Self) -> Option<()> {
        if self.ended && !other.parts.is_empty() {
            return None;
        }
        for part in &other.parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Text(last)), Part::Text(next)) => last.push_str(next),
                (Some(Part::Gap(last)), Part::Gap(next)) => {
                    last.min = last.min.checked_add(next.min)?;
                    last.open |= next.open;
                }
                _ => self.parts.push(part.clone()),
            }
        }
        self.ended |= other.ended;
        Some(())
    }

    /// The text, if there is no gap.
    pub(super) fn into_text(mut self) -> Result<String, Self> {
        match (self.parts.pop(), self.parts.is_empty()) {
            (None, _) => Ok(String::new()),
            (Some(Part::Text(text)), true) => Ok(text),
            (Some(last), _) => {
                self.parts.push(last);
                Err(self)
            }
        }
    }
}

/// All the sequences that an anchored expression matches; `None` where that cannot be told, or
/// where they are many.
pub(super) fn sequences(hir: &Hir) -> Option<Vec<Sequence>> {
    expand(hir, 0)
}

fn expand(hir: &Hir, depth: usize) -> Option<Vec<Sequence>> {
    if depth > MAX_DEPTH {
        return None;
    }
    match hir.kind() {
        HirKind::Empty => Some(vec![Sequence::default()]),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(vec![Sequence::text(text.to_owned())])
        }
        HirKind::Class(Class::Unicode(class)) => members(class),
        HirKind::Class(Class::Bytes(_)) => None,
        // The beginning adds nothing where nothing is before it: `concat` takes care of that.
        HirKind::Look(Look::End) => Some(vec![Sequence { parts: Vec::new(), ended: true }]),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => repeat(repetition, depth),
        HirKind::Capture(Capture { sub, .. }) => expand(sub, depth + 1),
        HirKind::Concat(subs) => concat(subs, depth),
        HirKind::Alternation(subs) => {
            let (mut all, mut bytes) = (Vec::new(), 0);
            for sub in subs {
                let mut alternative = expand(sub, depth + 1)?;
                bytes += total_bytes(&alternative);
                if bytes > MAX_BYTES {
                    return None;
                }
                all.append(&mut alternative);
            }
            Some(all)
        }
    }
}

fn is_any(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Class(Class::Unicode(class)) if is_any_class(class))
}

fn is_any_class(class: &ClassUnicode) -> bool {
    matches!(class.ranges(), [r] if r.start() == '\0' && r.end() == char::MAX)
}

fn members(class: &ClassUnicode) -> Option<Vec<Sequence>> {
    if is_any_class(class) {
        return Some(vec![Sequence::gap(Gap { min: 1, open: false })]);
    }
    let count: usize = class.ranges().iter().map(|r| r.len()).sum();
    if count == 0 || count > MAX_PRODUCT {
        return None;
    }
    let chars = class.iter().flat_map(|r| r.start()..=r.end());
    Some(chars.map(|c| Sequence::text(c.to_string())).collect())
}

fn repeat(repetition: &Repetition, depth: usize) -> Option<Vec<Sequence>> {
    let Repetition { min, max, ref sub, .. } = *repetition;
    if is_any(sub) && (max.is_none() || max == Some(min)) {
        return Some(vec![Sequence::gap(Gap { min, open: max.is_none() })]);
    }
    let once = expand(sub, depth + 1)?;
    let mut power = vec![Sequence::default()];
    let mut all = Vec::new();
    for count in 0..=max? {
        if count > 0 {
            power = product(power, &once)?;
        }
        if count >= min {
            all.extend_from_slice(&power);
        }
        if all.len() > MAX_PRODUCT || total_bytes(&all) > MAX_BYTES {
            return None;
        }
    }
    Some(all)
}

fn concat(subs: &[Hir], depth: usize) -> Option<Vec<Sequence>> {
    let mut all = vec![Sequence::default()];
    for sub in subs {
        if matches!(sub.kind(), HirKind::Look(Look::Start)) {
            // Something before it, even if it can be empty, is for the automaton.
            if depth > 0 || all.iter().any(|s| !s.parts.is_empty() || s.ended) {
                return None;
            }
            continue;
        }
        all = product(all, &expand(sub, depth + 1)?)?;
    }
    Some(all)
}

/// Each of the first followed by each of the second.
fn product(mut first: Vec<Sequence>, second: &[Sequence]) -> Option<Vec<Sequence>> {
    let (n, m) = (first.len(), second.len());
    if n == 1 && first.iter().all(|s| s.parts.is_empty() && !s.ended) {
        return Some(second.to_vec());
    }
    let bytes = total_bytes(&first) * m + total_bytes(second) * n;
    if bytes > MAX_BYTES || (n > 1 && m > 1 && n * m > MAX_PRODUCT) {
        return None;
    }
    if let [one] = second {
        first.iter_mut().try_for_each(|s| s.append(one))?;
        return Some(first);
    }
    let mut all = Vec::with_capacity(n * m);
    for start in &first {
        for end in second {
            let mut joined = start.clone();
            joined.append(end)?;
            all.push(joined);
        }
    }
    Some(all)
}

fn total_bytes(all: &[Sequence]) -> usize {
    all.iter().map(Sequence::bytes).sum()
}

/// A literal that every match of an anchored expression begins with.
pub(super) fn prefix(hir: &Hir) -> String {
    let mut out = String::new();
    edge(hir, &mut out, Side::Start, 0);
    out
}

/// A literal that every match of an anchored expression ends with.
pub(super) fn suffix(hir: &Hir) -> String {
    let mut out = String::new();
    edge(hir, &mut out, Side::End, 0);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// Adds a literal to what is known of one side of the matches; false where no more can be added.
fn edge(hir: &Hir, out: &mut String, side: Side, depth: usize) -> bool {
    match hir.kind() {
        _ if depth > MAX_DEPTH => false,
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => match (std::str::from_utf8(&literal.0), side) {
            (Ok(text), Side::Start) => {
                out.push_str(text);
                true
            }
            (Ok(text), Side::End) => {
                out.insert_str(0, text);
                true
            }
            (Err(_), _) => false,
        },
        HirKind::Capture(Capture { sub, .. }) => edge(sub, out, side, depth + 1),
        HirKind::Concat(subs) => match side {
            Side::Start => subs.iter().all(|sub| edge(sub, out, side, depth + 1)),
            Side::End => subs.iter().rev().all(|sub| edge(sub, out, side, depth + 1)),
        },
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => {
            edge(sub, out, side, depth + 1);
            false
        }
        HirKind::Alternation(subs) if side == Side::Start => {
            let known = out.len();
            let mut branches = subs.iter().map(|sub| {
                let mut branch = String::new();
                edge(sub, &mut branch, side, depth + 1);
                branch
            });
            out.push_str(&branches.next().unwrap_or_default());
            for branch in branches {
                let common = common_prefix(&out[known..], &branch);
                out.truncate(known + common);
            }
            false
        }
        _ => false,
    }
}

/// Length in bytes of what both texts begin with, whole characters only.
pub(super) fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y);
    same.map_or(a.len().min(b.len()), |((at, _), _)| at)
}
