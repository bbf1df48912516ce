//! Calls of functions.

use super::Generator;
use crate::{
    data::Shape,
    tree::{Kind, Node, Part},
};

impl Generator<'_> {
    fn string(text: &str) -> Node {
        Node::leaf(Kind::Text, "string", format!("{text:?}"))
    }

    /// A function of a range vector.
    pub(super) fn range_call(&mut self, depth: usize) -> Node {
        const COUNTERS: [&str; 6] = ["rate", "rate", "increase", "irate", "resets", "rate"];
        const GAUGES: [&str; 5] = ["delta", "idelta", "deriv", "changes", "predict_linear"];
        const ANY: [&str; 19] = [
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "last_over_time",
            "present_over_time",
            "quantile_over_time",
            "mad_over_time",
            "ts_of_min_over_time",
            "ts_of_max_over_time",
            "ts_of_last_over_time",
            "double_exponential_smoothing",
            "avg_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
        ];
        const NATIVE: [&str; 14] = [
            "rate",
            "rate",
            "increase",
            "irate",
            "delta",
            "idelta",
            "resets",
            "changes",
            "sum_over_time",
            "avg_over_time",
            "count_over_time",
            "last_over_time",
            "present_over_time",
            "ts_of_last_over_time",
        ];
        let shape = self.focused().shape;
        let counter = matches!(shape, Shape::Counter | Shape::Buckets | Shape::Native);
        let native = shape == Shape::Native && self.chance(0.85);
        let name = match self.rng.u8(0..10) {
            _ if native => *self.pick(&NATIVE),
            0..4 if counter => *self.pick(&COUNTERS),
            0..3 => *self.pick(&GAUGES),
            4 => *self.pick(&COUNTERS),
            5 => *self.pick(&GAUGES),
            6 if self.chance(0.1) => "absent_over_time",
            _ => *self.pick(&ANY),
        };
        let matrix = self.matrix(depth);
        let arguments = match name {
            "quantile_over_time" => vec![self.quantile(), matrix],
            "predict_linear" => {
                let t = if self.chance(0.2) { self.scalar(1) } else { self.number() };
                vec![matrix, t]
            }
            "double_exponential_smoothing" => {
                let mut factor = || {
                    let text = *self.pick(&["0.1", "0.5", "0.9", "0.3", "0.99"]);
                    Node::leaf(Kind::Scalar, "number", text)
                };
                let (smoothing, trend) = (factor(), factor());
                vec![matrix, smoothing, trend]
            }
            _ => vec![matrix],
        };
        Node::call(Kind::Vector, name, arguments)
    }

    /// A function of an instant vector.
    pub(super) fn simple_call(&mut self, depth: usize) -> Node {
        const MATH: [&str; 24] = [
            "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "deg", "rad",
            "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
            "atanh", "abs",
        ];
        const DATES: [&str; 8] = [
            "minute",
            "hour",
            "day_of_week",
            "day_of_month",
            "day_of_year",
            "days_in_month",
            "month",
            "year",
        ];
        match self.weighted(&[30, 8, 8, 8, 8, 12, 3, 3]) {
            0 => {
                let name = *self.pick(&MATH);
                Node::call(Kind::Vector, name, vec![self.floats(depth)])
            }
            1 => {
                let name = *self.pick(&DATES);
                let arguments =
                    if self.chance(0.2) { Vec::new() } else { vec![self.floats(depth)] };
                Node::call(Kind::Vector, name, arguments)
            }
            2 => Node::call(Kind::Vector, "timestamp", vec![self.vector(depth)]),
            3 => {
                let mut arguments = vec![self.floats(depth)];
                if self.rng.bool() {
                    let to = *self.pick(&["0.5", "10", "0.1", "5", "1e-3", "0", "-2"]);
                    arguments.push(Node::leaf(Kind::Scalar, "number", to));
                }
                Node::call(Kind::Vector, "round", arguments)
            }
            4 => {
                let name = *self.pick(&["clamp", "clamp_min", "clamp_max"]);
                let mut arguments = vec![self.floats(depth), self.near()];
                if name == "clamp" {
                    // Mostly the least before the greatest.
                    let least = *self.pick(&["-Inf", "-1", "0", "0.1", "1"]);
                    let least = Node::leaf(Kind::Scalar, "number", least);
                    let least = if self.chance(0.2) { self.near() } else { least };
                    arguments.insert(1, least);
                }
                Node::call(Kind::Vector, name, arguments)
            }
            5 => self.sorted(depth),
            6 => {
                let some = self.chance(0.3);
                let nothing = Node::leaf(Kind::Vector, "selector", "up{job=\"none\", code=\"5\"}");
                let vector = if some { self.vector(depth) } else { nothing };
                Node::call(Kind::Vector, "absent", vec![vector])
            }
            _ => {
                const CHOICES: [&str; 5] = [
                    "{version=~\".+\"}",
                    "{env=\"prod\"}",
                    "{__name__=\"target_info\", env=~\"p.*|\"}",
                    "{env!=\"dev\"}",
                    "{version=\"1.0\"}",
                ];
                let mut arguments = vec![self.vector(depth)];
                if self.rng.bool() {
                    let text = *self.pick(&CHOICES);
                    // Of a type of its own: it is no vector that could stand elsewhere.
                    arguments.push(Node::leaf(Kind::Text, "info selector", text));
                }
                Node::call(Kind::Vector, "info", arguments)
            }
        }
    }

    /// A vector in which floats are, mostly.
    pub(super) fn floats(&mut self, depth: usize) -> Node {
        const OF_RANGE: [&str; 3] = ["count_over_time", "changes", "resets"];
        if self.focused().shape != Shape::Native || self.chance(0.12) {
            return self.vector(depth);
        }
        let inside = depth.saturating_sub(1);
        match self.rng.u8(0..10) {
            0..2 => {
                let matrix = self.matrix(inside);
                let name: &str = self.pick::<&str>(&OF_RANGE);
                Node::call(Kind::Vector, name, vec![matrix])
            }
            2 => Node::call(Kind::Vector, "timestamp", vec![self.histograms(inside)]),
            _ => self.of_histograms(inside),
        }
    }

    /// A number for each of the histograms in focus.
    fn of_histograms(&mut self, depth: usize) -> Node {
        const OF_VECTOR: [&str; 5] = [
            "histogram_count",
            "histogram_sum",
            "histogram_avg",
            "histogram_stddev",
            "histogram_stdvar",
        ];
        let vector = self.histograms(depth);
        if self.chance(0.3) {
            let quantile = self.quantile();
            return Node::call(Kind::Vector, "histogram_quantile", vec![quantile, vector]);
        }
        let name = *self.pick(&OF_VECTOR);
        Node::call(Kind::Vector, name, vec![vector])
    }

    /// A vector in an order.
    pub(super) fn sorted(&mut self, depth: usize) -> Node {
        const NAMES: [&str; 4] = ["sort", "sort_desc", "sort_by_label", "sort_by_label_desc"];
        let name = *self.pick(&NAMES);
        let by_label = name.contains("label");
        let mut arguments = vec![if by_label { self.vector(depth) } else { self.floats(depth) }];
        if by_label {
            for label in ["instance", "rank", "job", "code", "missing"] {
                if self.chance(0.4) || arguments.len() == 1 {
                    arguments.push(Self::string(label));
                }
            }
        }
        Node::call(Kind::Vector, name, arguments)
    }

    /// A function of histograms, mostly over histograms.
    pub(super) fn histogram_call(&mut self, depth: usize) -> Node {
        let shapes = if self.chance(0.85) {
            &[Shape::Native, Shape::Native][..]
        } else {
            &[Shape::Mixed][..]
        };
        let native = self.family_of(shapes);
        let classic = self.family_of(&[Shape::Buckets]);
        match self.weighted(&[18, 8, 6]) {
            0 => self.refocused(native, |g| g.of_histograms(depth)),
            1 => {
                let vector = self.refocused(classic, |g| g.buckets(depth));
                let quantile = self.quantile();
                Node::call(Kind::Vector, "histogram_quantile", vec![quantile, vector])
            }
            _ => {
                const BOUNDS: [&str; 8] = ["-Inf", "0", "0.1", "0.5", "1", "2", "5", "Inf"];
                let family = if self.chance(0.3) { classic } else { native };
                let vector = self.refocused(family, |g| g.histograms(depth));
                let mut bound = || Node::leaf(Kind::Scalar, "number", *self.pick(&BOUNDS));
                let (lower, upper) = (bound(), bound());
                Node::call(Kind::Vector, "histogram_fraction", vec![lower, upper, vector])
            }
        }
    }

    /// A vector that keeps histograms.
    fn histograms(&mut self, depth: usize) -> Node {
        match self.rng.u8(0..8) {
            0..3 => self.instant_selector(),
            3..5 => {
                let matrix = self.matrix(0);
                const KEEP: [&str; 6] = [
                    "rate",
                    "increase",
                    "sum_over_time",
                    "avg_over_time",
                    "last_over_time",
                    "delta",
                ];
                let name: &str = self.pick::<&str>(&KEEP);
                Node::call(Kind::Vector, name, vec![matrix])
            }
            _ if self.chance(0.5) => self.vector(depth),
            _ => {
                let vector = self.instant_selector();
                let by = *self.pick(&[" by (job) ", " by (path) ", " without (instance) ", ""]);
                let name = *self.pick(&["sum", "avg"]);
                let mut sum = Node::call(Kind::Vector, name, vec![vector]);
                sum.parts[0] = Part::Text(format!("{name}{by}("));
                sum
            }
        }
    }

    /// Buckets of classic histograms, mostly with `le`.
    fn buckets(&mut self, depth: usize) -> Node {
        match self.rng.u8(0..8) {
            0..2 => self.instant_selector(),
            2..4 => {
                let matrix = self.matrix(0);
                let name = *self.pick(&["rate", "increase"]);
                Node::call(Kind::Vector, name, vec![matrix])
            }
            4..7 => {
                let matrix = self.matrix(0);
                let rate = Node::call(Kind::Vector, "rate", vec![matrix]);
                let by = *self.pick(&[" by (le) ", " by (job, le) ", " without (instance) "]);
                let mut sum = Node::call(Kind::Vector, "sum", vec![rate]);
                sum.parts[0] = Part::Text(format!("sum{by}("));
                sum
            }
            _ => self.vector(depth),
        }
    }

    pub(super) fn label_call(&mut self, depth: usize) -> Node {
        let vector = self.vector(depth);
        let destination = *self.pick(&["new", "instance", "job", "code", "__name__"]);
        if self.chance(0.4) {
            let mut arguments = vec![vector, Self::string(destination), Self::string("-")];
            for source in ["job", "instance", "missing"] {
                if self.chance(0.6) {
                    arguments.push(Self::string(source));
                }
            }
            return Node::call(Kind::Vector, "label_join", arguments);
        }
        const RULES: [(&str, &str, &str); 7] = [
            ("$1", "instance", "(.*):.*"),
            ("${1}x", "job", "(a).*"),
            ("", "job", ".*"),
            ("const", "", ""),
            ("$1-$2", "instance", "(.):(..)"),
            ("v", "missing", ""),
            ("$0", "__name__", ".*"),
        ];
        let (replacement, source, regex) = *self.pick(&RULES);
        let texts = [destination, replacement, source, regex].map(Self::string);
        Node::call(Kind::Vector, "label_replace", std::iter::once(vector).chain(texts).collect())
    }
}
