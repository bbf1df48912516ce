//! What the table of Prometheus' results cannot hold: functions that are newer than it, and limits.

use firesteel_model::FloatHistogram;

use super::*;

/// Answers every query with one sample.
struct One;

impl Query for One {
    fn query(&self, text: &str) -> Result<Vec<(Labels, SampleValue)>, String> {
        match text {
            "bad" => Err("it is bad".to_owned()),
            "histogram" => {
                let value = FloatHistogram { count: 3.0, sum: 10.0, ..FloatHistogram::default() };
                Ok(vec![(Labels::empty(), SampleValue::Histogram(Box::new(value)))])
            }
            text => {
                let labels = Labels::from_pairs([("query", text)]);
                Ok(vec![(labels, SampleValue::Float(7.0))])
            }
        }
    }
}

fn run_with(text: &str, limits: Limits) -> Result<String, TemplateError> {
    let data = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    let context = Context {
        data: &data,
        at: 1_353_755_652_000,
        external_url: "http://testhost:9090/path/prefix",
        query: &One,
        limits,
    };
    Template::parse("test", text)?.expand(&context)
}

fn run(text: &str) -> Result<String, TemplateError> {
    run_with(text, Limits::default())
}

#[test]
fn functions_newer_than_the_table_are_those_of_prometheus_314() {
    for (text, expected) in [
        ("{{ (1800 | toDuration).String }}", "30m0s"),
        ("{{ (\"1800\" | toDuration).String }}", "30m0s"),
        ("{{ toDuration 90 }}", "1m30s"),
        ("{{ now }}", "1.353755652e+09"),
        ("{{ (now | toTime).Format \"Mon Jan 2 15:04:05 2006\" }}", "Sat Nov 24 11:14:12 2012"),
        (
            "{{ (\"-30m\" | parseDuration | toDuration | (now | toTime).Add).UnixMilli }}",
            "1353753852000",
        ),
        ("{{ printf \"%0.2f\" (parseDuration \"-1h2m10ms\") }}", "-3720.01"),
        ("{{ urlQueryEscape \"a b&c\" }}", "a+b%26c"),
        ("{{ pathPrefix }} {{ externalURL }}", "/path/prefix http://testhost:9090/path/prefix"),
        ("{{ .name }} {{ .other }}", "value <no value>"),
        ("{{ query \"up\" | first | label \"query\" }}", "up"),
        ("{{ toDuration 1.5 | printf \"%v\" }}", "1.5s"),
        ("{{ toDuration 1.5 | printf \"%T\" }}", "*time.Duration"),
    ] {
        assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn histograms_print_as_prometheus_prints_them() {
    for (text, expected) in [
        ("{{ query \"histogram\" | first | value }}", "{count:3, sum:10}"),
        ("{{ (query \"histogram\" | first).Value.Sum }}", "10"),
        ("{{ query \"histogram\" | first | value | printf \"%v\" }}", "{count:3, sum:10}"),
    ] {
        assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
    }
    let error = run("{{ query \"histogram\" | first | value | humanize }}").unwrap_err();
    assert!(error.to_string().ends_with("can't convert *histogram.FloatHistogram to float"));
}

#[test]
fn a_querys_error_is_the_templates() {
    let error = run("{{ query \"bad\" }}").unwrap_err().to_string();
    assert_eq!(
        error,
        "error executing template test: template: test:1:3: executing \"test\" at \
         <query \"bad\">: error calling query: it is bad"
    );
}

#[test]
fn a_template_that_loops_ends_with_an_error() {
    for (text, what) in [
        ("{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}", "template depth (50)"),
        ("{{range 1000000000}}{{end}}", "takes more than 1000000 steps"),
        ("{{range 10000}}{{range 10000}}{{end}}{{end}}", "takes more than 1000000 steps"),
        (
            "{{$x := \"abcdefgh\"}}{{range 100}}{{$x = print $x $x}}{{end}}",
            "makes texts of more than",
        ),
        ("{{range 100000}}{{printf \"%1000d\" 1}}{{end}}", "bytes"),
        ("{{printf \"%9999999d\" 1}}", "bytes"),
        ("{{range 10000}}{{query \"up\"}}{{end}}", "asks more than 1000 queries"),
        ("{{$x := printf \"%100000d\" 1}}{{reReplaceAll \"\" $x $x}}", "makes texts of more than"),
    ] {
        let error = run(text).unwrap_err().to_string();
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(run(&parens).unwrap_err().to_string().contains("levels deep"));
    let blocks = format!("{}{}", "{{if true}}".repeat(5000), "{{end}}".repeat(5000));
    assert!(run(&blocks).unwrap_err().to_string().contains("levels deep"));
    let chain = format!("{{{{if false}}}}{}{{{{end}}}}", "{{else if false}}".repeat(5000));
    assert!(run(&chain).unwrap_err().to_string().contains("levels deep"));
    // Each template adds to the depth of the one that calls it.
    let parens = format!("{}1{}", "(".repeat(90), ")".repeat(90));
    let deep = format!(
        "{{{{define \"a\"}}}}{{{{template \"a\" {parens}}}}}{{{{end}}}}{{{{template \"a\"}}}}"
    );
    assert!(run(&deep).is_err());
}

#[test]
fn samples_that_are_sorted_are_sorted_for_all_who_hold_them() {
    let text = "{{$q := query \"up\"}}{{$s := sortByLabel \"query\" $q}}{{len $s}}{{len $q}}";
    assert_eq!(run(text).unwrap(), "11");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\{\\{|\\}\\}|[a-z$.()|:=\"`'0-9 \\-/*,%]|if |range |end|with |define |template |print|index |\u{e9}){0,30}") {
            drop(run(&text));
        }

        #[test]
        fn no_format_panics(format in "[%+\\-# 0-9.*\\[\\]a-zA-Z\u{e9}]{0,20}", n in any::<i64>()) {
            let quoted = firesteel_model::float::go_quote(&format);
            let text = format!("{{{{printf {quoted} {} \"x\" 1.5 .}}}}", n / 2);
            drop(run(&text));
        }

        #[test]
        fn floats_print_back(v in any::<f64>()) {
            prop_assume!(v.is_finite());
            let text = run(&format!("{{{{ {v:e} }}}}"));
            if let Ok(text) = text {
                prop_assert_eq!(text.parse::<f64>().unwrap(), v);
            }
        }
    }
}
