//! Made-up data that the benches and the comparison share: the same every time.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// How the values of a series move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Does not move.
    Constant,
    /// A counter that moves at every fourth sample.
    SlowCounter,
    /// A counter.
    Counter,
    /// A measurement with three decimals.
    Gauge,
}

impl Pattern {
    /// The pattern of series `i`: a quarter constant, half counters, a quarter gauges.
    #[must_use]
    pub const fn of(i: usize) -> Self {
        match i % 4 {
            0 => Self::Constant,
            1 => Self::SlowCounter,
            2 => Self::Counter,
            _ => Self::Gauge,
        }
    }

    /// Its value at sample `n` of series `i`.
    #[must_use]
    pub fn value(self, i: usize, n: u64) -> f64 {
        match self {
            Self::Constant => (i % 1000) as f64,
            Self::SlowCounter => (n / 4) as f64,
            Self::Counter => (n * 25 + mix(i as u64, n) % 25) as f64,
            Self::Gauge => (mix(i as u64, n) % 100_000) as f64 / 1000.0,
        }
    }
}

/// A hash of two numbers (SplitMix64): noise that is the same every time.
#[must_use]
pub const fn mix(a: u64, b: u64) -> u64 {
    let mut z =
        a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The labels of series `i`, seven and the name, as an application in Kubernetes has them; with
/// those of the target they are nine. Series come in families of 100.
#[must_use]
pub fn labels(i: usize) -> Vec<(&'static str, String)> {
    let family = i / 100;
    let kind = if matches!(Pattern::of(family), Pattern::SlowCounter | Pattern::Counter) {
        "_total"
    } else {
        ""
    };
    vec![
        ("__name__", format!("bench_family_{family:04}{kind}")),
        ("cluster", "eu-west-1".to_owned()),
        ("container", format!("app-{}", i % 5)),
        ("method", ["GET", "POST", "PUT", "DELETE"][i % 4].to_owned()),
        ("namespace", format!("team-{}", i % 10)),
        ("pod", format!("app-{}-5d4f8c7b9-{:05}", i % 5, i % 100)),
        ("status", ["200", "404", "500"][i % 3].to_owned()),
    ]
}

/// A page of `series` series as a target shows it at scrape `n`.
#[must_use]
pub fn page(series: usize, n: u64) -> String {
    let mut out = String::with_capacity(series * 190);
    for i in 0..series {
        let pattern = Pattern::of(i / 100);
        let labels = labels(i);
        if i % 100 == 0 {
            let name = &labels[0].1;
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let _ =
                writeln!(out, "# HELP {name} A family of the comparison.\n# TYPE {name} {kind}");
        }
        out.push_str(&labels[0].1);
        for (k, (name, value)) in labels[1..].iter().enumerate() {
            let _ = write!(out, "{}{name}=\"{value}\"", if k == 0 { '{' } else { ',' });
        }
        let _ = writeln!(out, "}} {}", pattern.value(i, n));
    }
    out
}
