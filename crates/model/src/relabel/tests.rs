//! Rules as data: label sets in, rules, label sets out. The behaviours are those of Prometheus'
//! `model/relabel/relabel_test.go`, the rows are ours.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Labels, LabelsBuilder, float::go_quote};

/// A rule in short: `action sources -> target | regex | replacement | modulus`, where `_` keeps the
/// default.
fn rule(text: &str) -> RelabelConfig {
    let fields: Vec<_> = text.split(" | ").collect();
    let (head, target) = fields[0].split_once(" -> ").unwrap_or((fields[0], ""));
    let (action, sources) = head.split_once(' ').unwrap_or((head, ""));
    let mut rule = RelabelConfig::new(action.parse().unwrap());
    rule.source_labels = sources.split_whitespace().map(str::to_owned).collect();
    rule.target_label = target.to_owned();
    let set = |i: usize| fields.get(i).copied().filter(|f| *f != "_");
    if let Some(regex) = set(1) {
        rule.regex = Regex::anchored(regex).unwrap();
    }
    if let Some(replacement) = set(2) {
        rule.replacement = replacement.to_owned();
    }
    rule.modulus = set(3).map_or(0, |m| m.parse().unwrap());
    rule
}

fn labels(text: &str) -> Labels {
    let unescape = |v: &str| v.replace("\\n", "\n");
    text.split_whitespace()
        .map(|pair| pair.split_once('=').map(|(n, v)| (n.to_owned(), unescape(v))).unwrap())
        .collect()
}

/// Input, rules, output (`None`: dropped).
type Row<'a> = (&'a str, &'a [&'a str], Option<&'a str>);

#[rustfmt::skip]
const ROWS: &[Row<'static>] = &[
    // replace
    ("job=api dc=east", &["replace job -> short | a(.*) | <${1}-${1}>"], Some("job=api dc=east short=<pi-pi>")),
    ("job=api dc=east", &["replace job dc -> both | (.*);(.*) | $2/$1"], Some("job=api dc=east both=east/api")),
    ("a=1", &["replace a nope b -> x | 1;; | yes"], Some("a=1 x=yes")),
    ("a=1", &["replace a -> b"], Some("a=1 b=1")),
    ("a=1", &["replace -> b | _ | fixed"], Some("a=1 b=fixed")),
    ("a=1 b=2", &["replace nope -> b"], Some("a=1")),
    ("a=1", &["replace a -> b | 2 | x"], Some("a=1")),
    ("a=foo", &["replace a -> b | oo | x"], Some("a=foo")),
    ("a=xyz b=keep", &["replace a -> b | (x).* | $2"], Some("a=xyz")),
    ("a=xyz y=keep", &["replace a -> $1 | x(y)z | $2"], Some("a=xyz")),
    ("a=new-value", &["replace a -> ${1} | ([^-]+)-(.+) | ${2}"], Some("a=new-value new=value")),
    ("a=new-value", &["replace a -> ${3} | ([^-]+)-(.+) | ${2}"], Some("a=new-value")),
    ("a=new-value", &["replace a -> b | (?P<left>.*)-(?<right>.*) | ${right}.$left"], Some("a=new-value b=value.new")),
    ("a=ab", &["replace a -> b | (a)(b) | $1x${2}x"], Some("a=ab b=bx")),
    ("a=ab", &["replace a -> b | (a)b | $$1$"], Some("a=ab b=$1$")),
    ("a=one\\ntwo", &["replace a -> b | one.*two | ok$1"], Some("a=one\\ntwo b=ok")),
    ("a=1", &["replace a -> with.dot | _ | x$1"], Some("a=1 with.dot=x1")),
    ("with.dot=1", &["replace with.dot -> b"], Some("with.dot=1 b=1")),
    ("a=1", &["replace a -> b", "replace b -> c | (.) | ${1}2", "replace -> b | _ | gone"], Some("a=1 b=gone c=12")),
    ("tags=path:/m,job:web", &["replace tags -> job | (?:.+,|^)job:([^,]+).*", "replace tags -> __metrics_path__ | (?:.+,|^)path:(/[^,]+).*"],
        Some("tags=path:/m,job:web job=web __metrics_path__=/m")),
    ("__name__=errors_total", &["replace __name__ -> kind | .*_total$ | counter"], Some("__name__=errors_total kind=counter")),
    // keep, drop
    ("a=foo", &["keep a | f.*"], Some("a=foo")),
    ("a=foo", &["keep a | o"], None),
    ("a=foo", &["keep | "], Some("a=foo")),
    ("a=foo", &["drop a | .*o.*"], None),
    ("a=foo", &["drop a | f|o"], Some("a=foo")),
    ("a=foo", &["drop nope | "], None),
    ("a=foo b=bar", &["drop a b | foo;bar"], None),
    ("a=foo", &["drop a | .*o.*", "replace a -> b"], None),
    ("a=foo", &["keep a | (?i)FOO"], Some("a=foo")),
    // keepequal, dropequal
    ("a=1 b=1 c=2", &["keepequal a -> b"], Some("a=1 b=1 c=2")),
    ("a=1 b=1 c=2", &["keepequal a -> c"], None),
    ("a=1 b=1 c=2", &["dropequal a -> b"], None),
    ("a=1 b=1 c=2", &["dropequal a -> c"], Some("a=1 b=1 c=2")),
    ("a=1", &["dropequal x -> y"], None),
    // hashmod
    ("c=baz", &["hashmod c -> shard | _ | _ | 1000"], Some("c=baz shard=976")),
    ("a=foo\\nbar", &["hashmod a -> shard | _ | _ | 1000"], Some("a=foo\\nbar shard=734")),
    ("a=1", &["hashmod a -> shard | _ | _ | 1"], Some("a=1 shard=0")),
    // labelmap
    ("__meta_x_a=1 __meta_x_b=2 c=3", &["labelmap | __meta_x_(.+)"], Some("__meta_x_a=1 __meta_x_b=2 a=1 b=2 c=3")),
    ("b1=1 b2=2", &["labelmap | (b.*) | pre_${1}"], Some("b1=1 b2=2 pre_b1=1 pre_b2=2")),
    ("b1=1 b2=2", &["labelmap | b(.) | same"], Some("b1=1 b2=2 same=2")),
    // labeldrop, labelkeep
    ("a=1 b1=2 b2=3", &["labeldrop | b.*"], Some("a=1")),
    ("a=1 b1=2 b2=3", &["labelkeep | (b.*)"], Some("b1=2 b2=3")),
    ("a=1 b=2", &["labeldrop | ^a$", "replace b -> a", "keep a | ^2$"], Some("a=2 b=2")),
    // lowercase, uppercase
    ("a=bAr1", &["lowercase a -> b", "uppercase a -> c"], Some("a=bAr1 b=bar1 c=BAR1")),
    ("a=1 b=2", &["uppercase nope -> b"], Some("a=1")),
];

