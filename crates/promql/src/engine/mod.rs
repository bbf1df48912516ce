//! The engine: runs queries over any [`Queryable`].
//!
//! A query is parsed, made into a plan (`lower`), its series are selected once (`source`), and the
//! plan is evaluated node by node, each over all steps at once (`eval`). Unlike Prometheus' engine,
//! which goes step by step, the unit of work is the series: selectors and functions of range
//! vectors decode a series once and compute all its steps (`scan`, `crate::window`), aggregations
//! take it in right away where they can (`crate::aggregate::fold`). Label sets are integers
//! (`labels`) until the result is made.
//!
//! Results are Prometheus': bit for bit within a series; sums across series are compensated, and
//! their order is fixed, so they do not depend on the number of threads.

mod aggregate;
mod binary;
pub(crate) mod block;
mod call;
mod classic;
pub(crate) mod error;
mod eval;
mod executor;
mod gate;
mod info;
pub(crate) mod labels;
mod leaf;
mod limits;
mod lower;
mod metrics;
pub(crate) mod notes;
mod observer;
mod plan;
mod profile;
mod result;
mod scan;
mod source;
mod stats;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use firesteel_model::{
    Timestamp,
    budget::{Budget, Reservation},
    clock::{Clock, SystemClock},
    metrics::{Collect, Families},
    storage::{CancelToken, QueryContext, Queryable},
};

pub use error::QueryError;
pub use executor::{Executor, Inline, ScopedThreads};
pub use gate::{Enter, Gate, Place};
pub use observer::{ObservedQuery, QueryObserver, QueryOrigin, QueryOutcome};
pub use profile::{Profile, ProfileFigures, ProfileNode};
pub use stats::{EngineStats, StepStats};

use self::{
    error::{EvalError, execution},
    eval::Evaluator,
    labels::LabelStore,
    limits::Samples,
    lower::Times,
    metrics::EngineMetrics,
    plan::{Kind, Plan},
    profile::Recorder,
    source::Source,
    stats::Watch,
};
use crate::{Annotations, Expr, ParserOptions, QueryValue, ValueType, parse, window::Grid};

/// How an engine works. The defaults are Prometheus'.
#[derive(Clone)]
pub struct EngineOptions {
    /// How old a sample may be that an instant selector takes.
    pub lookback_delta: Duration,
    /// How long a query may take.
    pub timeout: Duration,
    /// How many samples a query may hold at a time, counted as Prometheus counts them.
    pub max_samples: u64,
    /// How many steps a range query may have, `None` for any number.
    pub max_steps: Option<usize>,
    /// The step of subqueries that give none.
    pub subquery_step: Duration,
    /// What the parser accepts.
    pub parser: ParserOptions,
    /// Drop metric names at the end of a query, not at each operation
    /// (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Series carry `__type__` and `__unit__` labels (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Start timestamps tell counter resets (`use-start-timestamps`).
    pub use_start_timestamps: bool,
    /// `@` may be used.
    pub at_modifier: bool,
    /// Offsets may be negative.
    pub negative_offset: bool,
    /// How many queries run at a time, `None` for any number; the others wait.
    pub max_concurrency: Option<usize>,
    /// Who watches the queries.
    pub observers: Vec<Arc<dyn QueryObserver>>,
    /// Where the work runs.
    pub executor: Arc<dyn Executor>,
    /// What queries may take of memory, all together.
    pub budget: Budget,
    /// What a single query may take of memory, bytes.
    pub query_bytes: u64,
    /// Where deadlines are read.
    pub clock: Arc<dyn Clock>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_delta: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(2 * 60),
            max_samples: 50_000_000,
            max_steps: None,
            subquery_step: Duration::from_secs(60),
            parser: ParserOptions::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            at_modifier: true,
            negative_offset: true,
            max_concurrency: None,
            observers: Vec::new(),
            executor: Arc::new(Inline),
            budget: Budget::root("queries", u64::MAX),
            query_bytes: u64::MAX,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl std::fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineOptions")
            .field("lookback_delta", &self.lookback_delta)
            .field("timeout", &self.timeout)
            .field("max_samples", &self.max_samples)
            .field("max_concurrency", &self.max_concurrency)
            .field("parser", &self.parser)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What a single query wants otherwise than its engine.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Another lookback; zero and `None` mean the engine's.
    pub lookback_delta: Option<Duration>,
    /// A shorter timeout; a longer one has no effect.
    pub timeout: Option<Duration>,
    /// Cancels the query.
    pub cancel: CancelToken,
    /// A place in the engine's [`Gate`] that was waited for before; else the call waits, blocking.
    pub place: Option<Arc<Place>>,
    /// Who asks, for observers.
    pub origin: Option<Arc<QueryOrigin>>,
    /// Whether everything is done on the calling thread, whatever the engine's executor: for work
    /// in the background, whose time counts less than the processor's.
    pub one_thread: bool,
    /// Whether to record a [`Profile`].
    pub profile: bool,
    /// Whether to count samples by step, which takes another two evaluations of each step.
    pub per_step_stats: bool,
}

