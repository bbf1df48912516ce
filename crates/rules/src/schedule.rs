//! When groups are evaluated. Source: `Group.EvalTimestamp` of `rules/group.go`.

use firesteel_model::Labels;

use crate::Nanos;

/// The moments at which a group is evaluated: every interval, at a place in it that its name gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    interval: i64,
    offset: i64,
}

impl Slots {
    pub(crate) fn new(file: &str, name: &str, interval: i64) -> Self {
        let interval = interval.max(1_000_000);
        let hash = Labels::from_pairs([("name", name), ("file", file)]).prom_hash();
        let offset = hash % interval.unsigned_abs();
        Self { interval, offset: i64::try_from(offset).unwrap_or(0) }
    }

    pub(crate) const fn interval(self) -> i64 {
        self.interval
    }

    /// The slot at a time or before it.
    pub(crate) const fn before(self, now: Nanos) -> Nanos {
        let since = now.saturating_sub(self.offset);
        since - since % self.interval + self.offset
    }

    /// The next slot to evaluate after `last` when it is `now`, and how many lie between; `None`
    /// while it is too early. A clock that was set back begins again at its new time.
    pub(crate) fn next(self, last: Nanos, now: Nanos) -> Option<(Nanos, u64)> {
        // Clocks give whole milliseconds, slots are finer: being woken a moment early is in time.
        let early = (self.interval / 10).min(20_000_000);
        let passed = (now - last + early) / self.interval;
        if passed >= 1 {
            let missed = u64::try_from(passed - 1).unwrap_or(0);
            return Some((last + passed * self.interval, missed));
        }
        (last - now > self.interval).then(|| (self.before(now), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn slots_stay_where_they_are_and_missed_ones_are_counted() {
        let slots = Slots::new("a.yml", "g", 10 * SECOND);
        let now = 1_700_000_003 * SECOND;
        let slot = slots.before(now);
        assert!(slot <= now && now - slot < 10 * SECOND);
        assert_eq!(slots.before(slot), slot);
        assert_eq!(slots.before(slot + 10 * SECOND - 1), slot);
        assert_eq!(slots.next(slot, slot + 5 * SECOND), None);
        assert_eq!(slots.next(slot, slot + 10 * SECOND - 900_000), Some((slot + 10 * SECOND, 0)));
        assert_eq!(slots.next(slot, slot + 35 * SECOND), Some((slot + 30 * SECOND, 2)));
        // The clock was set back by an hour.
        let back = slot - 3600 * SECOND + SECOND;
        assert_eq!(slots.next(slot, back), Some((slot - 3600 * SECOND, 0)));
    }
}
