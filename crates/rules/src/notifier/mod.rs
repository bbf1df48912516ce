//! Alerts on their way to Alertmanagers: which there are, a queue for each, and what is sent.
//! Source: `notifier/`.
//!
//! Prometheus drops a batch that an Alertmanager did not take. Here it waits, and what is newer of
//! the same alert takes its place, until it says nothing any more: an alert that fires until its
//! end, one that is resolved for fifteen minutes.

mod manager;
mod metrics;
mod payload;
mod queue;
mod sender;
mod targets;

use std::sync::Arc;

use firesteel_model::Labels;

use crate::{Annotations, Nanos};

pub use manager::{Alertmanagers, Notifier, NotifierOptions};

/// An alert as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What identifies it, with `alertname`.
    pub labels: Labels,
    /// What is said about it.
    pub annotations: Annotations,
    /// When it began to fire.
    pub starts_at: Option<Nanos>,
    /// When it was resolved, or until when it is to be taken for firing.
    pub ends_at: Option<Nanos>,
    /// Where to look at its query.
    pub generator_url: Arc<str>,
}

/// Where the query of a rule can be looked at. `external_url` has no slash at its end.
#[must_use]
pub fn generator_url(external_url: &str, query: &str) -> Arc<str> {
    let escaped: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    // The one character that Go escapes and this encoding leaves alone, and the other way round.
    let escaped = escaped.replace('*', "%2A").replace("%7E", "~");
    format!("{external_url}/graph?g0.expr={escaped}&g0.tab=1").into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_escaped_as_go_does() {
        let url = super::generator_url("http://h:1/p", "a{b=~\"c.*\"} * 2 > 1-_");
        let escaped = "a%7Bb%3D~%22c.%2A%22%7D+%2A+2+%3E+1-_";
        assert_eq!(&*url, format!("http://h:1/p/graph?g0.expr={escaped}&g0.tab=1"));
    }
}
