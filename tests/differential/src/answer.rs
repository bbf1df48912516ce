//! An answer, taken apart.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;

/// A value at a time, as it was written: a single text for a float, the fields for a histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The time.
    pub t: String,
    /// The value's texts: one for a float, else count, sum, and four for each bucket.
    pub values: Vec<String>,
}

/// A series of a result. Scalars and strings are a series without labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its labels, as JSON, sorted by name.
    pub labels: String,
    /// Its floats.
    pub floats: Vec<Point>,
    /// Its histograms.
    pub histograms: Vec<Point>,
}

/// An answer of `/api/v1/query` or `/api/v1/query_range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Type and text of the error.
    pub error: Option<(String, String)>,
    /// `vector`, `matrix`, `scalar`, `string`
    pub kind: String,
    /// The result, in its order.
    pub series: Vec<Series>,
    /// Warnings, sorted.
    pub warnings: Vec<String>,
    /// Remarks, sorted.
    pub infos: Vec<String>,
}

impl Answer {
    /// Takes an answer apart.
    ///
    /// # Errors
    /// It is not an answer.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let body: Value = serde_json::from_slice(body)?;
        let texts = |name: &str| {
            let list = body[name].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut texts: Vec<_> = list.iter().map(text).collect();
            texts.sort();
            texts
        };
        let mut answer =
            Self { warnings: texts("warnings"), infos: texts("infos"), ..Self::default() };
        if body["status"] != "success" {
            answer.error = Some((text(&body["errorType"]), text(&body["error"])));
            return Ok(answer);
        }
        let data = &body["data"];
        answer.kind = text(&data["resultType"]);
        let result = &data["result"];
        match &*answer.kind {
            "vector" | "matrix" => {
                let list = result.as_array().ok_or("a result that is no list")?;
                answer.series = list.iter().map(series).collect();
            }
            _ => {
                let floats = vec![point(result)];
                answer.series =
                    vec![Series { labels: String::new(), floats, histograms: Vec::new() }];
            }
        }
        Ok(answer)
    }

    /// Takes the names of metrics out of the labels.
    pub(crate) fn remove_names(&mut self) {
        for series in &mut self.series {
            // Sorted: what `Map::remove` does to the order depends on serde_json's features.
            if let Ok(mut labels) = serde_json::from_str::<BTreeMap<String, Value>>(&series.labels)
            {
                labels.remove("__name__");
                let labels = labels.into_iter().collect();
                series.labels = Value::Object(labels).to_string();
            }
        }
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// The least float, 0 if there is none.
    #[must_use]
    pub fn least(&self) -> f64 {
        let texts = self.series.iter().flat_map(|s| &s.floats).flat_map(|p| &p.values);
        texts.filter_map(|text| text.parse().ok()).reduce(f64::min).unwrap_or_default()
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn series(value: &Value) -> Series {
    let points = |one: &str, many: &str| {
        let list = value[many].as_array().map(Vec::as_slice).unwrap_or_default();
        value.get(one).into_iter().chain(list).map(point).collect()
    };
    Series {
        labels: value["metric"].to_string(),
        floats: points("value", "values"),
        histograms: points("histogram", "histograms"),
    }
}

fn point(value: &Value) -> Point {
    let v = &value[1];
    let values = if v.is_object() {
        let buckets = v["buckets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let buckets = buckets.iter().filter_map(Value::as_array).flatten();
        [&v["count"], &v["sum"]].into_iter().chain(buckets).map(text).collect()
    } else {
        vec![text(v)]
    };
    Point { t: value[0].to_string(), values }
}
