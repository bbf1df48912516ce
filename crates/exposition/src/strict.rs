//! OpenMetrics 1.0 as its specification has it, for validation: [`check_openmetrics`].
//!
//! The scanner that Prometheus' rules need looks at lines; this looks at what they make: families
//! that stand together, their metadata before their samples, the samples that a type must and must
//! not have, histograms that add up, exemplars where they may be. What the specification leaves to
//! taste (canonical numbers, reserved prefixes) is not objected to.

use std::collections::HashSet;

use firesteel_model::{MetricType, Timestamp, float::write_g};

use crate::{Entry, Error, Format, Parser, Series, number};

/// What a page has that passed [`check_openmetrics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Metric families.
    pub families: usize,
    /// Samples.
    pub samples: usize,
}

/// Checks a page by the whole specification of OpenMetrics 1.0 (quoted names are taken, too).
/// Linear in the page's length.
///
/// # Errors
/// The first rule that the page breaks, with its line and column.
pub fn check_openmetrics(page: &[u8]) -> Result<Checked, Error> {
    let mut check = Check { page, ..Check::default() };
    let mut parser = Parser::new(Format::OpenMetrics, page);
    loop {
        let at = parser.at;
        match parser.next_entry()? {
            None => break,
            Some(Entry::Series(series)) => check.sample(at, &series)?,
            Some(Entry::Type { family, kind }) => check.metadata(at, &family, Said::Type(kind))?,
            Some(Entry::Help { family, .. }) => check.metadata(at, &family, Said::Help)?,
            Some(Entry::Unit { family, unit }) => {
                check.metadata(at, &family, Said::Unit(!unit.is_empty()))?;
            }
            Some(_) => {}
        }
    }
    check.end_family()?;
    Ok(check.checked)
}

/// What a metadata line says.
#[derive(Clone, Copy)]
enum Said {
    Type(MetricType),
    Help,
    Unit(bool),
}

/// The suffixes that the samples of a type have; the bare name among them where it is one.
const fn suffixes(kind: MetricType) -> &'static [&'static str] {
    match kind {
        MetricType::Counter => &["_total", "_created"],
        MetricType::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["", "_count", "_sum", "_created"],
        MetricType::Info => &["_info"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
    }
}

type Label = (String, String);

/// A family that is being read.
#[derive(Default)]
struct Family {
    /// Where it begins.
    at: usize,
    name: String,
    kind: Option<MetricType>,
    has_help: bool,
    /// Whether it has a unit, and whether that is not empty.
    unit: Option<bool>,
    has_samples: bool,
    /// The metric that is being read, and those that have been.
    group: Option<Group>,
    ended: HashSet<Vec<Label>>,
}

/// A metric: samples with the same labels, apart from those that its type adds.
struct Group {
    at: usize,
    labels: Vec<Label>,
    timestamp: Option<Timestamp>,
    /// The series seen at this timestamp.
    seen: HashSet<(String, String)>,
    has_total: bool,
    histogram: Buckets,
}

/// A histogram at one timestamp.
#[derive(Default)]
struct Buckets {
    /// Bound and value of the last bucket.
    last: Option<(f64, f64)>,
    negative_bounds: bool,
    count: Option<f64>,
    sum: Option<f64>,
}

#[derive(Default)]
struct Check<'a> {
    page: &'a [u8],
    family: Option<Family>,
    /// All names that families have taken.
    taken: HashSet<String>,
    checked: Checked,
}

