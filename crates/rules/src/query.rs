//! Queries of rules and of their templates.

use std::sync::Arc;

use firesteel_model::{
    Labels, Timestamp,
    storage::{CancelToken, Queryable},
};
use firesteel_promql::{
    Engine, Expr, QueryError, QueryOptions, QueryOrigin, QueryResult, QueryValue, SampleValue,
    VectorSample,
};

use crate::template;

/// Who asks, and whom.
pub(crate) struct Querying<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) storage: &'a dyn Queryable,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) origin: &'a Arc<QueryOrigin>,
    /// When templates ask.
    pub(crate) at: Timestamp,
}

/// A failed evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvalError {
    pub(crate) text: String,
    /// Whether it was stopped on purpose, which nobody needs to hear of.
    pub(crate) canceled: bool,
}

impl From<String> for EvalError {
    fn from(text: String) -> Self {
        Self { text, canceled: false }
    }
}

impl From<QueryError> for EvalError {
    fn from(error: QueryError) -> Self {
        let canceled = matches!(error, QueryError::Canceled(_) | QueryError::CanceledInQueue);
        Self { text: error.to_string(), canceled }
    }
}

/// What a query gave, and what accounts for its memory.
pub(crate) struct Answer {
    pub(crate) samples: Vec<VectorSample>,
    _held: QueryResult,
}

impl Querying<'_> {
    fn options(&self) -> QueryOptions {
        QueryOptions {
            cancel: self.cancel.clone(),
            origin: Some(Arc::clone(self.origin)),
            // Groups run side by side as it is, and most rules take less time than waking a thread.
            one_thread: true,
            ..QueryOptions::default()
        }
    }

    /// An instant vector; a scalar counts as a series without labels.
    pub(crate) fn vector(&self, expr: &Expr, at: Timestamp) -> Result<Answer, EvalError> {
        let result = self.engine.instant_expr(self.storage, expr, at, &self.options())?;
        answer(result)
    }
}

impl template::Query for Querying<'_> {
    fn query(&self, text: &str) -> Result<Vec<(Labels, SampleValue)>, String> {
        let result = self.engine.instant(self.storage, text, self.at, &self.options());
        let answer = result.map_err(EvalError::from).and_then(answer).map_err(|e| e.text)?;
        Ok(answer.samples.into_iter().map(|sample| (sample.labels, sample.value)).collect())
    }
}

fn answer(mut result: QueryResult) -> Result<Answer, EvalError> {
    let empty = QueryValue::Vector(Vec::new());
    let samples = match std::mem::replace(&mut result.value, empty) {
        QueryValue::Vector(samples) => samples,
        QueryValue::Scalar(s) => {
            vec![VectorSample { labels: Labels::empty(), t: s.t, value: SampleValue::Float(s.v) }]
        }
        QueryValue::String { .. } | QueryValue::Matrix(_) => {
            return Err("rule result is not a vector or scalar".to_owned().into());
        }
    };
    Ok(Answer { samples, _held: result })
}
