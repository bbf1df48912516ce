//! What an exception sees of a query.

use firesteel_promql::{Expr, ParserOptions, ast::Subquery, parse};

use crate::{generate::Question, subject::When, tree::Node};

/// Functions and aggregations that compensate sums of histograms.
pub(super) const SUMS: [&str; 4] = ["sum", "avg", "sum_over_time", "avg_over_time"];

/// A query and its times.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) node: &'a Node,
    pub(super) text: String,
    when: When,
}

impl<'a> Query<'a> {
    pub(super) fn new(question: &'a Question) -> Self {
        Self { node: &question.node, text: question.node.to_string(), when: question.when }
    }

    /// Whether any of these functions, operators or forms occurs.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.node.has(name))
    }

    /// How often a function, operator or form occurs.
    pub(super) fn count(&self, name: &str) -> usize {
        self.node.count(name)
    }

    /// Whether one of `outer` is around one of `inner`.
    pub(super) fn around(&self, outer: &[&str], inner: &[&str]) -> bool {
        if self.node.is_text() {
            return self.has(outer) && self.has(inner);
        }
        let mut found = false;
        self.node.visit(&mut |node| {
            let within = || node.children().any(|child| inner.iter().any(|name| child.has(name)));
            found |= outer.contains(&node.name) && within();
        });
        found
    }

    /// Whether it was made invalid on purpose.
    pub(super) fn is_damaged(&self) -> bool {
        self.node.name == "damaged"
    }

    /// Whether it is a range query.
    pub(super) const fn is_range(&self) -> bool {
        matches!(self.when, When::Range { .. })
    }

    /// Whether something in it may drop samples because of their value, or pick some.
    pub(super) fn filters(&self) -> bool {
        const NAMES: [&str; 16] = [
            "==",
            "!=",
            ">",
            "<",
            ">=",
            "<=",
            "topk",
            "bottomk",
            "limitk",
            "count_values",
            "and",
            "unless",
            "or",
            "sort",
            "sort_desc",
            "clamp",
        ];
        self.has(&NAMES)
    }

    /// Whether a range query's last step is before its end.
    pub(super) fn ends_between_steps(&self) -> bool {
        matches!(self.when, When::Range { start, end, step } if (end - start) % step != 0)
    }

    /// Whether a selector with `@` is in a subquery that is moved to later times and whose first
    /// step is the time at which what is around it starts.
    pub(super) fn starts_where_it_looks_ahead(&self) -> bool {
        let start = match self.when {
            When::Instant(t) => t,
            When::Range { start, .. } => start,
        };
        let options = ParserOptions::experimental();
        parse(&self.text, &options).is_ok_and(|expr| looks_ahead_at(&expr, start))
    }

    /// Whether it reads native histograms.
    pub(super) fn native(&self) -> bool {
        const FAMILIES: [&str; 9] = [
            "request_seconds",
            "coarsening_seconds",
            "float_seconds",
            "queue_seconds",
            "custom_seconds",
            "moving_seconds",
            "mixed",
            // In lists.
            "nh_",
            "nhcb_",
        ];
        FAMILIES.iter().any(|name| self.text.contains(name))
    }
}

/// See [`Query::starts_where_it_looks_ahead`]; `start` is the first time at which `expr` is evaluated.
fn looks_ahead_at(expr: &Expr, start: i64) -> bool {
    let mut subqueries: Vec<&Subquery> = Vec::new();
    expr.walk(&mut |expr| {
        if let Expr::Subquery(subquery) = expr {
            subqueries.push(subquery);
        }
    });
    subqueries.into_iter().any(|subquery| {
        let offset = subquery.offset.as_millis().unwrap_or(0);
        let range = subquery.range.as_millis().unwrap_or(0);
        let step = subquery.step.as_ref().map_or(Some(60_000), |step| step.as_millis());
        let step = step.unwrap_or(1).max(1);
        let first = ((start - offset - range).div_euclid(step) + 1) * step;
        let anchored = || subquery.expr.selectors().iter().any(|selector| selector.at.is_some());
        offset < 0 && first == start && anchored() || looks_ahead_at(&subquery.expr, first)
    })
}