/// What a query returned.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The value. Range queries return a matrix, sorted by labels; the order of an instant vector
    /// is that of the storage unless the query sorts it.
    pub value: QueryValue,
    /// Warnings and remarks.
    pub annotations: Annotations,
    /// What it took.
    pub stats: EngineStats,
    /// What each part of it took, where [`QueryOptions::profile`] asked for it.
    pub profile: Option<Profile>,
    context: QueryContext,
    /// Accounts for the memory of `value`.
    _held: Arc<Reservation>,
}

impl QueryResult {
    /// What the query carried: its budget, its deadline and whether it is cancelled, for the work
    /// that follows, as writing the value.
    #[must_use]
    pub const fn context(&self) -> &QueryContext {
        &self.context
    }
}

/// The switches that evaluation looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineFlags {
    pub(crate) delayed_name_removal: bool,
    pub(crate) type_and_unit_labels: bool,
    pub(crate) use_start_timestamps: bool,
}

/// Runs queries. Has no threads, and no state but its metrics ([`Collect`]) and the step of
/// subqueries; clones share them.
#[derive(Clone, Debug)]
pub struct Engine {
    options: Arc<EngineOptions>,
    metrics: Arc<EngineMetrics>,
    gate: Option<Gate>,
    /// Milliseconds; at first as the options say.
    subquery_step: Arc<AtomicI64>,
}

fn millis(step: Duration) -> i64 {
    i64::try_from(step.as_millis()).unwrap_or(i64::MAX)
}

impl Collect for Engine {
    fn collect(&self, out: &mut Families) {
        self.metrics.collect(out);
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(EngineOptions::default())
    }
}

