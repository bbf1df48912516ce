//! The alerts that wait for an Alertmanager: one per label set, oldest first, bounded.

use std::{collections::VecDeque, time::Duration};

use firesteel_model::Labels;
use hashbrown::HashMap;

use super::Alert;
use crate::{Nanos, time::nanos};

/// How long a resolved alert is worth sending.
const RESOLVED: Duration = Duration::from_secs(15 * 60);

/// An alert that waits.
#[derive(Debug)]
struct Waiting {
    alert: Alert,
    /// After this time it says nothing any more.
    until: Nanos,
}

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    /// By number, ascending; numbers of those that a newer one replaced are not in `alerts`.
    order: VecDeque<u64>,
    alerts: HashMap<u64, Waiting>,
    numbers: HashMap<Labels, u64>,
    next: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            order: VecDeque::new(),
            alerts: HashMap::new(),
            numbers: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.alerts.len()
    }

    /// Adds alerts at the end. What is there of the same alert gives way; where the queue is full
    /// the oldest do: how many were lost so.
    pub(super) fn add(&mut self, alerts: impl IntoIterator<Item = Alert>, now: Nanos) -> usize {
        let mut lost = 0;
        for alert in alerts {
            let ends = alert.ends_at.unwrap_or(Nanos::MAX);
            let until = if ends <= now { now.saturating_add(nanos(RESOLVED)) } else { ends };
            lost += self.push(Waiting { alert, until });
        }
        lost
    }

    fn push(&mut self, waiting: Waiting) -> usize {
        let number = self.next;
        self.next += 1;
        if let Some(old) = self.numbers.insert(waiting.alert.labels.clone(), number) {
            self.alerts.remove(&old);
        }
        self.order.push_back(number);
        self.alerts.insert(number, waiting);
        let mut lost = 0;
        while self.alerts.len() > self.capacity {
            lost += usize::from(self.pop().is_some());
        }
        // Numbers of alerts that were replaced must not pile up.
        if self.order.len() > 2 * self.alerts.len() + 64 {
            let alerts = &self.alerts;
            self.order.retain(|number| alerts.contains_key(number));
        }
        lost
    }

    fn pop(&mut self) -> Option<Waiting> {
        while let Some(number) = self.order.pop_front() {
            if let Some(waiting) = self.alerts.remove(&number) {
                self.numbers.remove(&waiting.alert.labels);
                return Some(waiting);
            }
        }
        None
    }

    /// Drops what says nothing any more: how many.
    pub(super) fn expire(&mut self, now: Nanos) -> usize {
        let before = self.alerts.len();
        let numbers = &mut self.numbers;
        self.alerts.retain(|_, waiting| {
            let keep = waiting.until > now;
            if !keep {
                numbers.remove(&waiting.alert.labels);
            }
            keep
        });
        before - self.alerts.len()
    }

    /// The oldest alerts, at most `most`. They stay until they are [`Queue::done`].
    pub(super) fn batch(&self, most: usize) -> Batch {
        let waiting = self.order.iter().filter_map(|n| Some((*n, self.alerts.get(n)?)));
        Batch(waiting.take(most).map(|(n, w)| (n, w.alert.clone())).collect())
    }

    /// Takes away what was sent, or will never be; what has been replaced meanwhile stays.
    pub(super) fn done(&mut self, batch: &Batch) {
        for (number, alert) in &batch.0 {
            if self.alerts.remove(number).is_some() {
                self.numbers.remove(&alert.labels);
            }
        }
        while self.order.front().is_some_and(|n| !self.alerts.contains_key(n)) {
            self.order.pop_front();
        }
    }
}

/// Alerts that are being sent.
#[derive(Debug)]
pub(super) struct Batch(Vec<(u64, Alert)>);

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.0.iter().map(|(_, alert)| alert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, ends_at: Nanos) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: [].into(),
            starts_at: None,
            ends_at: Some(ends_at),
            generator_url: "".into(),
        }
    }

    fn names(queue: &Queue) -> Vec<String> {
        let batch = queue.batch(10);
        batch.alerts().map(|a| a.labels.get("alertname").unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn newer_alerts_replace_older_ones_and_the_oldest_are_lost() {
        let mut queue = Queue::new(2);
        assert_eq!(queue.add([alert("a", 50), alert("b", 50)], 0), 0);
        let sent = queue.batch(10);
        assert_eq!(queue.add([alert("a", 60)], 0), 0);
        assert_eq!(names(&queue), ["b", "a"]);
        // What was sent is the old state of `a`; the new one is still to come.
        queue.done(&sent);
        assert_eq!(names(&queue), ["a"]);
        assert_eq!(queue.add([alert("c", 60), alert("d", 60)], 0), 1);
        assert_eq!(names(&queue), ["c", "d"]);
    }

    #[test]
    fn what_says_nothing_any_more_is_dropped() {
        let mut queue = Queue::new(10);
        let minute = 60_000_000_000;
        queue.add([alert("firing", 5 * minute), alert("resolved", minute)], 2 * minute);
        assert_eq!(queue.expire(4 * minute), 0);
        assert_eq!(queue.expire(5 * minute), 1);
        assert_eq!(names(&queue), ["resolved"]);
        assert_eq!(queue.expire(17 * minute), 1);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn replaced_numbers_do_not_pile_up() {
        let mut queue = Queue::new(10);
        for i in 0..10_000 {
            queue.add([alert("a", i + 1)], i);
        }
        assert!(queue.order.len() < 100);
    }
}
