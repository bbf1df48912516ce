//! The answer around every answer: `{"status":"success","data":...}`.

use axum::body::Bytes;
use firesteel_model::budget::Reservation;
use http::StatusCode;

use crate::{json::write_string, payload::Payload};

/// Prometheus' error types, each with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A parameter is wrong: 400.
    BadData,
    /// The query failed: 422.
    Execution,
    /// The query was cancelled: 499.
    Canceled,
    /// The query took too long: 503.
    Timeout,
    /// The program failed: 500.
    Internal,
    /// There is no such thing: 404.
    NotFound,
    /// The feature is off: 500, as Prometheus answers.
    Unavailable,
}

impl ErrorKind {
    const fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The text for the caller.
    pub message: String,
    /// What the caller can do about it, where there is more to say than Prometheus does; goes into
    /// the answer's `infos`.
    pub hint: Option<String>,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// As Prometheus words it: `invalid parameter "step": ...`.
    pub(crate) fn parameter(name: &str, error: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {error}"))
    }

    pub(crate) fn body(&self) -> (StatusCode, Vec<u8>) {
        let mut out = Vec::with_capacity(64 + self.message.len());
        out.extend_from_slice(br#"{"status":"error","errorType":""#);
        out.extend_from_slice(self.kind.name().as_bytes());
        out.extend_from_slice(br#"","error":"#);
        write_string(&mut out, &self.message);
        if let Some(hint) = &self.hint {
            out.extend_from_slice(b",\"infos\":[");
            write_string(&mut out, hint);
            out.push(b']');
        }
        out.push(b'}');
        (self.kind.status(), out)
    }
}

/// A successful call: the JSON of `data`, with what a reader should be told besides.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// What comes before `data`, where an answer is too large for one buffer.
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) data: Vec<u8>,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
    /// Accounts for the memory of a large answer until it is sent.
    pub(crate) reserved: Option<Reservation>,
}

/// The warning of a list that a `limit` parameter cut.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

/// How every answer begins.
const HEAD: &[u8] = br#"{"status":"success","data":"#;

impl Reply {
    pub(crate) fn json<T: serde::Serialize>(data: &T) -> Result<Self, ApiError> {
        let data = serde_json::to_vec(data)
            .map_err(|e| ApiError::new(ErrorKind::Internal, format!("encoding the answer: {e}")))?;
        Ok(Self { data, ..Self::default() })
    }

    /// Nothing to say: 204.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    /// Without pieces where there is nothing to say.
    pub(crate) fn into_payload(self) -> Payload {
        if self.data.is_empty() && self.pieces.is_empty() {
            return Payload::default();
        }
        let mut out = Vec::with_capacity(HEAD.len() + self.data.len() + 64);
        let mut pieces = Vec::with_capacity(self.pieces.len() + 2);
        out.extend_from_slice(HEAD);
        if !self.pieces.is_empty() {
            pieces.push(Bytes::from(std::mem::take(&mut out)));
            pieces.extend(self.pieces);
        }
        out.extend_from_slice(&self.data);
        for (key, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if texts.is_empty() {
                continue;
            }
            out.extend_from_slice(b",\"");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":[");
            for (i, text) in texts.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(&mut out, text);
            }
            out.push(b']');
        }
        out.push(b'}');
        pieces.push(Bytes::from(out));
        Payload { pieces: pieces.into(), reserved: self.reserved }
    }
}
