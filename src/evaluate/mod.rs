//! How good an answer is: a replay of each user's log, question by question, over any [`Predictor`].
//!
//! [`Predictor`]: crate::predict::Predictor

mod as_shipped;
mod expected;
mod figure;
mod html;
mod intervals;
mod latency;
mod metrics;
mod replay;
pub mod report;
mod routing;
mod text;

pub use as_shipped::{LearningCurve, LearningPoint, LearningTime, test_as_shipped};
pub use expected::Expected;
pub use intervals::Interval;
pub(crate) use intervals::difference_intervals;
pub use latency::{AnswerLatency, CLOCK, Latencies, Latency, measure_answers, measure_latency};
pub use metrics::{Metrics, Outcome, calibration_curve, choose_threshold, coverage_curve};
pub(crate) use replay::catch_panic;
pub use replay::{Protocol, TestResult, TestedPredictor, fit_temperature, test_predictor};
pub use report::{ExpectedMetrics, ModelReport, Regret, Report, SubsetMetrics};
pub use routing::{
    CostPoint, GateBin, GateReport, LearningPeriod, PairedDifferences, ROUTER, ROUTER_FULL, ROUTER_SHARED,
    RoutedTest, RoutingPoint, RoutingReport, TestedExperts, fit_router, test_router,
};