impl Check<'_> {
    fn wrong(&self, at: usize, message: impl Into<String>) -> Error {
        Error::at(self.page, at, message.into())
    }

    fn metadata(&mut self, at: usize, name: &str, said: Said) -> Result<(), Error> {
        if self.family.as_ref().is_none_or(|f| f.name != name) {
            self.begin_family(at, name)?;
        }
        let page = self.page;
        let Some(family) = &mut self.family else { return Ok(()) };
        let wrong = |what: String| Err(Error::at(page, at, what));
        if family.has_samples {
            return wrong(format!(
                "metadata of {name} behind its samples, expected it before them"
            ));
        }
        let (what, repeated) = match said {
            Said::Type(kind) => ("TYPE", family.kind.replace(kind).is_some()),
            Said::Help => ("HELP", std::mem::replace(&mut family.has_help, true)),
            Said::Unit(some) => ("UNIT", family.unit.replace(some).is_some()),
        };
        if repeated {
            return wrong(format!("a second # {what} of {name}, expected one"));
        }
        let without_unit = matches!(family.kind, Some(MetricType::Info | MetricType::StateSet));
        if without_unit && family.unit == Some(true) {
            return wrong(format!("a unit for {name}, expected none for info and stateset"));
        }
        Ok(())
    }

    fn begin_family(&mut self, at: usize, name: &str) -> Result<(), Error> {
        self.end_family()?;
        self.family = Some(Family { at, name: name.to_owned(), ..Family::default() });
        Ok(())
    }

    /// Ends the family: its last metric must be whole and its names not taken by another.
    fn end_family(&mut self) -> Result<(), Error> {
        let Some(mut family) = self.family.take() else { return Ok(()) };
        self.end_group(&mut family)?;
        self.checked.families += 1;
        let kind = family.kind.unwrap_or_default();
        let bare = (!suffixes(kind).contains(&"")).then_some("");
        for suffix in suffixes(kind).iter().copied().chain(bare) {
            let name = format!("{}{suffix}", family.name);
            if self.taken.contains(&name) {
                let message = format!(
                    "{name} belongs to an earlier metric family, expected families to stand together and their names to differ"
                );
                return Err(self.wrong(family.at, message));
            }
            self.taken.insert(name);
        }
        Ok(())
    }

    fn sample(&mut self, at: usize, series: &Series<'_, '_>) -> Result<(), Error> {
        self.checked.samples += 1;
        self.no_trailing_commas(series)?;
        let name = series.metric_name();
        let ours = |f: &Family| {
            let suffix = name.strip_prefix(&*f.name)?;
            let kind = f.kind.unwrap_or_default();
            suffixes(kind).iter().copied().find(|s| *s == suffix)
        };
        let mut suffix = self.family.as_ref().and_then(ours);
        if suffix.is_none() {
            // A family of its own, of which nothing is said.
            self.begin_family(at, &name)?;
            suffix = Some("");
        }
        let (Some(mut family), Some(suffix)) = (self.family.take(), suffix) else { return Ok(()) };
        family.has_samples = true;
        let result = self.sample_of(at, &mut family, suffix, series);
        self.family = Some(family);
        result
    }

    /// The specification's label lists end without a comma.
    fn no_trailing_commas(&self, series: &Series<'_, '_>) -> Result<(), Error> {
        let exemplar = series.exemplar().map(|e| e.labels).unwrap_or_default();
        let lasts = [series.line.labels.last(), exemplar.last()];
        for label in lasts.into_iter().flatten() {
            let start = self.page.as_ptr() as usize;
            let end = (label.value.as_ptr() as usize).wrapping_sub(start) + label.value.len() + 1;
            if self.page.get(end) == Some(&b',') && self.page.get(end + 1) == Some(&b'}') {
                return Err(self.wrong(end, "a comma behind the last label, expected }"));
            }
        }
        Ok(())
    }

    fn sample_of(
        &self,
        at: usize,
        family: &mut Family,
        suffix: &'static str,
        series: &Series<'_, '_>,
    ) -> Result<(), Error> {
        let kind = family.kind.unwrap_or_default();
        let mut labels: Vec<Label> =
            series.labels().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        labels.sort();
        if let Some([a, _]) = labels.windows(2).find(|w| matches!(w, [a, b] if a.0 == b.0)) {
            return Err(self.wrong(at, format!("label {} twice, expected it once", a.0)));
        }
        let identity = (suffix.to_owned(), format!("{labels:?}"));
        let own = match (kind, suffix) {
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => Some("le"),
            (MetricType::Summary, "") => Some("quantile"),
            (MetricType::StateSet, _) => Some(&*family.name),
            _ => None,
        };
        let mut bound = None;
        if let Some(own) = own {
            let place = labels.iter().position(|(name, _)| name == own);
            let Some(place) = place else {
                return Err(self.wrong(at, format!("no label {own}, expected one on this sample")));
            };
            let (name, value) = labels.remove(place);
            if kind != MetricType::StateSet {
                bound = number::float(value.as_bytes()).ok().filter(|b| !b.is_nan());
                let quantile = |q: f64| kind != MetricType::Summary || (0.0..=1.0).contains(&q);
                if !bound.is_some_and(quantile) {
                    let what = format!(
                        "{name} is {value}, expected {}",
                        match kind {
                            MetricType::Summary => "a number from 0 to 1",
                            _ => "a number",
                        }
                    );
                    return Err(self.wrong(at, what));
                }
            }
        }
        self.value(at, kind, suffix, series)?;
        self.exemplar(at, kind, suffix, series)?;
        if kind == MetricType::Info {
            // The labels are what an info metric says; they do not tell metrics apart.
            labels.clear();
        }
        self.enter_group(at, family, labels, series.timestamp)?;
        let Some(group) = &mut family.group else { return Ok(()) };
        let repeated = !group.seen.insert(identity);
        if repeated && series.timestamp.is_none() {
            return Err(self.wrong(at, "the same sample again, expected it once"));
        }
        group.has_total |= suffix == "_total";
        if matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram) && !repeated {
            let added = group.histogram.add(suffix, bound, series.value);
            added.map_err(|what| self.wrong(at, what))?;
        }
        Ok(())
    }

    /// Values that a type does not have.
    fn value(
        &self,
        at: usize,
        kind: MetricType,
        suffix: &str,
        series: &Series<'_, '_>,
    ) -> Result<(), Error> {
        let v = series.value;
        let counts = matches!(suffix, "_total" | "_sum" | "_count" | "_bucket" | "_gcount");
        let whole = matches!(suffix, "_count" | "_bucket" | "_gcount");
        let expected = if kind == MetricType::StateSet && v != 0.0 && v != 1.0 {
            "0 or 1"
        } else if kind == MetricType::Info && v != 1.0 {
            "1"
        } else if kind == MetricType::Summary && suffix.is_empty() && v < 0.0 {
            "a value that is not negative"
        } else if (counts || suffix == "_gsum") && v.is_nan() {
            "a number"
        } else if counts && v < 0.0 {
            "a count that is not negative"
        } else if whole && v.fract() != 0.0 {
            "a whole number"
        } else {
            return Ok(());
        };
        let mut text = String::new();
        write_g(&mut text, v);
        Err(self
            .wrong(at + series.raw.len() + 1, format!("the value is {text}, expected {expected}")))
    }

    fn exemplar(
        &self,
        at: usize,
        kind: MetricType,
        suffix: &str,
        series: &Series<'_, '_>,
    ) -> Result<(), Error> {
        let Some(exemplar) = series.exemplar() else { return Ok(()) };
        let rest = self.page.get(at + series.raw.len()..).unwrap_or_default();
        let at = at + series.raw.len() + memchr::memchr(b'#', rest).unwrap_or(0);
        if !matches!(
            (kind, suffix),
            (MetricType::Counter, "_total")
                | (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket")
        ) {
            let what = "an exemplar here, expected it on totals of counters and on buckets alone";
            return Err(self.wrong(at, what));
        }
        let labels = exemplar.to_exemplar().labels;
        if labels.len() != exemplar.labels.len()
            && exemplar.labels.iter().all(|l| !l.value.is_empty())
        {
            return Err(self.wrong(at, "a label of the exemplar twice, expected it once"));
        }
        let chars = |label: &crate::entry::RawLabel<'_>| {
            let value = crate::entry::unescape(label.value, label.value_escaped);
            label.name.chars().count() + value.chars().count()
        };
        let total: usize = exemplar.labels.iter().map(chars).sum();
        if total > 128 {
            let what = format!("{total} characters in the exemplar's labels, expected at most 128");
            return Err(self.wrong(at, what));
        }
        Ok(())
    }

    /// Makes the metric with these labels the current one.
    fn enter_group(
        &self,
        at: usize,
        family: &mut Family,
        labels: Vec<Label>,
        timestamp: Option<Timestamp>,
    ) -> Result<(), Error> {
        if family.group.as_ref().is_none_or(|g| g.labels != labels) {
            self.end_group(family)?;
            if family.ended.contains(&labels) {
                let what = "a metric that has been before, expected its samples to stand together";
                return Err(self.wrong(at, what));
            }
            family.group = Some(Group {
                at,
                labels,
                timestamp,
                seen: HashSet::new(),
                has_total: false,
                histogram: Buckets::default(),
            });
            return Ok(());
        }
        let is_info = family.kind == Some(MetricType::Info);
        let Some(group) = &mut family.group else { return Ok(()) };
        if group.timestamp.is_some() != timestamp.is_some() {
            let what = "samples of a metric with and without timestamps, expected one or the other";
            return Err(self.wrong(at, what));
        }
        if timestamp < group.timestamp && !is_info {
            let what = "a timestamp before that of the line above, expected them to go up";
            return Err(self.wrong(at, what));
        }
        if timestamp != group.timestamp {
            let finished = group.histogram.finish(family.kind);
            finished.map_err(|what| self.wrong(group.at, what))?;
            (group.timestamp, group.histogram) = (timestamp, Buckets::default());
            group.seen.clear();
        }
        Ok(())
    }

    /// Ends the current metric: it must be whole.
    fn end_group(&self, family: &mut Family) -> Result<(), Error> {
        let Some(group) = family.group.take() else { return Ok(()) };
        let finished = group.histogram.finish(family.kind);
        finished.map_err(|what| self.wrong(group.at, what))?;
        if family.kind == Some(MetricType::Counter) && !group.has_total {
            let what = format!("a counter without a value, expected {}_total", family.name);
            return Err(self.wrong(group.at, what));
        }
        family.ended.insert(group.labels);
        Ok(())
    }
}

