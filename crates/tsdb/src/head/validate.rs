//! What histograms and exemplars must be. Rules and texts are Prometheus'
//! (`model/histogram/{histogram,float_histogram,generic}.go`, `tsdb/exemplar.go`).

use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, Span, histogram::CUSTOM_BUCKETS_SCHEMA,
    storage::AppendError,
};

/// Characters that an exemplar's labels may have in all.
const EXEMPLAR_MAX: usize = 128;

fn bad(text: impl Into<String>) -> AppendError {
    AppendError::InvalidHistogram(text.into())
}

/// Checks an exemplar's length.
pub(super) fn exemplar(e: &Exemplar) -> Result<(), AppendError> {
    let chars: usize = e.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
    if chars > EXEMPLAR_MAX {
        let text =
            format!("label length for exemplar exceeds maximum of {EXEMPLAR_MAX} UTF-8 characters");
        return Err(AppendError::InvalidLabels(text));
    }
    Ok(())
}

/// Checks an integer histogram.
pub(super) fn histogram(h: &Histogram) -> Result<(), AppendError> {
    layout(&h.layout, h.positive_deltas.len(), h.negative_deltas.len(), h.zero_count == 0)?;
    let sum = |deltas: &[i64]| {
        let (mut count, mut total) = (0_i64, 0_u64);
        for (i, delta) in deltas.iter().enumerate() {
            count = count.wrapping_add(*delta);
            total = total.wrapping_add(u64::try_from(count).map_err(|_| negative(i, count))?);
        }
        Ok::<_, AppendError>(total)
    };
    let found = sum(&h.negative_deltas)
        .map_err(|e| side("negative", &e))?
        .wrapping_add(sum(&h.positive_deltas).map_err(|e| side("positive", &e))?)
        .wrapping_add(h.zero_count);
    let count = h.count;
    if h.sum.is_nan() {
        if found > count && !firesteel_model::is_stale_nan(h.sum) {
            return Err(bad(format!(
                "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
            )));
        }
    } else if found != count {
        return Err(bad(format!(
            "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
        )));
    }
    Ok(())
}

/// Checks a float histogram.
pub(super) fn float_histogram(h: &FloatHistogram) -> Result<(), AppendError> {
    let zero = h.zero_count == 0.0;
    layout(&h.layout, h.positive_buckets.len(), h.negative_buckets.len(), zero)?;
    if h.zero_count < 0.0 {
        return Err(bad(format!(
            "zero bucket has observation count of {}: histogram has a bucket whose observation count is negative",
            h.zero_count
        )));
    }
    if h.count < 0.0 {
        return Err(bad(format!(
            "observation count is  {}: histogram's observation count is negative",
            h.count
        )));
    }
    for (name, buckets) in [("negative", &h.negative_buckets), ("positive", &h.positive_buckets)] {
        if let Some((i, &count)) = buckets.iter().enumerate().find(|(_, c)| **c < 0.0) {
            return Err(side(name, &negative(i, count)));
        }
    }
    Ok(())
}

fn negative(i: usize, count: impl std::fmt::Display) -> AppendError {
    bad(format!(
        "bucket number {} has observation count of {count}: histogram has a bucket whose observation count is negative",
        i + 1
    ))
}

fn side(name: &str, error: &AppendError) -> AppendError {
    match error {
        AppendError::InvalidHistogram(text) => bad(format!("{name} side: {text}")),
        other => bad(format!("{name} side: {other}")),
    }
}

fn layout(
    layout: &HistogramLayout,
    positive: usize,
    negative: usize,
    no_zeros: bool,
) -> Result<(), AppendError> {
    match layout.schema {
        CUSTOM_BUCKETS_SCHEMA => {
            bounds(layout, positive).map_err(|e| match e {
                AppendError::InvalidHistogram(text) => bad(format!("custom buckets: {text}")),
                other => other,
            })?;
            if !no_zeros {
                return Err(bad("custom buckets: must have zero count of 0"));
            }
            if layout.zero_threshold != 0.0 {
                return Err(bad("custom buckets: must have zero threshold of 0"));
            }
            if !layout.negative_spans.is_empty() {
                return Err(bad("custom buckets: must not have negative spans"));
            }
            if negative > 0 {
                return Err(bad("custom buckets: must not have negative buckets"));
            }
            Ok(())
        }
        -4..=8 => {
            spans(&layout.positive_spans, positive).map_err(|e| side("positive", &e))?;
            spans(&layout.negative_spans, negative).map_err(|e| side("negative", &e))?;
            if !layout.custom_values.is_empty() {
                return Err(bad("histogram with exponential schema must not have custom bounds"));
            }
            Ok(())
        }
        schema => Err(bad(format!(
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {schema}"
        ))),
    }
}

fn spans(spans: &[Span], buckets: usize) -> Result<(), AppendError> {
    for (i, span) in spans.iter().enumerate().skip(1) {
        if span.offset < 0 {
            return Err(negative_offset(i, *span));
        }
    }
    needs(spans, buckets)
}

fn negative_offset(i: usize, span: Span) -> AppendError {
    bad(format!(
        "span number {} with offset {}: histogram has a span whose offset is negative",
        i + 1,
        span.offset
    ))
}

fn needs(spans: &[Span], buckets: usize) -> Result<(), AppendError> {
    let need: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
    if need != buckets as u64 {
        return Err(bad(format!(
            "spans need {need} buckets, have {buckets} buckets: histogram spans specify different number of buckets than provided"
        )));
    }
    Ok(())
}

fn bounds(layout: &HistogramLayout, buckets: usize) -> Result<(), AppendError> {
    let bounds = &layout.custom_values;
    if bounds.iter().any(|b| b.is_nan()) {
        return Err(bad("histogram custom bounds must not be NaN"));
    }
    if let Some(pair) = bounds.windows(2).find(|w| w[1] <= w[0]) {
        return Err(bad(format!(
            "previous bound is {:.6} and current is {:.6}: histogram custom bounds must be in strictly increasing order",
            pair[0], pair[1]
        )));
    }
    if bounds.last() == Some(&f64::INFINITY) {
        return Err(bad(
            "last +Inf bound must not be explicitly defined: histogram custom bounds must be finite",
        ));
    }
    for (i, span) in layout.positive_spans.iter().enumerate() {
        if span.offset < 0 {
            return Err(negative_offset(i, *span));
        }
    }
    needs(&layout.positive_spans, buckets)?;
    let total: i64 =
        layout.positive_spans.iter().map(|s| i64::from(s.length) + i64::from(s.offset)).sum();
    if (bounds.len() as i64 + 1) < total {
        return Err(bad(format!(
            "only {} custom bounds defined which is insufficient to cover total span length of {total}: histogram custom bounds are too few",
            bounds.len()
        )));
    }
    Ok(())
}
