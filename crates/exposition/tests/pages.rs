//! Whole pages: our own fixtures, Prometheus' benchmark pages and the OpenMetrics suite.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::{Path, PathBuf};

use firesteel_exposition::{Entry, Error, Format, Parser, check_openmetrics};

const NODE: &[u8] = include_bytes!("../testdata/node_exporter.prom");
const EVERYTHING: &[u8] = include_bytes!("../testdata/everything.om");

/// Series, metadata lines and the sum of label counts.
fn count(format: Format, page: &[u8]) -> Result<(usize, usize, usize), Error> {
    let mut parser = Parser::new(format, page);
    let (mut series, mut metadata, mut labels) = (0, 0, 0);
    while let Some(entry) = parser.next_entry()? {
        match entry {
            Entry::Series(s) => {
                series += 1;
                labels += s.labels().count();
            }
            Entry::Comment(_) => {}
            _ => metadata += 1,
        }
    }
    Ok((series, metadata, labels))
}

fn conformance(folder: &str) -> Option<PathBuf> {
    let base = std::env::var_os("FIRESTEEL_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    let path = base.join(folder);
    if !path.is_dir() {
        skipped(&format!("conformance data not found ({folder})"));
        return None;
    }
    Some(path)
}

#[test]
fn a_real_node_exporter_page() {
    let (series, metadata, labels) = count(Format::PrometheusText, NODE).unwrap();
    let lines = NODE.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let (comments, samples): (Vec<_>, Vec<_>) = lines.partition(|l| l.starts_with(b"#"));
    assert_eq!((series, metadata), (samples.len(), comments.len()));
    assert!(labels > 0);
}

#[test]
fn every_type_of_openmetrics() {
    let (series, metadata, _) = count(Format::OpenMetrics, EVERYTHING).unwrap();
    assert_eq!((series, metadata), (18, 11));
}

#[test]
fn a_second_reading_knows_every_line() {
    for (format, page) in [(Format::PrometheusText, NODE), (Format::OpenMetrics, EVERYTHING)] {
        let mut cold = Parser::new(format, page);
        let mut warm = Parser::new(format, page);
        loop {
            let known = match cold.next_entry().unwrap() {
                None => break,
                Some(Entry::Series(s)) => {
                    let sample = warm.next_known(s.raw).unwrap().unwrap();
                    sample.value.to_bits() == s.value.to_bits()
                        && sample.timestamp == s.timestamp
                        && sample.exemplar.map(|e| e.to_exemplar())
                            == s.exemplar().map(|e| e.to_exemplar())
                }
                Some(_) => warm.skip_known(cold.entry_text(), None),
            };
            assert!(known, "{}", String::from_utf8_lossy(cold.entry_text()));
        }
    }
}

#[test]
fn benchmark_pages_of_prometheus() {
    let Some(folder) = conformance("exposition") else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let format =
            if name.contains(".om.") { Format::OpenMetrics } else { Format::PrometheusText };
        let page = std::fs::read(&path).unwrap();
        // Some of the OpenMetrics pages are pieces, to be closed by whoever reads them.
        let result = count(format, &page).or_else(|_| {
            let mut closed = page.clone();
            closed.extend_from_slice(b"# EOF\n");
            count(format, &closed)
        });
        println!("{name}: {:?}", result.unwrap());
    }
}

#[test]
fn openmetrics_suite() {
    let Some(folder) = conformance("openmetrics") else { return };
    let (mut good, mut bad, mut lax) = (0, 0, 0);
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(test) = std::fs::read_to_string(path.join("test.json")) else { continue };
        let should_parse = test.contains("\"shouldParse\": true");
        let page = std::fs::read(path.join("metrics")).unwrap();
        let strict = check_openmetrics(&page);
        if strict.is_ok() != should_parse {
            failures.push(format!("{}: {strict:?}", path.display()));
        }
        match (should_parse, count(Format::OpenMetrics, &page)) {
            (true, result) => {
                result.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                good += 1;
            }
            (false, Err(_)) => bad += 1,
            (false, Ok(_)) => lax += 1,
        }
    }
    println!("openmetrics: {good} good pages, {bad} bad, {lax} bad ones that Prometheus tolerates");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(good > 0 && bad > 0);
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