impl Buckets {
    fn add(&mut self, suffix: &str, bound: Option<f64>, v: f64) -> Result<(), String> {
        match (suffix, bound) {
            ("_bucket", Some(bound)) => {
                self.negative_bounds |= bound < 0.0;
                if let Some((last, count)) = self.last {
                    if bound <= last {
                        return Err("buckets out of order, expected le to go up".to_owned());
                    }
                    if v < count {
                        return Err("fewer observations than in the bucket before, expected cumulative counts".to_owned());
                    }
                }
                self.last = Some((bound, v));
            }
            ("_count" | "_gcount", _) => self.count = Some(v),
            ("_sum" | "_gsum", _) => self.sum = Some(v),
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, kind: Option<MetricType>) -> Result<(), String> {
        let (count, sum) = match kind {
            Some(MetricType::Histogram) => ("_count", "_sum"),
            Some(MetricType::GaugeHistogram) => ("_gcount", "_gsum"),
            _ => return Ok(()),
        };
        let Some((f64::INFINITY, total)) = self.last else {
            return Err(
                "a histogram without its last bucket, expected one with le=\"+Inf\"".to_owned()
            );
        };
        match (self.count, self.sum) {
            (Some(n), _) if n != total => Err(format!(
                "{count} differs from the last bucket, expected all observations in both"
            )),
            (Some(_), None) => Err(format!("{count} without {sum}, expected both or none")),
            (None, Some(_)) => Err(format!("{sum} without {count}, expected both or none")),
            (_, Some(_)) if self.negative_bounds && sum == "_sum" => {
                Err("_sum of a histogram with negative bounds, expected none".to_owned())
            }
            (_, Some(v)) if v < 0.0 && !self.negative_bounds => {
                Err(format!("{sum} is negative, expected negative bounds, too"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(page: &str) -> (usize, usize, String) {
        let e = check_openmetrics(page.as_bytes()).unwrap_err();
        let place = e.syntax().unwrap();
        (place.line, place.column, place.message.clone())
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        for (page, line, column, text) in [
            (
                "# TYPE a counter\na_total -1\n# EOF\n",
                2,
                9,
                "the value is -1, expected a count that is not negative",
            ),
            ("a{b=\"c\",} 1\n# EOF\n", 1, 8, "a comma behind the last label, expected }"),
            (
                "# TYPE a gauge\na 1\nb 1\na{x=\"y\"} 2\n# EOF\n",
                4,
                1,
                "a belongs to an earlier metric family, expected families to stand together and their names to differ",
            ),
            (
                "# TYPE a histogram\na_bucket{le=\"1\"} 1\n# EOF\n",
                2,
                1,
                "a histogram without its last bucket, expected one with le=\"+Inf\"",
            ),
            (
                "# TYPE a gauge\na 1 # {b=\"c\"} 1\n# EOF\n",
                2,
                5,
                "an exemplar here, expected it on totals of counters and on buckets alone",
            ),
            (
                "# TYPE a counter\na_created 1\n# EOF\n",
                2,
                1,
                "a counter without a value, expected a_total",
            ),
            ("a 1\na 1\n# EOF\n", 2, 1, "the same sample again, expected it once"),
            ("a{b=\"c\",b=\"d\"} 1\n# EOF\n", 1, 1, "label b twice, expected it once"),
        ] {
            assert_eq!(wrong(page), (line, column, text.to_owned()), "{page}");
        }
        let page = include_bytes!("../testdata/everything.om");
        let checked = check_openmetrics(page).unwrap();
        assert_eq!(checked.samples, 18);
    }
}
