//! Searching the index of a block.

use std::{cell::RefCell, ops::Range};

use firesteel_model::{
    Matcher,
    storage::{QueryContext, StorageError},
};
use hashbrown::HashMap;

use super::{
    IndexReader, Memory, PostingsReader, PostingsSource,
    postings::{Bits, ReadLists},
};
use crate::{TsdbError, fs::Window};

/// How many lists are asked for their length.
const ASKED: usize = 16;
/// Series between two looks at the query's deadline.
const CHECK_SERIES: usize = 1024;

/// A search in an index, with buffers of its own.
pub(crate) struct Search<'a> {
    index: &'a IndexReader,
    table: RefCell<Window>,
    /// Postings as they are read, and decoded.
    lists: RefCell<(Window, Vec<u32>)>,
    series: Window,
    /// Bytes reserved for the postings of one list.
    held: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(index: &'a IndexReader) -> Self {
        let (table, lists) = Default::default();
        Self { index, table, lists, series: Window::default(), held: 0 }
    }

    /// The series that satisfy all matchers, ascending.
    pub(crate) fn select(
        &mut self,
        matchers: &[Matcher],
        ctx: &QueryContext,
        memory: &mut Memory<'_>,
    ) -> Result<Vec<u32>, StorageError> {
        match super::plan(self, matchers, ctx)? {
            Some(plan) => plan.run(self, memory),
            None => Ok(Vec::new()),
        }
    }

    /// Calls `f` with the values of a label, in order, until it returns false.
    pub(crate) fn values(
        &self,
        name: &str,
        f: &mut dyn FnMut(&str, u64) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let source = self.index.source();
        let mut failed = Ok(());
        self.index.table().scan(source, &mut self.table.borrow_mut(), name, "", &mut |v, at| {
            Ok(f(self.text(v)?, at).unwrap_or_else(|e| {
                failed = Err(e);
                false
            }))
        })?;
        failed
    }

    fn text<'v>(&self, value: &'v [u8]) -> Result<&'v str, TsdbError> {
        let wrong = |_| self.index.source().corrupt(0, "label value is not UTF-8");
        std::str::from_utf8(value).map_err(wrong)
    }

    /// Whether the postings at an offset have a marked series.
    pub(crate) fn any_marked(&self, at: u64, marked: &Bits) -> Result<bool, StorageError> {
        let (window, ids) = &mut *self.lists.borrow_mut();
        self.index.postings(window, at, ids)?;
        Ok(ids.iter().any(|id| marked.contains(*id)))
    }

    /// What is searched.
    pub(crate) const fn index(&self) -> &'a IndexReader {
        self.index
    }

    /// Calls `f` with the label pairs of each series until it returns false.
    pub(crate) fn each_labels(
        &mut self,
        ids: &[u32],
        memory: &Memory<'_>,
        f: &mut dyn FnMut(&[(u32, u32)]) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let mut labels = Vec::new();
        for (i, &id) in ids.iter().enumerate() {
            memory.check_every(i, CHECK_SERIES)?;
            labels.clear();
            self.index.series(&mut self.series, id)?.labels(&mut labels)?;
            if !f(&labels)? {
                break;
            }
        }
        Ok(())
    }
}

