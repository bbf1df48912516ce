//! A rule at work: what it is, how it is, what it wrote.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use firesteel_config::RuleKind;

use crate::{
    Nanos, RuleSpec,
    alerting::{AlertState, Alerts, Texts},
    output::Output,
};

/// How a rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not evaluated yet.
    #[default]
    Unknown,
    /// The last evaluation succeeded.
    Good,
    /// It failed.
    Bad,
}

impl Health {
    /// The name in the API: `unknown`, `ok` or `err`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "ok",
            Self::Bad => "err",
        }
    }
}

/// How the last evaluation went.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleStatus {
    pub(crate) health: Health,
    pub(crate) last_error: Option<String>,
    /// When it began.
    pub(crate) evaluated_at: Option<Nanos>,
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) spec: RuleSpec,
    pub(crate) texts: Texts,
    status: Mutex<RuleStatus>,
    output: Mutex<Output>,
    alerts: Mutex<Alerts>,
    /// Whether the state of alerts from before a restart has been looked for; their series are
    /// written from then on only, or there would be nothing to find.
    restored: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rule {
    pub(crate) fn new(spec: RuleSpec, restored: bool) -> Self {
        Self {
            texts: if spec.kind == RuleKind::Alerting {
                Texts::of(&spec)
            } else {
                Texts::default()
            },
            spec,
            status: Mutex::default(),
            output: Mutex::default(),
            alerts: Mutex::default(),
            restored: AtomicBool::new(restored),
        }
    }

    pub(crate) fn is_alerting(&self) -> bool {
        self.spec.kind == RuleKind::Alerting
    }

    pub(crate) fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    pub(crate) fn set_restored(&self) {
        self.restored.store(true, Ordering::Release);
    }

    pub(crate) fn output(&self) -> MutexGuard<'_, Output> {
        lock(&self.output)
    }

    pub(crate) fn alerts(&self) -> MutexGuard<'_, Alerts> {
        lock(&self.alerts)
    }

    pub(crate) fn status(&self) -> RuleStatus {
        lock(&self.status).clone()
    }

    pub(crate) fn set_health(&self, error: Option<String>) {
        let mut status = lock(&self.status);
        status.health = if error.is_none() { Health::Good } else { Health::Bad };
        status.last_error = error;
    }

    pub(crate) fn set_evaluated(&self, at: Nanos, took: Duration) {
        let mut status = lock(&self.status);
        (status.evaluated_at, status.took) = (Some(at), took);
    }

    /// The highest state of its alerts.
    pub(crate) fn state(&self) -> AlertState {
        if lock(&self.status).evaluated_at.is_none() {
            return AlertState::Unknown;
        }
        self.alerts().state()
    }

    /// Whether another rule is the same one, changed.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name && self.spec.labels == other.spec.labels
    }

    /// Takes over what another rule wrote and which alerts it has.
    pub(crate) fn take_over(&self, other: &Self) {
        *self.output() = std::mem::take(&mut other.output());
        if self.is_alerting() && other.is_alerting() {
            *self.alerts() = std::mem::take(&mut other.alerts());
        }
    }
}