impl Engine {
    /// An engine that works like this.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let gate = options.max_concurrency.map(Gate::new);
        let metrics = Arc::new(EngineMetrics::new(options.max_concurrency));
        let subquery_step = Arc::new(AtomicI64::new(millis(options.subquery_step)));
        Self { options: Arc::new(options), metrics, gate, subquery_step }
    }

    /// Changes the step of subqueries that give none, for queries from now on: a server's
    /// configuration says it, and may be reloaded.
    pub fn set_subquery_step(&self, step: Duration) {
        self.subquery_step.store(millis(step), Ordering::Relaxed);
    }

    /// What queries wait at, where their number is limited. A server waits here with
    /// [`Gate::enter`], without blocking a thread, and passes the place on in
    /// [`QueryOptions::place`].
    #[must_use]
    pub const fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// How it works.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates a query at one time. Blocks.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        storage: &dyn Queryable,
        query: &str,
        t: Timestamp,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        self.run(storage, Given::Text(query), Span::Instant(t), options)
    }

    /// [`Engine::instant`] of a query that was parsed before, as by a rule.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant_expr(
        &self,
        storage: &dyn Queryable,
        expr: &Expr,
        t: Timestamp,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        self.run(storage, Given::Parsed(expr), Span::Instant(t), options)
    }

    /// Evaluates a query at `start`, `start + step`, ... up to `end`. Blocks.
    ///
    /// # Errors
    /// See [`QueryError`]. The query must be a scalar or an instant vector; `step` is cut to
    /// milliseconds and must be positive.
    pub fn range(
        &self,
        storage: &dyn Queryable,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step <= 0 {
            return Err(execution(
                "zero or negative query resolution step widths are not accepted. Try a positive \
                 integer",
            ));
        }
        self.run(storage, Given::Text(query), Span::Range { start, end, step }, options)
    }

    fn run(
        &self,
        storage: &dyn Queryable,
        query: Given<'_>,
        span: Span,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let _running = self.metrics.running();
        let o = &*self.options;
        let timeout = options.timeout.map_or(o.timeout, |t| t.min(o.timeout));
        // The time that it waited is gone.
        let waited = options.place.as_ref().map_or(Duration::ZERO, |p| p.wait());
        let timeout = timeout.saturating_sub(waited);
        let mut ctx =
            QueryContext::new(Arc::clone(&o.clock), o.budget.child("query", o.query_bytes))
                .with_timeout(timeout);
        ctx.cancel = options.cancel.clone();
        let mut watch = Watch::new(&*o.clock);
        let parsed;
        let expr = match query {
            Given::Text(text) => {
                parsed = parse(text, &o.parser)?;
                &parsed
            }
            Given::Parsed(expr) => expr,
        };
        let lookback = options.lookback_delta.filter(|d| !d.is_zero()).unwrap_or(o.lookback_delta);
        let lookback = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        let plan = self.plan(expr, span, lookback)?;
        let stats = EngineStats { parse_time: watch.lap(), ..EngineStats::default() };
        let observed = Observed::new(&o.observers, query, span, options);
        let mut run = Run {
            engine: self,
            ctx: &ctx,
            expr,
            plan: &plan,
            span,
            lookback,
            text: if let Given::Text(text) = query { Some(text) } else { None },
            one_thread: options.one_thread,
            profile: options.profile,
            per_step: options.per_step_stats,
            stats,
            watch,
        };
        let result = match self.place(&ctx, options) {
            Ok(place) => {
                let slot = place.as_deref().map(Place::slot);
                run.queued(place.as_deref());
                observed.started(slot);
                let result = run.execute(storage);
                run.ended();
                self.metrics.observe(&run.stats);
                // The place is given on when the observers know of the end.
                observed.finished(slot, &run.stats, result.as_ref().err());
                result
            }
            Err(error) => {
                run.queued(None);
                run.ended();
                observed.finished(None, &run.stats, Some(&error));
                Err(error)
            }
        };
        let Executed { value, held, annotations, profile } = result?;
        let (stats, _held) = (run.stats, Arc::new(held));
        Ok(QueryResult { value, annotations, stats, profile, context: ctx, _held })
    }

    /// The query's place in the gate, if there is one.
    fn place(
        &self,
        ctx: &QueryContext,
        options: &QueryOptions,
    ) -> Result<Option<Arc<Place>>, QueryError> {
        match (&options.place, &self.gate) {
            (Some(place), _) => Ok(Some(Arc::clone(place))),
            (None, Some(gate)) => Ok(Some(Arc::new(gate.enter_blocking(ctx)?))),
            (None, None) => Ok(None),
        }
    }

    /// Checks a parsed query against the engine's options and makes its plan.
    fn plan(&self, expr: &Expr, span: Span, lookback: i64) -> Result<Plan, EvalError> {
        let o = &*self.options;
        self.check_modifiers(expr)?;
        if let Span::Range { .. } = span {
            let value_type = expr.value_type();
            if !matches!(value_type, ValueType::Vector | ValueType::Scalar) {
                return Err(execution(format!(
                    "invalid expression type \"{}\" for range query, must be Scalar or instant \
                     Vector",
                    value_type.documented()
                )));
            }
            let steps = span.grid().n;
            if o.max_steps.is_some_and(|max| steps > max) {
                return Err(execution(format!(
                    "exceeded maximum resolution of {} points per timeseries. Try decreasing the \
                     query resolution (?step=XX)",
                    o.max_steps.unwrap_or_default()
                )));
            }
        }
        let (start, end, step) = match span {
            Span::Instant(t) => (t, t, 0),
            Span::Range { start, end, step } => (start, end, step),
        };
        let subquery_step = self.subquery_step.load(Ordering::Relaxed);
        lower::lower(expr, Times { start, end, step, lookback, subquery_step })
    }

    fn check_modifiers(&self, expr: &Expr) -> Result<(), EvalError> {
        let o = &*self.options;
        if o.at_modifier && o.negative_offset {
            return Ok(());
        }
        let mut refused = None;
        expr.walk(&mut |expr| {
            let (at, offset) = match expr {
                Expr::Vector(v) => (v.at, &v.offset),
                Expr::Matrix(m) => (m.vector.at, &m.vector.offset),
                Expr::Subquery(s) => (s.at, &s.offset),
                _ => return,
            };
            if at.is_some() && !o.at_modifier {
                refused.get_or_insert("@ modifier is disabled");
            }
            if offset.as_millis().is_some_and(|ms| ms < 0) && !o.negative_offset {
                refused.get_or_insert("negative offset is disabled");
            }
        });
        refused.map_or(Ok(()), |text| Err(execution(text)))
    }

    /// Opens the storage and selects all series.
    fn prepare<'a>(
        &'a self,
        storage: &dyn Queryable,
        ctx: &'a QueryContext,
        plan: &'a Plan,
        lookback: i64,
        executor: &'a dyn Executor,
    ) -> Result<Evaluator<'a>, EvalError> {
        let o = &*self.options;
        // The place that Prometheus names before it begins.
        ctx.check().map_err(|error| match EvalError::from(error) {
            EvalError::Canceled(_) => EvalError::Canceled("query execution"),
            EvalError::TimedOut(_) => EvalError::TimedOut("query execution"),
            other => other,
        })?;
        let (mint, maxt) = plan.time_range(lookback);
        let querier = storage.querier(mint, maxt)?;
        let mut store = LabelStore::new()?;
        let mut annotations = Annotations::new();
        let sources = Source::select_all(
            &*querier,
            ctx,
            &plan.sources,
            executor,
            &mut store.interner,
            &mut annotations,
        )?;
        let label_memory = ctx.budget.reserve(store.bytes() as u64)?;
        Ok(Evaluator {
            label_memory,
            gathered: 0,
            plan,
            ctx,
            flags: EngineFlags {
                delayed_name_removal: o.delayed_name_removal,
                type_and_unit_labels: o.type_and_unit_labels,
                use_start_timestamps: o.use_start_timestamps,
            },
            executor,
            querier,
            lookback,
            store,
            sources,
            annotations,
            samples: Samples::new(o.max_samples),
            recorder: None,
        })
    }
}

