//! Prints the plan of a query with what each part took.

use std::fmt::Write as _;

use serde_json::Value;

/// The longest part of a query's text that is shown.
const MAX_TEXT: usize = 60;

/// The plan as a tree, then the totals.
pub(super) fn lines(data: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:>10} {:>8} {:>10} {:>8} {:>9}  plan",
        "time", "series", "samples", "chunks", "bytes"
    );
    for node in data["plan"].as_array().into_iter().flatten() {
        let depth = node["depth"].as_u64().unwrap_or(0).min(200) as usize;
        let figures = &node["figures"];
        let selected = node["selectedSeries"].as_u64();
        let cells = if figures.is_null() {
            let what = if node["shared"] == true { "above" } else { "fused" };
            let series = selected.map_or_else(String::new, |n| n.to_string());
            format!("{what:>10} {series:>8} {:>10} {:>8} {:>9}", "", "", "")
        } else {
            let n = |key: &str| figures[key].as_u64().unwrap_or(0);
            format!(
                "{:>10} {:>8} {:>10} {:>8} {:>9}",
                duration(figures["time"].as_f64().unwrap_or(0.0)),
                selected.unwrap_or_else(|| n("series")),
                n("samplesRead"),
                n("chunks"),
                n("chunkBytes"),
            )
        };
        let operation = node["operation"].as_str().unwrap_or_default();
        let text = shortened(node["text"].as_str().unwrap_or_default());
        let _ = writeln!(out, "{cells}  {}{operation}  {text}", "  ".repeat(depth));
    }
    let timing = |key: &str| duration(data["stats"]["timings"][key].as_f64().unwrap_or(0.0));
    let _ = write!(
        out,
        "total {} (waited {}, selected series in {}, evaluated in {}, made the result in {}); \
         {} series of type {}; at most {} samples and {} bytes held",
        timing("execTotalTime"),
        timing("execQueueTime"),
        timing("queryPreparationTime"),
        timing("innerEvalTime"),
        timing("resultSortTime"),
        data["resultSeries"],
        data["resultType"].as_str().unwrap_or_default(),
        data["stats"]["samples"]["peakSamples"],
        data["peakBytes"],
    );
    out
}

fn shortened(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= MAX_TEXT {
        return one_line;
    }
    one_line.chars().take(MAX_TEXT - 3).chain("...".chars()).collect()
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1}us", s * 1e6),
        s if s < 1.0 => format!("{:.2}ms", s * 1e3),
        s => format!("{s:.2}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plans_are_trees_with_figures() {
        let data = json!({
            "plan": [
                {"depth": 0, "operation": "sum", "text": "sum(rate(m[5m]))", "figures":
                    {"time": 0.0021, "series": 1, "samplesRead": 40, "chunks": 2, "chunkBytes": 99}},
                {"depth": 1, "operation": "rate", "text": "rate(m[5m])", "fused": true},
                {"depth": 2, "operation": "range selector", "text": "m[5m]", "fused": true,
                    "selectedSeries": 7},
            ],
            "resultType": "vector", "resultSeries": 1, "peakBytes": 10,
            "stats": {"timings": {}, "samples": {"peakSamples": 3}},
        });
        let text = lines(&data);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("2.10ms") && lines[1].ends_with("sum  sum(rate(m[5m]))"));
        assert!(lines[3].contains(" 7 ") && lines[3].ends_with("    range selector  m[5m]"));
    }
}
