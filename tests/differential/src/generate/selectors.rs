//! Selectors, ranges and subqueries.

use firesteel_model::Labels;

use super::{Generator, quoted_name};
use crate::{
    data::{END, Family, START},
    tree::{Kind, Node, Part},
};

/// For series with few samples.
const LONG_RANGES: [&str; 6] = ["20m", "30m", "1h", "2h", "25m30s", "45m"];
const RANGES: [&str; 24] = [
    "1m",
    "3m",
    "3m",
    "4m",
    "7m",
    "15m",
    "15m",
    "2m",
    "5m",
    "5m",
    "5m",
    "10m",
    "10m",
    "30m",
    "1h",
    "15s",
    "16s",
    "47s",
    "1m30s",
    "90",
    "301s500ms",
    "20m",
    "2h",
    "4m59s999ms",
];
const OFFSETS: [&str; 10] =
    ["1m", "5m", "-30s", "30s", "10m", "-5m", "1ms", "17s", "0s", "(1m + 30s)"];

impl Generator<'_> {
    /// A family: mostly the one in focus.
    fn family(&mut self) -> &'static str {
        let index = if self.chance(0.85) { self.focus } else { self.pick_family() };
        self.data.families[index].name
    }

    pub(super) fn instant_selector(&mut self) -> Node {
        let node = self.selector();
        self.modified(node)
    }

    /// A selector without modifiers.
    fn selector(&mut self) -> Node {
        let name = self.family();
        let family = self.data.families.iter().find(|f| f.name == name);
        let family = family.unwrap_or(&self.data.families[0]);
        let plain = !name.contains('.');
        let mut parts = Vec::new();
        let mut first = true;
        match self.rng.u8(0..20) {
            0 => {
                parts.push(Part::Text(format!("{{__name__={name:?}")));
                first = false;
            }
            1 => {
                let other = self.family();
                parts.push(Part::Text(format!("{{__name__=~\"{name}|{other}\"")));
                first = false;
            }
            2.. if plain => parts.push(Part::Text(format!("{name}{{"))),
            _ => {
                parts.push(Part::Text(format!("{{{name:?}")));
                first = false;
            }
        }
        let matchers = self.weighted(&[12, 6, 2]);
        let mut series = self.pick(&family.series);
        for _ in 0..matchers {
            if self.chance(0.06) {
                series = self.pick(&family.series);
            }
            let matcher = self.matcher(family, &series.labels);
            let comma = if first { "" } else { ", " };
            // A matcher without a comma in front cannot be left out alone; an empty list can.
            if first {
                parts.push(Part::Text(format!("{comma}{matcher}")));
            } else {
                parts.push(Part::Optional("matcher", format!("{comma}{matcher}")));
            }
            first = false;
        }
        parts.push(Part::Text("}".to_owned()));
        if let [Part::Text(open), Part::Text(_)] = &mut parts[..]
            && open.ends_with('{')
        {
            open.pop();
            parts.truncate(1);
        }
        Node { kind: Kind::Vector, name: "selector", parts }
    }

    /// A matcher that the series with these labels passes, mostly.
    fn matcher(&mut self, family: &Family, labels: &Labels) -> String {
        let pairs: Vec<_> = labels.iter().filter(|(name, _)| *name != "__name__").collect();
        let (name, value) = *self.pick(&pairs);
        let other = self.pick(&family.series).labels.get(name).unwrap_or_default().to_owned();
        let name = quoted_name(name);
        let regex = |text: &str| {
            text.chars().fold(String::new(), |mut out, c| {
                if "\\.+*?()|[]{}^$".contains(c) {
                    out.push('\\');
                }
                out.push(c);
                out
            })
        };
        let quote = |text: &str| format!("{text:?}").replace("\\u{", "\\u{");
        let first: String = value.chars().take(1).collect();
        match self.rng.u8(0..10) {
            0..3 => format!("{name}={}", quote(value)),
            3 => format!("{name}!={}", quote(&other)),
            4 => format!("{name}=~{}", quote(&format!("{}|{}", regex(value), regex(&other)))),
            5 => format!("{name}=~{}", quote(&format!("{}.*", regex(&first)))),
            6 => format!("{name}!~{}", quote(&format!("{}.+", regex(&other)))),
            7 => format!("{name}=~\".+\""),
            8 => format!("{name}!=\"\""),
            _ => format!("missing{}\"\"", if self.rng.bool() { "=" } else { "=~" }),
        }
    }

    /// With `offset` and `@`, at times.
    fn modified(&mut self, mut node: Node) -> Node {
        let at_first = self.rng.bool();
        if at_first {
            node = self.pinned(node);
        }
        if self.chance(0.12) {
            let offset = *self.pick(&OFFSETS);
            node = node.with("offset", format!(" offset {offset}"));
        }
        if at_first { node } else { self.pinned(node) }
    }

    fn pinned(&mut self, node: Node) -> Node {
        if !self.chance(0.05) {
            return node;
        }
        let t = self.rng.i64(START + 600_000..END);
        let at = match self.rng.u8(0..5) {
            0 => "start()".to_owned(),
            1 => "end()".to_owned(),
            2 => format!("{}.{:03}", t / 1000, t % 1000),
            _ => format!("{}", t / 1000),
        };
        node.with("@", format!(" @ {at}"))
    }

    /// A range vector: a selector or, if `depth` allows, a subquery.
    pub(super) fn matrix(&mut self, depth: usize) -> Node {
        let few = matches!(self.focused().name, "sparse_total" | "crowd");
        let few = few && !self.chance(0.1);
        let range: &str =
            if few { self.pick::<&str>(&LONG_RANGES) } else { self.pick::<&str>(&RANGES) };
        if depth > 0 && self.chance(0.35) {
            return self.subquery(depth - 1);
        }
        let mut node = self.selector();
        node.kind = Kind::Matrix;
        node.name = "range selector";
        let range = if self.chance(0.04) { "2 * (1m + 30s)" } else { range };
        node.parts.push(Part::Text(format!("[{range}]")));
        self.modified(node)
    }

    fn subquery(&mut self, depth: usize) -> Node {
        const STEPS: [&str; 9] = ["", "15s", "30s", "1m", "1m", "17s", "2m", "10s", "5m"];
        const LONG: [&str; 8] = ["1m", "2m", "5m", "10m", "10m", "17m3s", "30m", "3m20s"];
        let inner = self.vector(depth.min(2));
        let inner = if inner.name == "selector" { inner } else { self.parenthesized(inner) };
        let (range, step) = (*self.pick(&LONG), *self.pick(&STEPS));
        let parts = vec![Part::Child(inner), Part::Text(format!("[{range}:{step}]"))];
        let node = Node { kind: Kind::Matrix, name: "subquery", parts };
        self.modified(node)
    }
}