impl Plan {
    /// Whether the whole query is a selector of a range vector.
    fn matrix_selector(&self) -> Option<usize> {
        match self.node(self.root).kind {
            Kind::Matrix(selector) => Some(selector),
            _ => None,
        }
    }
}

/// A query as it was given.
#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    Text(&'a str),
    Parsed(&'a Expr),
}

/// The times of a query.
#[derive(Clone, Copy, Debug)]
enum Span {
    Instant(Timestamp),
    Range { start: Timestamp, end: Timestamp, step: i64 },
}

impl Span {
    fn grid(self) -> Grid {
        match self {
            Self::Instant(t) => Grid::instant(t),
            Self::Range { start, end, step } => Grid::range(start, end, step),
        }
    }
}

/// What a query gave.
struct Executed {
    value: QueryValue,
    /// Accounts for the memory of `value`.
    held: Reservation,
    annotations: Annotations,
    profile: Option<Profile>,
}

/// A query on its way through the stages.
struct Run<'a> {
    engine: &'a Engine,
    ctx: &'a QueryContext,
    expr: &'a Expr,
    plan: &'a Plan,
    span: Span,
    lookback: i64,
    text: Option<&'a str>,
    one_thread: bool,
    profile: bool,
    per_step: bool,
    stats: EngineStats,
    watch: Watch<'a>,
}

