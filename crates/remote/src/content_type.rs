//! Which message a request's body is, by its `Content-Type`.

use thiserror::Error;

/// A message of the remote-write protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteMessage {
    /// `prometheus.WriteRequest`, version 1.0.
    V1,
    /// `io.prometheus.write.v2.Request`, version 2.0.
    V2,
}

/// Why a `Content-Type` is refused; answered with 415. The texts are those of Prometheus
/// (`client_golang/exp/api/remote`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentTypeError {
    /// It is not protobuf.
    #[error("expected application/x-protobuf as the first (media) part, got {0} content-type")]
    MediaType(String),
    /// A parameter is not of the form `name=value`.
    #[error(
        "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be \
         key-values, got {parameter} in {content_type} content-type"
    )]
    Parameter {
        /// The part that is not.
        parameter: String,
        /// The whole.
        content_type: String,
    },
    /// A message that nobody knows.
    #[error(
        "got {content_type} content type; unknown type for remote write protobuf message {message}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
    )]
    Message {
        /// Its name.
        message: String,
        /// The whole.
        content_type: String,
    },
}

impl WriteMessage {
    /// The full name of the protobuf message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// Reads a `Content-Type`; an empty one and one without `proto=` mean version 1.0.
    ///
    /// # Errors
    /// See [`ContentTypeError`].
    pub fn from_content_type(content_type: &str) -> Result<Self, ContentTypeError> {
        let content_type = content_type.trim();
        if content_type.is_empty() {
            return Ok(Self::V1);
        }
        let mut parts = content_type.split(';');
        if parts.next() != Some("application/x-protobuf") {
            return Err(ContentTypeError::MediaType(content_type.to_owned()));
        }
        for parameter in parts {
            let pair = parameter.split_once('=').filter(|(_, value)| !value.contains('='));
            match pair {
                None => {
                    return Err(ContentTypeError::Parameter {
                        parameter: parameter.to_owned(),
                        content_type: content_type.to_owned(),
                    });
                }
                Some(("proto", message)) => {
                    let known = [Self::V1, Self::V2].into_iter().find(|m| m.as_str() == message);
                    return known.ok_or_else(|| ContentTypeError::Message {
                        message: message.to_owned(),
                        content_type: content_type.to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(Self::V1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_versions_apart() {
        for (content_type, message) in [
            ("", Some(WriteMessage::V1)),
            ("application/x-protobuf", Some(WriteMessage::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Some(WriteMessage::V1)),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", Some(WriteMessage::V2)),
            ("application/x-protobuf;a=b", Some(WriteMessage::V1)),
            ("application/x-protobuf;proto=x", None),
            ("application/x-protobuf;proto", None),
            ("application/x-protobuf;a=b=c", None),
            ("text/plain", None),
        ] {
            assert_eq!(WriteMessage::from_content_type(content_type).ok(), message);
        }
    }
}
