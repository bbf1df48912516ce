//! Random queries of the right types, most of which find something.

mod binary;
mod functions;
mod selectors;

use crate::{
    data::{Dataset, END, Family, START, Shape},
    subject::When,
    tree::{Kind, Node, Part},
};

/// A query and when it is evaluated.
#[derive(Clone, Debug)]
pub struct Question {
    /// The query.
    pub node: Node,
    /// The times.
    pub when: When,
}

/// Makes queries over a set of data. The same seed makes the same queries.
#[derive(Debug)]
pub struct Generator<'a> {
    rng: fastrand::Rng,
    data: &'a Dataset,
    /// The family that most selectors of the query in hand pick, so that operands match.
    focus: usize,
}

impl<'a> Generator<'a> {
    /// A generator of queries over `data`.
    #[must_use]
    pub fn new(data: &'a Dataset, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), data, focus: 0 }
    }

    /// The next query.
    pub fn question(&mut self) -> Question {
        self.focus = self.pick_family();
        let depth = self.weighted(&[1, 3, 4, 3]);
        let instant = self.rng.f64() < 0.42;
        let node = match self.rng.u8(0..100) {
            0 if instant => self.text(),
            1..4 if instant => self.matrix(depth),
            4..7 => self.scalar(depth + 1),
            7..9 => self.damaged(depth),
            9..50 if self.focused().name == "crowd" => self.sorted(depth),
            _ => self.vector(depth + 1),
        };
        Question { node, when: if instant { self.instant() } else { self.range() } }
    }

    fn instant(&mut self) -> When {
        When::Instant(self.time())
    }

    /// A time within the data, after its first minutes.
    fn time(&mut self) -> i64 {
        let t = self.rng.i64(START + 600_000..END + 60_000);
        match self.rng.u8(0..4) {
            0 => t,
            1 => t - t % 60_000,
            _ => t - t % 1000,
        }
    }

    fn range(&mut self) -> When {
        const STEPS: [i64; 9] = [15_000, 30_000, 60_000, 60_000, 17_000, 300_000, 1000, 45_500, 7];
        let start = self.time();
        let step = STEPS[self.rng.usize(0..STEPS.len())];
        let steps = match self.rng.u8(0..10) {
            0 => 0,
            1 => self.rng.i64(60..130),
            _ => self.rng.i64(2..25),
        };
        let end = (start + steps * step + self.rng.i64(0..step)).min(END + 400_000).max(start);
        When::Range { start, end, step }
    }