impl Run<'_> {
    /// It has its place.
    fn queued(&mut self, place: Option<&Place>) {
        let waited_here = self.watch.lap();
        self.stats.queue_time = place.map_or(waited_here, |p| p.wait().max(waited_here));
    }

    fn execute(&mut self, storage: &dyn Queryable) -> Result<Executed, QueryError> {
        let (grid, instant) = (self.span.grid(), matches!(self.span, Span::Instant(_)));
        let executor: &dyn Executor =
            if self.one_thread { &Inline } else { &*self.engine.options.executor };
        let prepared = self.engine.prepare(storage, self.ctx, self.plan, self.lookback, executor);
        self.stats.preparation_time = self.watch.lap();
        let mut evaluator = prepared?;
        evaluator.recorder = self.profile.then(|| Box::new(Recorder::new(self.plan)));
        let evaluated = evaluator.top_level(self.expr, grid, instant);
        self.stats.evaluation_time = self.watch.lap();
        self.stats.count(&evaluator.samples);
        let evaluated = evaluated?;
        if self.per_step {
            self.stats.per_step = Some(evaluator.count_steps(self.expr, grid)?);
        }
        let value = evaluator.result(evaluated, grid, instant);
        self.stats.result_time = self.watch.lap();
        let profile = evaluator.profile(self.text);
        let (value, held) = value?;
        Ok(Executed { value, held, annotations: evaluator.annotations, profile })
    }

    /// It gave its result, or failed.
    fn ended(&mut self) {
        let s = &mut self.stats;
        // What happened after the last lap counts too.
        let _ = self.watch.lap();
        let waited_before = s.queue_time.saturating_sub(self.watch.total());
        s.total_time = self.watch.total().saturating_add(waited_before);
        s.run_time = s.total_time.saturating_sub(s.queue_time).saturating_sub(s.parse_time);
        s.peak_bytes = self.ctx.budget.peak();
        s.storage = Arc::clone(&self.ctx.stats);
    }
}

/// Tells the observers of a query.
struct Observed<'a> {
    observers: &'a [Arc<dyn QueryObserver>],
    text: std::borrow::Cow<'a, str>,
    span: Span,
    origin: Option<&'a QueryOrigin>,
}

impl<'a> Observed<'a> {
    fn new(
        observers: &'a [Arc<dyn QueryObserver>],
        query: Given<'a>,
        span: Span,
        options: &'a QueryOptions,
    ) -> Self {
        let text = match query {
            Given::Text(text) => text.into(),
            Given::Parsed(_) if observers.is_empty() => "".into(),
            Given::Parsed(expr) => expr.to_string().into(),
        };
        Self { observers, text, span, origin: options.origin.as_deref() }
    }

    fn query(&self, slot: Option<usize>) -> ObservedQuery<'_> {
        let (start, end, step) = match self.span {
            Span::Instant(t) => (t, t, 0),
            Span::Range { start, end, step } => (start, end, step),
        };
        ObservedQuery { text: &self.text, start, end, step, slot, origin: self.origin }
    }

    fn started(&self, slot: Option<usize>) {
        self.observers.iter().for_each(|o| o.started(&self.query(slot)));
    }

    fn finished(&self, slot: Option<usize>, stats: &EngineStats, error: Option<&QueryError>) {
        let outcome = QueryOutcome { stats, error };
        self.observers.iter().for_each(|o| o.finished(&self.query(slot), &outcome));
    }
}
