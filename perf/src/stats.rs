//! Latency histograms, and the few numbers that are printed of them.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart, in nanoseconds; longer ones count as this.
const LONGEST_NS: u64 = 120_000_000_000;

/// A histogram of nanoseconds, three significant digits.
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that hdrhistogram accepts.
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds"))
    }
}

/// What is printed of a histogram; microseconds, except for the count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many values were recorded.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Half were at most this.
    pub p50_us: f64,
    /// 99 of 100 were at most this.
    pub p99_us: f64,
    /// 999 of 1000 were at most this.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Latency {
    /// Records one value.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The numbers to print.
    pub fn summary(&self) -> Summary {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |q| us(self.0.value_at_quantile(q));
        Summary {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: us(self.0.max()),
        }
    }
}

/// `numerator / denominator`, or `None` where that says nothing.
pub fn per(numerator: f64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator / denominator as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|us| latency.record(us * 1000));
        let summary = latency.summary();
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 500.0;
        assert_eq!(summary.count, 1000);
        assert!(near(summary.mean_us, 500.5), "{summary:?}");
        assert!(near(summary.p50_us, 500.0) && near(summary.p99_us, 990.0), "{summary:?}");
        assert!(near(summary.p999_us, 999.0) && near(summary.max_us, 1000.0), "{summary:?}");
        latency.reset();
        assert_eq!(latency.summary().count, 0);
    }

    #[test]
    fn extremes_are_recorded() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.summary().count, 2);
    }

    #[test]
    fn nothing_per_nothing() {
        assert_eq!(per(5.0, 0), None);
        assert_eq!(per(5.0, 2), Some(2.5));
    }
}