    /// An index, by weight.
    fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut at = self.rng.u32(0..weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            if at < *weight {
                return i;
            }
            at -= weight;
        }
        0
    }

    fn chance(&mut self, p: f64) -> bool {
        self.rng.f64() < p
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.rng.usize(0..from.len())]
    }

    fn pick_family(&mut self) -> usize {
        let weights: Vec<u32> = self.data.families.iter().map(|f| f.weight).collect();
        self.weighted(&weights)
    }

    fn focused(&self) -> &'a Family {
        &self.data.families[self.focus]
    }

    /// Runs `f` with another family in focus.
    fn refocused<T>(&mut self, focus: usize, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.focus, focus);
        let result = f(self);
        self.focus = before;
        result
    }

    /// The index of a family of one of these shapes.
    fn family_of(&mut self, shapes: &[Shape]) -> usize {
        if !self.data.families.iter().any(|f| shapes.contains(&f.shape)) {
            return self.focus;
        }
        loop {
            let index = self.pick_family();
            if shapes.contains(&self.data.families[index].shape) {
                return index;
            }
        }
    }

    fn number(&mut self) -> Node {
        const NUMBERS: [&str; 24] = [
            "0", "1", "2", "3", "0.5", "10", "100", "1e3", "-1", "0.1", "60", "5m", "1h30m",
            "0x1F", "1_000", "Inf", "-Inf", "NaN", "1e-7", "1.5", "300", "4.2", ".5", "1e308",
        ];
        let text = *self.pick(&NUMBERS);
        Node::leaf(Kind::Scalar, "number", text)
    }

    /// A quantile: mostly within 0 and 1.
    fn quantile(&mut self) -> Node {
        const QUANTILES: [&str; 12] =
            ["0", "0.1", "0.25", "0.5", "0.75", "0.9", "0.99", "1", "-0.1", "1.1", "NaN", "0.333"];
        Node::leaf(Kind::Scalar, "number", *self.pick(&QUANTILES))
    }

    /// A number that occurs among the values in focus.
    fn near(&mut self) -> Node {
        let family = self.focused();
        let series = self.pick(&family.series);
        let (_, value) = self.pick(&series.samples);
        match value {
            crate::data::Value::Float(v) if v.is_finite() && v.abs() < 1e12 => {
                Node::leaf(Kind::Scalar, "number", format!("{v}"))
            }
            _ => self.number(),
        }
    }

    fn scalar(&mut self, depth: usize) -> Node {
        if depth == 0 {
            return self.number();
        }
        match self.weighted(&[8, 3, 2, 4, 1, 4, 1]) {
            0 => self.number(),
            1 => Node::call(Kind::Scalar, "time", Vec::new()),
            2 => Node::call(Kind::Scalar, "pi", Vec::new()),
            3 => {
                let vector = self.vector(depth - 1);
                Node::call(Kind::Scalar, "scalar", vec![vector])
            }
            4 => {
                let inner = self.scalar(depth - 1);
                self.unary(inner)
            }
            5 => self.scalars(depth - 1),
            _ => {
                let inner = self.scalar(depth - 1);
                self.parenthesized(inner)
            }
        }
    }

    fn text(&mut self) -> Node {
        const TEXTS: [&str; 5] = ["\"a text\"", "'x\\n\\u00fc'", "`raw\\n`", "\"\"", "(\"p\")"];
        Node::leaf(Kind::Text, "string", *self.pick(&TEXTS))
    }

    fn unary(&mut self, inner: Node) -> Node {
        let sign = *self.pick(&["-", "-", "-", "+"]);
        let (kind, parts) = (inner.kind, vec![Part::Text(sign.to_owned()), Part::Child(inner)]);
        Node { kind, name: "unary", parts }
    }

    fn parenthesized(&mut self, inner: Node) -> Node {
        let kind = inner.kind;
        let parts =
            vec![Part::Text("(".to_owned()), Part::Child(inner), Part::Text(")".to_owned())];
        Node { kind, name: "parentheses", parts }
    }

    fn vector(&mut self, depth: usize) -> Node {
        if depth == 0 {
            return match self.weighted(&[30, 14, 1]) {
                0 => self.instant_selector(),
                1 => self.range_call(0),
                _ => {
                    let scalar = self.scalar(0);
                    Node::call(Kind::Vector, "vector", vec![scalar])
                }
            };
        }
        match self.weighted(&[8, 22, 24, 16, 10, 12, 7, 3, 2, 2, 1]) {
            0 => self.instant_selector(),
            1 => self.range_call(depth - 1),
            2 => self.aggregation(depth - 1),
            3 => self.vectors(depth - 1),
            4 => self.vector_and_scalar(depth - 1),
            5 => self.simple_call(depth - 1),
            6 => self.histogram_call(depth - 1),
            7 => self.label_call(depth - 1),
            8 => {
                let inner = self.vector(depth - 1);
                let inner = self.parenthesized(inner);
                self.unary(inner)
            }
            9 => {
                let inner = self.vector(depth - 1);
                self.parenthesized(inner)
            }
            _ => {
                let scalar = self.scalar(depth - 1);
                Node::call(Kind::Vector, "vector", vec![scalar])
            }
        }
    }

    /// Labels to group or match by: those of the family in focus and others.
    fn label_list(&mut self) -> String {
        let labels = &self.focused().series[0].labels;
        let mut names: Vec<String> = labels.iter().map(|(n, _)| quoted_name(n)).collect();
        names.retain(|_| self.rng.u8(0..5) < 2);
        if self.chance(0.05) {
            names.push("missing".to_owned());
        }
        names.join(", ")
    }

    fn aggregation(&mut self, depth: usize) -> Node {
        const PLAIN: [&str; 9] =
            ["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "sum"];
        let parameter = match self.weighted(&[60, 12, 7, 5, 5, 4]) {
            0 => None,
            1 => {
                const COUNTS: [&str; 12] =
                    ["1", "1", "2", "2", "3", "3", "5", "5", "0", "-1", "2.7", "100"];
                let k = Node::leaf(Kind::Scalar, "number", *self.pick(&COUNTS));
                let k = if self.chance(0.06) { self.scalar(1) } else { k };
                Some((if self.rng.bool() { "topk" } else { "bottomk" }, k))
            }
            2 => {
                let q = if self.chance(0.1) { self.scalar(1) } else { self.quantile() };
                Some(("quantile", q))
            }
            3 => {
                let label = *self.pick(&["\"v\"", "\"job\"", "\"the value\""]);
                Some(("count_values", Node::leaf(Kind::Text, "string", label)))
            }
            4 => {
                let k =
                    Node::leaf(Kind::Scalar, "number", *self.pick(&["1", "2", "3", "4", "5", "0"]));
                Some(("limitk", k))
            }
            _ => {
                const RATIOS: [&str; 6] = ["0.3", "-0.7", "1", "-1", "0.5", "1.5"];
                let ratio = Node::leaf(Kind::Scalar, "number", *self.pick(&RATIOS));
                Some(("limit_ratio", ratio))
            }
        };
        let (name, parameter) = match parameter {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (*self.pick(&PLAIN), None),
        };
        const ANY: [&str; 7] =
            ["sum", "avg", "count", "group", "count_values", "limitk", "limit_ratio"];
        let inner = if ANY.contains(&name) { self.vector(depth) } else { self.floats(depth) };
        let mut parts = vec![Part::Text(name.to_owned())];
        if self.chance(0.65) {
            let word = if self.chance(0.7) { "by" } else { "without" };
            let text = format!(" {word} ({}) ", self.label_list());
            parts.push(Part::Optional(word, text));
        }
        parts.push(Part::Text("(".to_owned()));
        if let Some(parameter) = parameter {
            parts.push(Part::Child(parameter));
            parts.push(Part::Text(", ".to_owned()));
        }
        parts.push(Part::Child(inner));
        parts.push(Part::Text(")".to_owned()));
        Node { kind: Kind::Vector, name, parts }
    }

    /// A query with a character too many, too few, or another word in it.
    fn damaged(&mut self, depth: usize) -> Node {
        const WORDS: [&str; 22] = [
            ")",
            "(",
            "{",
            "}",
            "[",
            "]",
            ",",
            "by",
            "offset",
            "@",
            "bool",
            "on",
            "5m",
            "sum",
            "\"",
            "==",
            "-",
            "1",
            "x",
            ":",
            "=~",
            "group_left",
        ];
        let node = self.vector(depth);
        let mut text: Vec<char> = node.to_string().chars().collect();
        let at = self.rng.usize(0..text.len());
        match self.rng.u8(0..3) {
            0 => drop(text.remove(at)),
            1 => drop(text.splice(at..at, self.pick(&WORDS).chars())),
            _ => text.truncate(at),
        }
        Node::leaf(Kind::Vector, "damaged", text.into_iter().collect::<String>())
    }
}

/// A label name as it stands in a list or matcher.
fn quoted_name(name: &str) -> String {
    let legacy = !name.contains(['.', ' ']);
    if legacy { name.to_owned() } else { format!("{name:?}") }
}
