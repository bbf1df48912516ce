//! The order in which Go's `sort.Sort` and `slices.SortFunc` leave what is equal.
//!
//! They are not stable, and Prometheus' orders are at times not even consistent: NaN is less than
//! NaN, an empty label value neither before nor behind another. Its answers then show which
//! comparisons and exchanges the sort makes, in which order. This is the same pattern-defeating
//! quicksort: insertion sort for short ranges, a pivot by median, a guess whether the range is
//! sorted already, deterministic shuffling after bad pivots, heap sort after too many of them.
//!
//! Source: Go 1.19 to 1.27, `sort/zsortfunc.go`; the tests come from the real Prometheus.

use std::ops::Range;

/// Ranges up to this are sorted by insertion.
const MAX_INSERTION: usize = 12;
/// From this length on the pivot is a median of medians, and a nearly sorted range is repaired.
const LONG: usize = 50;
/// How many pairs out of order are repaired in a range that looks sorted.
const MAX_REPAIRS: usize = 5;
/// All comparisons for a pivot found their pair out of order: the range descends.
const ALL_SWAPPED: usize = 12;

/// Sorts as Go does where `less` says what comes first; `less` need not be an order.
pub(crate) fn sort_by<T>(items: &mut [T], less: impl FnMut(&T, &T) -> bool) {
    let bad_pivots = bit_length(items.len());
    let all = 0..items.len();
    Sorter { items, less }.sort(all, bad_pivots);
}

/// Number of bits up to the highest one.
const fn bit_length(n: usize) -> u32 {
    usize::BITS - n.leading_zeros()
}

struct Sorter<'a, T, F> {
    items: &'a mut [T],
    less: F,
}

/// What the search for a pivot says of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Ascending,
    Descending,
    None,
}

