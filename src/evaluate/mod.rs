//! How good an answer is: a replay of each user's log, question by question, over any [`Predictor`].
//!
//! [`Predictor`]: crate::predict::Predictor

mod html;
mod intervals;
mod metrics;
mod replay;
pub mod report;
mod routing;

pub use intervals::Interval;
pub(crate) use intervals::difference_intervals;
pub use metrics::{Metrics, Outcome, calibration_curve, choose_threshold, coverage_curve};
pub use replay::{Contender, Latencies, Latency, Protocol, Tested, fit_temperature, measure_latency, test};
pub use report::{ModelReport, Report};
pub use routing::{
    Against, GateBin, GateReport, Learned, Paid, Pair, ROUTER, ROUTER_FULL, ROUTER_SHARED, Routed,
    RoutedTest, RoutingReport, fit_router, test_router,
};
