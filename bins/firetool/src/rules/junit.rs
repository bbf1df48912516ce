//! Results of tests as JUnit XML.

/// What a file of tests came to.
pub(super) struct Suite {
    name: String,
    pub(super) cases: Vec<Case>,
    errors: usize,
}

/// What a test came to.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) failures: Vec<String>,
    pub(super) error: Option<String>,
}

impl Suite {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cases: Vec::new(), errors: 0 }
    }

    /// The file could not be run.
    pub(super) fn abort(&mut self, error: &str) {
        self.errors += 1;
        let case = Case {
            name: "unknown".to_owned(),
            failures: Vec::new(),
            error: Some(error.to_owned()),
        };
        self.cases.push(case);
    }

    fn write(&self, out: &mut String) {
        let failures: usize = self.cases.iter().map(|case| case.failures.len()).sum();
        out.push_str(&format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\" \
             skipped=\"0\" timestamp=\"{}\">",
            escape(&self.name),
            self.cases.len(),
            self.errors,
            jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S"),
        ));
        for case in &self.cases {
            out.push_str(&format!("<testcase name=\"{}\">", escape(&case.name)));
            for failure in &case.failures {
                out.push_str(&format!("<failure>{}</failure>", escape(failure)));
            }
            if let Some(error) = &case.error {
                out.push_str(&format!("<error>{}</error>", escape(error)));
            }
            out.push_str("</testcase>");
        }
        out.push_str("</testsuite>");
    }
}

/// The whole document.
pub(super) fn document(suites: &[Suite]) -> String {
    let mut out = String::from("<testsuites>");
    suites.iter().for_each(|suite| suite.write(&mut out));
    out.push_str("</testsuites>");
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("&#xA;"),
            '\t' => out.push_str("&#x9;"),
            '\r' => out.push_str("&#xD;"),
            // XML has no other control characters.
            c if c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_xml() {
        let mut suite = Suite::new("a<b.yml");
        let failures = vec!["x & y\n".to_owned()];
        suite.cases.push(Case { name: "one".to_owned(), failures, error: None });
        let text = document(&[suite]);
        assert!(text.contains("<testsuite name=\"a&lt;b.yml\" tests=\"1\" failures=\"1\""));
        assert!(text.contains("<failure>x &amp; y&#xA;</failure></testcase></testsuite>"));
    }
}
