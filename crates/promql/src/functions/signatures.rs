//! The functions of the language: names and types.

use std::fmt;

use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Which one, to match on.
    pub id: FunctionId,
    /// Its name.
    pub name: &'static str,
    /// Types of the arguments; further ones have the type of the last.
    pub arg_types: &'static [ValueType],
    /// The least number of arguments.
    pub min_args: usize,
    /// The greatest number of arguments, `None` for any.
    pub max_args: Option<usize>,
    /// Type of the result.
    pub return_type: ValueType,
    /// Whether it needs [`ParserOptions::experimental_functions`].
    ///
    /// [`ParserOptions::experimental_functions`]: crate::ParserOptions::experimental_functions
    pub experimental: bool,
}

impl Function {
    /// The function of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
    }

    /// Type of the argument at `index`; `None` for a function without arguments.
    #[must_use]
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        self.arg_types.get(index).or(self.arg_types.last()).copied()
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Names a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the function of that name")]
pub enum FunctionId {
    Abs,
    Absent,
    AbsentOverTime,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    AvgOverTime,
    Ceil,
    Changes,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    CountOverTime,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Deg,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    End,
    Exp,
    FirstOverTime,
    Floor,
    HistogramAvg,
    HistogramCount,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Hour,
    Idelta,
    Increase,
    Info,
    Irate,
    LabelJoin,
    LabelReplace,
    LastOverTime,
    Ln,
    Log10,
    Log2,
    MadOverTime,
    MaxOf,
    MaxOverTime,
    MinOf,
    MinOverTime,
    Minute,
    Month,
    Pi,
    PredictLinear,
    PresentOverTime,
    QuantileOverTime,
    Rad,
    Range,
    Rate,
    Resets,
    Round,
    Scalar,
    Sgn,
    Sin,
    Sinh,
    Sort,
    SortByLabel,
    SortByLabelDesc,
    SortDesc,
    Sqrt,
    Start,
    StartTimestamp,
    StddevOverTime,
    StdvarOverTime,
    Step,
    SumOverTime,
    Tan,
    Tanh,
    Time,
    Timestamp,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
    Vector,
    Year,
}

/// Number of arguments: exactly `n`.
const fn exactly(n: usize) -> (usize, Option<usize>) {
    (n, Some(n))
}

const fn function(
    id: FunctionId,
    name: &'static str,
    arg_types: &'static [ValueType],
    (min_args, max_args): (usize, Option<usize>),
    return_type: ValueType,
) -> Function {
    Function { id, name, arg_types, min_args, max_args, return_type, experimental: false }
}

const fn experimental(function: Function) -> Function {
    Function { experimental: true, ..function }
}

