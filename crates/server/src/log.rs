//! Log lines as Prometheus 3 writes them: logfmt or JSON, to standard error.

use std::fmt::{self, Write as _};

use firesteel_model::clock::{Clock as _, SystemClock};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `time=... level=INFO msg="..." key=value`
    Logfmt,
    /// The same as a JSON object.
    Json,
}

/// Sends the process' log to standard error. Does nothing if a log is set up already.
pub(crate) fn init(level: Level, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .event_format(Line { format });
    let _ = builder.try_init();
}

struct Line {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemClock::new().now();
        let time = jiff::Timestamp::from_millisecond(now)
            .map_or_else(|_| String::new(), |t| format!("{t:.3}"));
        let mut pairs = vec![
            ("time".to_owned(), time),
            ("level".to_owned(), event.metadata().level().to_string()),
            ("source".to_owned(), event.metadata().target().to_owned()),
            ("msg".to_owned(), fields.message),
        ];
        pairs.append(&mut fields.others);
        let mut line = String::with_capacity(160);
        match self.format {
            LogFormat::Logfmt => logfmt(&mut line, &pairs),
            LogFormat::Json => json(&mut line, &pairs),
        }
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.push((field.name().to_owned(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn logfmt(line: &mut String, pairs: &[(String, String)]) {
    for (i, (key, value)) in pairs.iter().enumerate() {
        if i > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        let plain = !value.is_empty()
            && value.chars().all(|c| c > ' ' && c != '"' && c != '=' && !c.is_control());
        if plain {
            line.push_str(value);
        } else {
            line.push_str(&firesteel_model::float::go_quote(value));
        }
    }
}

fn json(line: &mut String, pairs: &[(String, String)]) {
    for (i, (key, value)) in pairs.iter().enumerate() {
        line.push(if i > 0 { ',' } else { '{' });
        quote_json(line, key);
        line.push(':');
        quote_json(line, value);
    }
    line.push('}');
}

fn quote_json(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_quoted_where_needed() {
        let pairs = [("a", "b"), ("msg", "two words"), ("c", "x=\"y\"\n")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut line = String::new();
        logfmt(&mut line, &pairs);
        assert_eq!(line, r#"a=b msg="two words" c="x=\"y\"\n""#);
        line.clear();
        json(&mut line, &pairs);
        assert_eq!(line, r#"{"a":"b","msg":"two words","c":"x=\"y\"\u000a"}"#);
    }
}
