//! The hints about counter resets that Prometheus' storage gives to histograms. Source: Prometheus
//! `tsdb/chunkenc/float_histogram.go`.

use firesteel_model::{CounterResetHint, FloatHistogram, is_stale_nan};

use super::backend::Loaded;
use crate::{histogram::detect_reset, value::SampleValue};

/// Makes the hints of histograms what they are when they are read from Prometheus' storage: within
/// a chunk they say that no reset happened, at its beginning nothing, even where it was begun
/// because of a reset. For storages that keep hints as they are loaded; the scripts expect them
/// like this.
pub fn give_hints(series: &mut [Loaded]) {
    for one in series {
        let mut previous: Option<FloatHistogram> = None;
        for sample in &mut one.samples {
            let SampleValue::Histogram(h) = &mut sample.value else {
                previous = None;
                continue;
            };
            h.counter_reset_hint = hint(h, previous.as_ref());
            previous = Some((**h).clone());
        }
    }
}

fn hint(h: &FloatHistogram, previous: Option<&FloatHistogram>) -> CounterResetHint {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    match h.counter_reset_hint {
        Gauge => return Gauge,
        Reset => return Unknown,
        NotReset | Unknown => {}
    }
    let Some(previous) = previous.filter(|p| p.counter_reset_hint != Gauge) else {
        return Unknown;
    };
    if is_stale_nan(h.sum) {
        return NotReset;
    }
    if is_stale_nan(previous.sum) {
        return Unknown;
    }
    let (a, b) = (&h.layout, &previous.layout);
    if a.schema != b.schema || a.zero_threshold != b.zero_threshold {
        return Unknown;
    }
    let undecided =
        |h: &FloatHistogram| FloatHistogram { counter_reset_hint: Unknown, ..h.clone() };
    if detect_reset(&undecided(h), &undecided(previous)) { Unknown } else { NotReset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promqltest::{Command, Script};

    #[test]
    fn hints_are_those_of_chunks() {
        let script = "load 1m
            m {{count:1}} {{count:2}} {{count:1}} {{count:1}} 5 {{count:9}} \
              {{count:9 counter_reset_hint:gauge}} {{count:9}} {{count:9 schema:1}} {{count:10 \
              schema:1 counter_reset_hint:reset}}";
        let script = Script::parse(script).unwrap();
        let Command::Load(load) = &script.commands[0] else { panic!() };
        let mut series = load.series.clone();
        give_hints(&mut series);
        let hints: Vec<_> = series[0]
            .samples
            .iter()
            .filter_map(|s| match &s.value {
                SampleValue::Histogram(h) => Some(h.counter_reset_hint),
                SampleValue::Float(_) => None,
            })
            .collect();
        use CounterResetHint::{Gauge, NotReset, Unknown};
        let expected =
            [Unknown, NotReset, Unknown, NotReset, Unknown, Gauge, Unknown, Unknown, Unknown];
        assert_eq!(hints, expected);
    }
}