#[test]
fn rules_do_what_prometheus_does() {
    for (input, rules, output) in ROWS {
        let mut rules: Vec<_> = rules.iter().map(|r| rule(r)).collect();
        for rule in &mut rules {
            rule.validate(ValidationScheme::Utf8).unwrap();
        }
        let mut builder = labels(input).to_builder();
        let kept = process(&rules, &mut builder).then(|| builder.build());
        assert_eq!(kept, output.map(labels), "{input} {rules:?}");
    }
}

#[test]
fn bad_target_names_are_left_alone_under_the_legacy_scheme() {
    let mut rules = [rule("replace a -> ${1} | (.*)-.* | x")];
    rules[0].validate(ValidationScheme::Legacy).unwrap();
    for (input, output) in [("a=b.c-d", "a=b.c-d"), ("a=ok-d", "a=ok-d ok=x")] {
        let mut builder = labels(input).to_builder();
        assert!(process(&rules, &mut builder));
        assert_eq!(builder.build(), labels(output));
    }
}

#[test]
fn validation_has_prometheus_texts() {
    use ValidationScheme::{Legacy, Utf8};
    for (text, scheme, message) in [
        ("hashmod a -> b", Utf8, "relabel configuration for hashmod requires non-zero modulus"),
        (
            "replace a",
            Utf8,
            "relabel configuration for replace action requires 'target_label' value",
        ),
        (
            "uppercase a",
            Utf8,
            "relabel configuration for uppercase action requires 'target_label' value",
        ),
        ("replace a -> b.c", Legacy, "\"b.c\" is invalid 'target_label' for replace action"),
        ("replace a -> ${b", Legacy, "\"${b\" is invalid 'target_label' for replace action"),
        ("replace a -> 1${b}", Legacy, "\"1${b}\" is invalid 'target_label' for replace action"),
        ("replace a -> x$", Legacy, "\"x$\" is invalid 'target_label' for replace action"),
        ("lowercase a -> $1", Legacy, "\"$1\" is invalid 'target_label' for lowercase action"),
        ("lowercase a -> b | _ | x", Utf8, "'replacement' can not be set for lowercase action"),
        ("labelmap | (.*) | b-$1", Legacy, "\"b-$1\" is invalid 'replacement' for labelmap action"),
        (
            "hashmod a -> b.c | _ | _ | 2",
            Legacy,
            "\"b.c\" is invalid 'target_label' for hashmod action",
        ),
        (
            "keepequal a -> b | (.*)",
            Utf8,
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        (
            "dropequal a -> b | _ | _ | 5",
            Utf8,
            "dropequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        ("labeldrop a | x", Utf8, "labeldrop action requires only 'regex', and no other fields"),
        ("labelkeep -> b | x", Utf8, "labelkeep action requires only 'regex', and no other fields"),
    ] {
        assert_eq!(rule(text).validate(scheme).unwrap_err().to_string(), message, "{text}");
    }
    for text in ["replace a -> ${1}_x$2", "replace a -> $1", "labelmap | (.*) | a${1}9", "keep a"] {
        assert_eq!(rule(text).validate(Legacy), Ok(()), "{text}");
    }
    assert_eq!("KeepEqual".parse(), Ok(Action::KeepEqual));
    assert_eq!("x".parse::<Action>().unwrap_err().to_string(), "unknown relabel action \"x\"");
}

/// The same, slowly, over a map: what the fast paths have to agree with.
fn slow(rule: &RelabelConfig, map: &mut BTreeMap<String, String>) -> bool {
    let get = |map: &BTreeMap<String, String>, n: &str| map.get(n).cloned().unwrap_or_default();
    let values: Vec<_> = rule.source_labels.iter().map(|n| get(map, n)).collect();
    let value = values.join(&rule.separator);
    let mut set = |name: String, value: String| {
        map.remove(&name);
        if !value.is_empty() {
            map.insert(name, value);
        }
    };
    match rule.action {
        Action::Keep => return rule.regex.is_match(&value),
        Action::Drop => return !rule.regex.is_match(&value),
        Action::Replace => {
            let whole = Regex::unanchored(&format!("^(?s:{})$", rule.regex.pattern())).unwrap();
            let Some(captures) = whole.captures(&value) else { return true };
            let (mut name, mut new) = (String::new(), String::new());
            whole.expand(&rule.target_label, &value, &captures, &mut name);
            whole.expand(&rule.replacement, &value, &captures, &mut new);
            if !name.is_empty() {
                set(name, new);
            }
        }
        Action::LabelDrop => map.retain(|name, _| !rule.regex.is_match(name)),
        other => unreachable!("not generated: {other}"),
    }
    true
}

fn any_rule() -> impl Strategy<Value = RelabelConfig> {
    let actions =
        prop::sample::select(vec![Action::Replace, Action::Keep, Action::Drop, Action::LabelDrop]);
    let regexes = prop::sample::select(vec!["", "a", "(.*)", "(a)(.*)", "a|b|", "(.+);.*", "[ab]"]);
    let templates = prop::sample::select(vec!["a", "b", "$1", "${1}b", "x$2", "$0"]);
    let sources = prop::collection::vec("[abc]", 0..3);
    (actions, prop::option::of(regexes), templates.clone(), templates, sources).prop_map(
        |(action, regex, target, replacement, source_labels)| {
            let mut rule = RelabelConfig { source_labels, ..RelabelConfig::new(action) };
            if let Some(regex) = regex {
                rule.regex = Regex::anchored(regex).unwrap();
            }
            target.clone_into(&mut rule.target_label);
            replacement.clone_into(&mut rule.replacement);
            rule
        },
    )
}

proptest! {
    #[test]
    fn agrees_with_the_slow_way(
        input in prop::collection::btree_map("[abc]", "[ab]{1,3}", 0..4),
        rules in prop::collection::vec(any_rule(), 1..4),
    ) {
        let mut builder = LabelsBuilder::new();
        for (name, value) in &input {
            builder.set(name, value);
        }
        let mut map = input;
        let kept = process(&rules, &mut builder);
        prop_assert_eq!(kept, rules.iter().all(|rule| slow(rule, &mut map)));
        if kept {
            prop_assert_eq!(builder.build(), map.iter().collect::<Labels>());
        }
    }

    #[test]
    fn arbitrary_templates_do_not_panic(template in "[a-z0-9${}_ ]{0,12}", value in "\\PC{0,8}") {
        let regex = Regex::anchored("(?P<a>.)?(.*)").unwrap();
        let rule = RelabelConfig {
            source_labels: vec!["in".into()],
            target_label: "out".into(),
            replacement: template.clone(),
            regex,
            ..RelabelConfig::default()
        };
        let mut builder = LabelsBuilder::new();
        builder.set("in", &value);
        prop_assert!(process(&[rule], &mut builder), "{}", go_quote(&template));
    }
}
