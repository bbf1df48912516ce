//! What came out of all questions, counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{answer::Answer, exceptions, generate::Question, subject::When};

/// What came out of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same, digit by digit.
    Same,
    /// The same but for rounding of sums across series.
    Close,
    /// Prometheus gives several answers, ours among them.
    Unstable,
    /// Prometheus gives several answers, ours not among those seen, for it picks by the order of a Go
    /// map.
    Arbitrary,
    /// A known difference.
    Excepted(&'static str),
    /// What differs.
    Different(String),
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The number of the query that showed it.
    pub index: u64,
    /// The query as it was made.
    pub original: String,
    /// The smallest query that shows it.
    pub query: String,
    /// When it is evaluated.
    pub when: When,
    /// What differs.
    pub what: String,
    /// Their answer.
    pub theirs: String,
    /// Our answer.
    pub ours: String,
}

/// How many queries have a function, operator or form, and how many of these found something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Queries.
    pub asked: u64,
    /// Those with a result on Prometheus.
    pub found: u64,
}

/// What came out of all questions. Every question that was asked counts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many.
    pub asked: u64,
    /// Range queries among them.
    pub ranges: u64,
    /// Those with at least one series, or a scalar or text, on Prometheus.
    pub found: u64,
    /// Those with an error on Prometheus.
    pub errors: u64,
    /// Those with warnings or remarks on Prometheus.
    pub annotated: u64,
    /// Those the same but for rounding.
    pub close: u64,
    /// Those with several answers on Prometheus.
    pub unstable: u64,
    /// Those with several answers on Prometheus of which none was ours.
    pub arbitrary: u64,
    /// Those that a fresh Prometheus answers otherwise, like us.
    pub spoiled: u64,
    /// Known differences, by name.
    pub excepted: BTreeMap<&'static str, u64>,
    /// How often functions, operators and forms were asked.
    pub names: BTreeMap<&'static str, Tally>,
    /// The differences, one of each kind.
    pub differences: Vec<Difference>,
    /// All differences.
    pub different: u64,
}

impl Report {
    /// Counts a question and Prometheus' answer.
    pub fn count(&mut self, question: &Question, theirs: &Answer) {
        let found = u64::from(!theirs.series.is_empty());
        self.asked += 1;
        self.ranges += u64::from(matches!(question.when, When::Range { .. }));
        self.found += found;
        self.errors += u64::from(theirs.error.is_some());
        self.annotated += u64::from(!theirs.warnings.is_empty() || !theirs.infos.is_empty());
        let mut names = BTreeSet::new();
        question.node.names(&mut |name| {
            names.insert(name);
        });
        for name in names {
            let tally = self.names.entry(name).or_default();
            tally.asked += 1;
            tally.found += found;
        }
    }

    /// Adds what another counted, but for differences.
    pub fn add(&mut self, other: Self) {
        let sums = [
            (&mut self.asked, other.asked),
            (&mut self.ranges, other.ranges),
            (&mut self.found, other.found),
            (&mut self.errors, other.errors),
            (&mut self.annotated, other.annotated),
            (&mut self.close, other.close),
            (&mut self.unstable, other.unstable),
            (&mut self.arbitrary, other.arbitrary),
            (&mut self.spoiled, other.spoiled),
        ];
        for (sum, n) in sums {
            *sum += n;
        }
        for (name, n) in other.excepted {
            *self.excepted.entry(name).or_default() += n;
        }
        for (name, tally) in other.names {
            let sum = self.names.entry(name).or_default();
            sum.asked += tally.asked;
            sum.found += tally.found;
        }
    }

    /// The share of a number of queries in all, in percent.
    fn percent(&self, n: u64) -> f64 {
        100.0 * n as f64 / self.asked.max(1) as f64
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| text.chars().take(1500).collect::<String>();
        writeln!(f, "--- {} {:?}", self.query, self.when)?;
        writeln!(f, "from {}: {}", self.index, self.original)?;
        writeln!(f, "what: {}", cut(&self.what))?;
        writeln!(f, "theirs: {}", cut(&self.theirs))?;
        writeln!(f, "ours:   {}\n", cut(&self.ours))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            difference.fmt(f)?;
        }
        writeln!(
            f,
            "functions, operators and forms: in how many queries, percent of them with a result"
        )?;
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(_, n)| std::cmp::Reverse(n.asked));
        for line in names.chunks(8) {
            let cell = |(name, n): &(&&str, &Tally)| {
                format!("{name} {} {:.0}%", n.asked, 100.0 * n.found as f64 / n.asked as f64)
            };
            writeln!(f, "  {}", line.iter().map(cell).collect::<Vec<_>>().join(", "))?;
        }
        for (name, n) in &self.excepted {
            let known = exceptions::all().find(|e| e.name == *name);
            let (reason, source) = known.map_or(("", ""), |e| (e.reason, e.source));
            writeln!(f, "excepted {n} times: {name}: {reason} ({source})")?;
        }
        writeln!(
            f,
            "{} queries, {:.1} % of them range queries; on Prometheus {:.1} % with a result, {:.1} % empty, \
             {:.1} % with an error, {:.1} % with annotations",
            self.asked,
            self.percent(self.ranges),
            self.percent(self.found),
            self.percent(self.asked - self.found - self.errors),
            self.percent(self.errors),
            self.percent(self.annotated),
        )?;
        let excepted: u64 = self.excepted.values().sum();
        writeln!(
            f,
            "{excepted} excepted; {} rounded otherwise; {} with several answers of Prometheus, ours among \
             them; {} where it picks any; {} spoiled by earlier queries; {} different ({} kinds)",
            self.close,
            self.unstable,
            self.arbitrary,
            self.spoiled,
            self.different,
            self.differences.len()
        )
    }
}