impl<T, F: FnMut(&T, &T) -> bool> Sorter<'_, T, F> {
    fn less(&mut self, i: usize, j: usize) -> bool {
        (self.less)(&self.items[i], &self.items[j])
    }

    /// Sorts a range, with heap sort after as many bad pivots. Recursion is as deep as the length
    /// has bits: it takes the shorter part, the loop the longer one.
    fn sort(&mut self, mut range: Range<usize>, mut bad_pivots: u32) {
        let (mut balanced, mut was_partitioned) = (true, true);
        loop {
            let length = range.len();
            if length <= MAX_INSERTION {
                return self.insertion_sort(range);
            }
            if bad_pivots == 0 {
                return self.heap_sort(range);
            }
            if !balanced {
                self.shuffle(&range);
                bad_pivots -= 1;
            }
            let (mut pivot, mut pattern) = self.pivot(&range);
            if pattern == Pattern::Descending {
                self.items[range.clone()].reverse();
                pivot = range.end - 1 - (pivot - range.start);
                pattern = Pattern::Ascending;
            }
            let looks_sorted = balanced && was_partitioned && pattern == Pattern::Ascending;
            if looks_sorted && self.repair(&range) {
                return;
            }
            // The item before the range is not less than the pivot, so nothing in the range is.
            if range.start > 0 && !self.less(range.start - 1, pivot) {
                range.start = self.partition_equal(&range, pivot);
                continue;
            }
            let (middle, untouched) = self.partition(&range, pivot);
            was_partitioned = untouched;
            let (left, right) = (range.start..middle, middle + 1..range.end);
            // The pivot counts to the right part here.
            let left_is_shorter = left.len() <= right.len();
            balanced = left.len().min(right.len() + 1) >= length / 8;
            if left_is_shorter {
                self.sort(left, bad_pivots);
                range = right;
            } else {
                self.sort(right, bad_pivots);
                range = left;
            }
        }
    }

    fn insertion_sort(&mut self, range: Range<usize>) {
        for i in range.start + 1..range.end {
            self.sink_left(i, range.start);
        }
    }

    /// Exchanges the item at `from` with those before it, down to `first`, while it is less.
    fn sink_left(&mut self, from: usize, first: usize) {
        let mut i = from;
        while i > first && self.less(i, i - 1) {
            self.items.swap(i, i - 1);
            i -= 1;
        }
    }

    fn heap_sort(&mut self, range: Range<usize>) {
        let n = range.len();
        for root in (0..=(n - 1) / 2).rev() {
            self.sift_down(root, n, range.start);
        }
        for end in (0..n).rev() {
            self.items.swap(range.start, range.start + end);
            self.sift_down(0, end, range.start);
        }
    }

    /// Restores the heap below `root`, of `n` items from `first` on.
    fn sift_down(&mut self, mut root: usize, n: usize, first: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= n {
                return;
            }
            if child + 1 < n && self.less(first + child, first + child + 1) {
                child += 1;
            }
            if !self.less(first + root, first + child) {
                return;
            }
            self.items.swap(first + root, first + child);
            root = child;
        }
    }

    /// Exchanges three items in the middle for others, which are always the same for a length.
    fn shuffle(&mut self, range: &Range<usize>) {
        let length = range.len();
        if length < 8 {
            return;
        }
        let mask = (1_u64 << bit_length(length)) - 1;
        let mut random = length as u64;
        let middle = range.start + length / 4 * 2;
        for at in middle - 1..=middle + 1 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let other = (random & mask) as usize;
            let other = if other >= length { other - length } else { other };
            self.items.swap(at, range.start + other);
        }
    }

    /// A pivot, by comparing a few items.
    fn pivot(&mut self, range: &Range<usize>) -> (usize, Pattern) {
        let (start, quarter) = (range.start, range.len() / 4);
        let [mut i, mut j, mut k] = [1, 2, 3].map(|n| start + n * quarter);
        let mut swaps = 0;
        if range.len() >= LONG {
            for at in [&mut i, &mut j, &mut k] {
                *at = self.median([*at - 1, *at, *at + 1], &mut swaps);
            }
        }
        // Shorter ranges than 8 are sorted by insertion.
        j = self.median([i, j, k], &mut swaps);
        let pattern = match swaps {
            0 => Pattern::Ascending,
            ALL_SWAPPED => Pattern::Descending,
            _ => Pattern::None,
        };
        (j, pattern)
    }

    fn median(&mut self, [mut a, mut b, mut c]: [usize; 3], swaps: &mut usize) -> usize {
        self.order(&mut a, &mut b, swaps);
        self.order(&mut b, &mut c, swaps);
        self.order(&mut a, &mut b, swaps);
        b
    }

    fn order(&mut self, a: &mut usize, b: &mut usize, swaps: &mut usize) {
        if self.less(*b, *a) {
            *swaps += 1;
            std::mem::swap(a, b);
        }
    }

    /// Sorts a range that is nearly sorted; says whether it is sorted now.
    fn repair(&mut self, range: &Range<usize>) -> bool {
        let mut i = range.start + 1;
        for _ in 0..MAX_REPAIRS {
            while i < range.end && !self.less(i, i - 1) {
                i += 1;
            }
            if i == range.end {
                return true;
            }
            if range.len() < LONG {
                return false;
            }
            self.items.swap(i, i - 1);
            if i - range.start >= 2 {
                // Down to the first item of all, not only of the range.
                self.sink_left(i - 1, 0);
            }
            if range.end - i >= 2 {
                let mut j = i + 1;
                while j < range.end && self.less(j, j - 1) {
                    self.items.swap(j, j - 1);
                    j += 1;
                }
            }
        }
        false
    }

    /// Puts items equal to the pivot first, those greater behind them; none is less. Returns where
    /// the greater ones begin.
    fn partition_equal(&mut self, range: &Range<usize>, pivot: usize) -> usize {
        let first = range.start;
        self.items.swap(first, pivot);
        let (mut i, mut end) = (first + 1, range.end);
        loop {
            while i < end && !self.less(first, i) {
                i += 1;
            }
            while i < end && self.less(first, end - 1) {
                end -= 1;
            }
            if i >= end {
                return i;
            }
            self.items.swap(i, end - 1);
            i += 1;
            end -= 1;
        }
    }

    /// Puts items less than the pivot before it, others behind it. Returns where it is then, and
    /// whether all items were on their side already.
    fn partition(&mut self, range: &Range<usize>, pivot: usize) -> (usize, bool) {
        let first = range.start;
        self.items.swap(first, pivot);
        let (mut i, mut end) = (first + 1, range.end);
        let mut untouched = true;
        loop {
            while i < end && self.less(i, first) {
                i += 1;
            }
            while i < end && !self.less(end - 1, first) {
                end -= 1;
            }
            if i >= end {
                break;
            }
            untouched = false;
            self.items.swap(i, end - 1);
            i += 1;
            end -= 1;
        }
        self.items.swap(end - 1, first);
        (end - 1, untouched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of 130 series, `n` for NaN.
    const VALUES: &str = "\
        00n2000210212n01nnn1n101211210202nn212112n2nn2n1120112n10011n2n21\
        2n212201n020nnn00n0n1n0n0000nnn00n200202110n122n21n0n2120010102n1";
    /// What Prometheus 3.5.3 makes of them with `sort`: all parts of the algorithm have a say.
    const ASCENDING: [usize; 130] = [
        121, 81, 71, 126, 4, 5, 6, 74, 76, 9, 124, 80, 57, 122, 14, 56, 1, 101, 116, 83, 50, 87,
        22, 89, 90, 91, 92, 107, 96, 29, 97, 31, 0, 100, 103, 15, 36, 105, 38, 39, 106, 28, 26, 25,
        109, 23, 21, 47, 48, 85, 114, 51, 52, 19, 119, 55, 68, 123, 58, 59, 11, 8, 125, 72, 64,
        129, 32, 113, 127, 69, 70, 65, 63, 3, 7, 75, 61, 10, 12, 120, 118, 67, 111, 53, 110, 49,
        24, 27, 30, 45, 104, 102, 42, 35, 40, 99, 37, 66, 86, 94, 82, 77, 33, 117, 93, 16, 43, 73,
        46, 2, 84, 62, 128, 88, 112, 54, 108, 78, 13, 95, 34, 60, 79, 17, 115, 18, 44, 20, 41, 98,
    ];
    /// The same with `sort_desc`.
    const DESCENDING: [usize; 130] = [
        70, 63, 127, 3, 61, 65, 120, 7, 67, 32, 10, 53, 12, 118, 69, 49, 113, 111, 110, 30, 45, 75,
        42, 40, 24, 37, 104, 27, 35, 99, 102, 47, 109, 129, 105, 28, 26, 25, 19, 39, 23, 85, 106,
        21, 36, 68, 72, 15, 48, 38, 114, 51, 52, 11, 119, 55, 8, 123, 58, 59, 64, 125, 31, 80, 57,
        56, 126, 4, 124, 5, 122, 121, 6, 9, 50, 71, 116, 74, 14, 97, 76, 81, 83, 87, 89, 107, 22,
        29, 0, 103, 90, 101, 100, 91, 92, 96, 1, 128, 18, 62, 17, 54, 20, 43, 34, 117, 33, 66, 41,
        16, 82, 2, 60, 86, 98, 94, 84, 13, 46, 93, 108, 115, 44, 73, 77, 112, 88, 78, 79, 95,
    ];

    fn values() -> Vec<f64> {
        VALUES.chars().map(|c| c.to_digit(10).map_or(f64::NAN, f64::from)).collect()
    }

    #[test]
    fn equal_and_incomparable_items_lie_as_go_leaves_them() {
        let v = values();
        let mut order: Vec<usize> = (0..v.len()).collect();
        sort_by(&mut order, |a, b| v[*b].is_nan() || v[*b] > v[*a]);
        assert_eq!(order, ASCENDING);
        order.sort_unstable();
        sort_by(&mut order, |a, b| v[*b].is_nan() || v[*b] < v[*a]);
        assert_eq!(order, DESCENDING);
    }

    #[test]
    fn of_parts_of_the_same_length_the_left_one_is_sorted_first() {
        let mut order: Vec<usize> = (0..130).collect();
        sort_by(&mut order, |a, b| b % 5 < a % 5);
        let at = |i: usize| order[i];
        assert_eq!([79, 91, 105, 117].map(at), [106, 116, 60, 105]);
    }

    #[test]
    fn sorts_everything_and_ends_where_there_is_no_order() {
        let patterns: [fn(usize) -> usize; 5] =
            [|i| i, |i| 1000 - i, |i| i % 7, |i| i.min(500 - i.min(500)), |i| i * 7919 % 1009];
        for n in [0, 1, 12, 13, 49, 50, 51, 300] {
            for pattern in patterns {
                let mut items: Vec<usize> = (0..n).map(pattern).collect();
                let mut expected = items.clone();
                expected.sort_unstable();
                sort_by(&mut items, |a, b| a < b);
                assert_eq!(items, expected);
            }
            let mut items: Vec<usize> = (0..n).collect();
            for answer in [true, false] {
                sort_by(&mut items, |_, _| answer);
            }
            items.sort_unstable();
            assert!(items.into_iter().eq(0..n));
        }
    }
}
