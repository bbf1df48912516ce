use super::*;

fn read(text: &str) -> RuleFile {
    load_rule_file("r.yml", text, ValidationScheme::Utf8, false)
}

fn errors(text: &str) -> Vec<String> {
    read(text).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn all_that_is_wrong_is_said_with_its_place() {
    let text = "groups:
- name: g
  rules:
  - record: a
    alert: b
    expr: up
  - expr: up
  - record: a{b}
    for: 1m
    expr: up
    annotations: {x: y}
  - alert: x
    labels: {__name__: y}
- name: g
  rules: []
- rules: []
";
    assert_eq!(
        errors(text),
        [
            "r.yml:4:13: group \"g\", rule 1, \"b\": only one of 'record' and 'alert' must be set",
            "r.yml:7:5: group \"g\", rule 2, \"\": one of 'record' or 'alert' must be set",
            "r.yml:8:13: group \"g\", rule 3, \"a{b}\": braces present in the recording rule name; \
             should it be in expr?: a{b}",
            "r.yml:9:10: group \"g\", rule 3, \"a{b}\": invalid field 'for' in recording rule",
            "r.yml:11:18: group \"g\", rule 3, \"a{b}\": invalid field 'annotations' in recording rule",
            "r.yml:12:5: group \"g\", rule 4, \"x\": field 'expr' must be set in rule",
            "r.yml:13:24: group \"g\", rule 4, \"x\": invalid label name: __name__",
            "r.yml:14:3: groupname: \"g\" is repeated in the same file",
            "r.yml:16:3: Groupname must not be empty",
        ]
    );
}

#[test]
fn unknown_keys_and_wrong_types_do_not_hide_other_faults() {
    let text = "groups:\n- name: g\n  rules:\n  - record: a\n    exprr: up\n  - expr: up\n";
    let errors = errors(text);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("field exprr not found in type rulefmt.Rule"));
    assert!(errors[1].contains("one of 'record' or 'alert' must be set"));
}

#[test]
fn a_resource_is_a_rule_file() {
    let text = "apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: x, labels: {role: alert-rules}}
spec:
  groups:
  - name: g
    interval: 30s
    partial_response_strategy: warn
    rules:
    - {alert: A, expr: 1, for: 5m}
";
    let file = read(text);
    assert!(file.errors.is_empty(), "{:?}", file.errors);
    let group = &file.groups[0];
    assert_eq!(group.interval, Some(Duration::from_secs(30)));
    assert_eq!((group.rules[0].expr.text.as_str(), group.rules[0].hold.as_secs()), ("1", 300));
    assert_eq!(group.rules[0].kind, RuleKind::Alerting);
}

#[test]
fn the_first_document_counts_and_empty_files_are_right() {
    let file = read("groups:\n- name: a\n---\ngroups:\n- name: b\n");
    assert_eq!((file.groups.len(), file.warnings.len()), (1, 1));
    for text in ["", "# nothing\n", "groups:\n", "---\n"] {
        let file = read(text);
        assert!(file.errors.is_empty() && file.groups.is_empty(), "{text:?}: {:?}", file.errors);
    }
}