/// All functions, sorted by name.
pub static FUNCTIONS: [Function; 90] = [
    function(FunctionId::Abs, "abs", &[Vector], exactly(1), Vector),
    function(FunctionId::Absent, "absent", &[Vector], exactly(1), Vector),
    function(FunctionId::AbsentOverTime, "absent_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Acos, "acos", &[Vector], exactly(1), Vector),
    function(FunctionId::Acosh, "acosh", &[Vector], exactly(1), Vector),
    function(FunctionId::Asin, "asin", &[Vector], exactly(1), Vector),
    function(FunctionId::Asinh, "asinh", &[Vector], exactly(1), Vector),
    function(FunctionId::Atan, "atan", &[Vector], exactly(1), Vector),
    function(FunctionId::Atanh, "atanh", &[Vector], exactly(1), Vector),
    function(FunctionId::AvgOverTime, "avg_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Ceil, "ceil", &[Vector], exactly(1), Vector),
    function(FunctionId::Changes, "changes", &[Matrix], exactly(1), Vector),
    function(FunctionId::Clamp, "clamp", &[Vector, Scalar, Scalar], exactly(3), Vector),
    function(FunctionId::ClampMax, "clamp_max", &[Vector, Scalar], exactly(2), Vector),
    function(FunctionId::ClampMin, "clamp_min", &[Vector, Scalar], exactly(2), Vector),
    function(FunctionId::Cos, "cos", &[Vector], exactly(1), Vector),
    function(FunctionId::Cosh, "cosh", &[Vector], exactly(1), Vector),
    function(FunctionId::CountOverTime, "count_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::DayOfMonth, "day_of_month", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::DayOfWeek, "day_of_week", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::DayOfYear, "day_of_year", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::DaysInMonth, "days_in_month", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::Deg, "deg", &[Vector], exactly(1), Vector),
    function(FunctionId::Delta, "delta", &[Matrix], exactly(1), Vector),
    function(FunctionId::Deriv, "deriv", &[Matrix], exactly(1), Vector),
    experimental(function(
        FunctionId::DoubleExponentialSmoothing,
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        exactly(3),
        Vector,
    )),
    experimental(function(FunctionId::End, "end", &[], exactly(0), Scalar)),
    function(FunctionId::Exp, "exp", &[Vector], exactly(1), Vector),
    function(FunctionId::FirstOverTime, "first_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Floor, "floor", &[Vector], exactly(1), Vector),
    function(FunctionId::HistogramAvg, "histogram_avg", &[Vector], exactly(1), Vector),
    function(FunctionId::HistogramCount, "histogram_count", &[Vector], exactly(1), Vector),
    function(
        FunctionId::HistogramFraction,
        "histogram_fraction",
        &[Scalar, Scalar, Vector],
        exactly(3),
        Vector,
    ),
    function(
        FunctionId::HistogramQuantile,
        "histogram_quantile",
        &[Scalar, Vector],
        exactly(2),
        Vector,
    ),
    experimental(function(
        FunctionId::HistogramQuantiles,
        "histogram_quantiles",
        &[Vector, String, Scalar, Scalar],
        (3, Some(12)),
        Vector,
    )),
    function(FunctionId::HistogramStddev, "histogram_stddev", &[Vector], exactly(1), Vector),
    function(FunctionId::HistogramStdvar, "histogram_stdvar", &[Vector], exactly(1), Vector),
    function(FunctionId::HistogramSum, "histogram_sum", &[Vector], exactly(1), Vector),
    function(FunctionId::Hour, "hour", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::Idelta, "idelta", &[Matrix], exactly(1), Vector),
    function(FunctionId::Increase, "increase", &[Matrix], exactly(1), Vector),
    experimental(function(FunctionId::Info, "info", &[Vector, Vector], (1, Some(2)), Vector)),
    function(FunctionId::Irate, "irate", &[Matrix], exactly(1), Vector),
    function(
        FunctionId::LabelJoin,
        "label_join",
        &[Vector, String, String, String],
        (3, None),
        Vector,
    ),
    function(
        FunctionId::LabelReplace,
        "label_replace",
        &[Vector, String, String, String, String],
        exactly(5),
        Vector,
    ),
    function(FunctionId::LastOverTime, "last_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Ln, "ln", &[Vector], exactly(1), Vector),
    function(FunctionId::Log10, "log10", &[Vector], exactly(1), Vector),
    function(FunctionId::Log2, "log2", &[Vector], exactly(1), Vector),
    experimental(function(FunctionId::MadOverTime, "mad_over_time", &[Matrix], exactly(1), Vector)),
    experimental(function(FunctionId::MaxOf, "max_of", &[Scalar, Scalar], exactly(2), Scalar)),
    function(FunctionId::MaxOverTime, "max_over_time", &[Matrix], exactly(1), Vector),
    experimental(function(FunctionId::MinOf, "min_of", &[Scalar, Scalar], exactly(2), Scalar)),
    function(FunctionId::MinOverTime, "min_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Minute, "minute", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::Month, "month", &[Vector], (0, Some(1)), Vector),
    function(FunctionId::Pi, "pi", &[], exactly(0), Scalar),
    function(FunctionId::PredictLinear, "predict_linear", &[Matrix, Scalar], exactly(2), Vector),
    function(FunctionId::PresentOverTime, "present_over_time", &[Matrix], exactly(1), Vector),
    function(
        FunctionId::QuantileOverTime,
        "quantile_over_time",
        &[Scalar, Matrix],
        exactly(2),
        Vector,
    ),
    function(FunctionId::Rad, "rad", &[Vector], exactly(1), Vector),
    experimental(function(FunctionId::Range, "range", &[], exactly(0), Scalar)),
    function(FunctionId::Rate, "rate", &[Matrix], exactly(1), Vector),
    function(FunctionId::Resets, "resets", &[Matrix], exactly(1), Vector),
    function(FunctionId::Round, "round", &[Vector, Scalar], (1, Some(2)), Vector),
    function(FunctionId::Scalar, "scalar", &[Vector], exactly(1), Scalar),
    function(FunctionId::Sgn, "sgn", &[Vector], exactly(1), Vector),
    function(FunctionId::Sin, "sin", &[Vector], exactly(1), Vector),
    function(FunctionId::Sinh, "sinh", &[Vector], exactly(1), Vector),
    function(FunctionId::Sort, "sort", &[Vector], exactly(1), Vector),
    experimental(function(
        FunctionId::SortByLabel,
        "sort_by_label",
        &[Vector, String],
        (1, None),
        Vector,
    )),
    experimental(function(
        FunctionId::SortByLabelDesc,
        "sort_by_label_desc",
        &[Vector, String],
        (1, None),
        Vector,
    )),
    function(FunctionId::SortDesc, "sort_desc", &[Vector], exactly(1), Vector),
    function(FunctionId::Sqrt, "sqrt", &[Vector], exactly(1), Vector),
    experimental(function(FunctionId::Start, "start", &[], exactly(0), Scalar)),
    experimental(function(
        FunctionId::StartTimestamp,
        "start_timestamp",
        &[Vector],
        exactly(1),
        Vector,
    )),
    function(FunctionId::StddevOverTime, "stddev_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::StdvarOverTime, "stdvar_over_time", &[Matrix], exactly(1), Vector),
    experimental(function(FunctionId::Step, "step", &[], exactly(0), Scalar)),
    function(FunctionId::SumOverTime, "sum_over_time", &[Matrix], exactly(1), Vector),
    function(FunctionId::Tan, "tan", &[Vector], exactly(1), Vector),
    function(FunctionId::Tanh, "tanh", &[Vector], exactly(1), Vector),
    function(FunctionId::Time, "time", &[], exactly(0), Scalar),
    function(FunctionId::Timestamp, "timestamp", &[Vector], exactly(1), Vector),
    experimental(function(
        FunctionId::TsOfFirstOverTime,
        "ts_of_first_over_time",
        &[Matrix],
        exactly(1),
        Vector,
    )),
    experimental(function(
        FunctionId::TsOfLastOverTime,
        "ts_of_last_over_time",
        &[Matrix],
        exactly(1),
        Vector,
    )),
    experimental(function(
        FunctionId::TsOfMaxOverTime,
        "ts_of_max_over_time",
        &[Matrix],
        exactly(1),
        Vector,
    )),
    experimental(function(
        FunctionId::TsOfMinOverTime,
        "ts_of_min_over_time",
        &[Matrix],
        exactly(1),
        Vector,
    )),
    function(FunctionId::Vector, "vector", &[Scalar], exactly(1), Vector),
    function(FunctionId::Year, "year", &[Vector], (0, Some(1)), Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for f in &FUNCTIONS {
            assert!(f.max_args.is_none_or(|max| max >= f.min_args), "{f}");
            assert!(f.min_args <= f.arg_types.len(), "{f}");
            assert_eq!(Function::by_name(f.name), Some(f));
        }
        assert_eq!(Function::by_name("holt_winters"), None);
        let info = Function::by_name("info").unwrap();
        assert_eq!((info.min_args, info.max_args, info.experimental), (1, Some(2), true));
    }
}