impl PostingsSource for Search<'_> {
    type List = u64;

    fn all(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.index.table().all())
    }

    fn exact(&self, name: &str, value: &str) -> Result<Option<u64>, StorageError> {
        let source = self.index.source();
        Ok(self.index.table().find(source, &mut self.table.borrow_mut(), name, value)?)
    }

    fn num_values(&self, name: &str) -> usize {
        self.index.table().num_values(name)
    }

    fn is_on_all(&self, _: &str) -> bool {
        false
    }

    fn matching(
        &self,
        name: &str,
        prefixes: &[String],
        keep: &mut dyn FnMut(&str) -> Result<bool, StorageError>,
        out: &mut Vec<u64>,
    ) -> Result<(), StorageError> {
        let (source, table) = (self.index.source(), self.index.table());
        let mut window = self.table.borrow_mut();
        let every = [String::new()];
        let mut failed = Ok(());
        for prefix in if prefixes.is_empty() { &every } else { prefixes } {
            let prefix = prefix.as_str();
            table.scan(source, &mut window, name, prefix, &mut |value, at| {
                let value = self.text(value)?;
                if !value.starts_with(prefix) {
                    return Ok(value < prefix);
                }
                match keep(value) {
                    Ok(true) => out.push(at),
                    Ok(false) => {}
                    Err(e) => {
                        failed = Err(e);
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            std::mem::replace(&mut failed, Ok(()))?;
        }
        Ok(())
    }

    fn weight(&self, lists: &[u64]) -> Result<u64, StorageError> {
        if let (Some(first), Some(last)) = (lists.first(), lists.last())
            && lists.len() > ASKED
        {
            // Writers put the lists of a label one after the other.
            return Ok(first.abs_diff(*last) / 4);
        }
        let (window, _) = &mut *self.lists.borrow_mut();
        let len = |at: &u64| self.index.postings_len(window, *at).map(u64::from);
        Ok(lists.iter().map(len).sum::<Result<u64, TsdbError>>()?)
    }
}

impl ReadLists for Search<'_> {
    type List = u64;

    fn bounds(&self) -> Range<u32> {
        self.index.series_bounds()
    }

    fn read<'a>(
        &'a mut self,
        list: &'a u64,
        memory: &mut Memory<'_>,
    ) -> Result<&'a [u32], StorageError> {
        let (window, ids) = self.lists.get_mut();
        let count = self.index.postings_len(window, *list)?;
        // The numbers, and the bytes that they are read from.
        let bytes = u64::from(count) * 8;
        if bytes > self.held {
            memory.take(bytes - self.held)?;
            self.held = bytes;
        }
        self.index.postings(window, *list, ids)?;
        Ok(ids)
    }
}

impl PostingsReader for Search<'_> {
    fn filter(
        &mut self,
        ids: &mut Vec<u32>,
        matcher: &Matcher,
        memory: &mut Memory<'_>,
    ) -> Result<(), StorageError> {
        let index = self.index;
        let mut label = LabelOf::new(index, matcher.name());
        let mut verdicts: HashMap<u32, bool> = HashMap::new();
        let mut kept = Vec::with_capacity(ids.len());
        let mut this = ids.iter().copied();
        self.each_labels(ids, memory, &mut |labels| {
            let holds = match label.value(labels)? {
                None => matcher.matches_empty(),
                Some(value) => match verdicts.get(&value) {
                    Some(&known) => known,
                    None => {
                        let holds = index.symbol_is(value, &|text| matcher.matches(text))?;
                        verdicts.insert(value, holds);
                        holds
                    }
                },
            };
            if let Some(id) = this.next()
                && holds
            {
                kept.push(id);
            }
            Ok(true)
        })?;
        *ids = kept;
        Ok(())
    }
}

/// Finds the value of a label among the pairs of a series. Which number its name has is learned as
/// it comes.
pub(crate) struct LabelOf<'a> {
    index: &'a IndexReader,
    name: &'a str,
    known: HashMap<u32, bool>,
}

impl<'a> LabelOf<'a> {
    pub(crate) fn new(index: &'a IndexReader, name: &'a str) -> Self {
        Self { index, name, known: HashMap::new() }
    }

    /// The number of the value, if the series has the label.
    pub(crate) fn value(&mut self, labels: &[(u32, u32)]) -> Result<Option<u32>, TsdbError> {
        for &(name, value) in labels {
            let is_it = match self.known.get(&name) {
                Some(&known) => known,
                None => {
                    let is_it = self.index.symbol_is(name, &|text| text == self.name)?;
                    self.known.insert(name, is_it);
                    is_it
                }
            };
            if is_it {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}
