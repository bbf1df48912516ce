//! Operators, and how the series of two vectors are matched.

use std::fmt;

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `</`: drops a histogram's observations above a scalar.
    TrimUpper,
    /// `>/`: drops a histogram's observations below a scalar.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Mod,
        Self::Pow,
        Self::Atan2,
        Self::Eq,
        Self::Ne,
        Self::Lt,
        Self::Le,
        Self::Gt,
        Self::Ge,
        Self::TrimUpper,
        Self::TrimLower,
        Self::And,
        Self::Or,
        Self::Unless,
    ];

    /// The operator's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `== != < <= > >=`
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// `and or unless`
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// How strongly it binds, from 1 (`or`) to 6 (`^`, the only one that binds to the right).
    #[must_use]
    pub const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge => 3,
            Self::TrimUpper | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the operator of that name")]
pub enum AggregateOp {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitRatio,
    Limitk,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl AggregateOp {
    /// All of them, by name.
    pub const ALL: [Self; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::LimitRatio,
        Self::Limitk,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
    ];

    /// The operator's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::LimitRatio => "limit_ratio",
            Self::Limitk => "limitk",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
        }
    }

    /// Whether it takes a parameter before the vector.
    #[must_use]
    pub const fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }

    /// Whether it needs [`ParserOptions::experimental_functions`].
    ///
    /// [`ParserOptions::experimental_functions`]: crate::ParserOptions::experimental_functions
    #[must_use]
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many series of each side a match group may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One of each side.
    #[default]
    OneToOne,
    /// `group_left`: many of the left, one of the right.
    ManyToOne,
    /// `group_right`: one of the left, many of the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    /// `one-to-one`, `many-to-one`, `one-to-many` or `many-to-many`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// How the series of two vectors are matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many series of each side a match group may have.
    pub card: Cardinality,
    /// Whether `labels` are those to compare (`on`) or those not to compare (`ignoring`).
    pub on: bool,
    /// Labels of `on` or `ignoring`, as written.
    pub labels: Vec<String>,
    /// Labels of `group_left` or `group_right`: taken over from the "one" side.
    pub include: Vec<String>,
    /// `fill_left`: the value for a missing left side.
    pub fill_left: Option<f64>,
    /// `fill_right`: the value for a missing right side.
    pub fill_right: Option<f64>,
}
