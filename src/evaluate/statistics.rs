//! How sure a rate of few trials is.

use serde::Serialize;

/// A rate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The rate, from 0 to 1.
    pub rate: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
}

/// The Wilson score interval for `successes` of `trials`, at 95 %: unlike the usual one it is right
/// for few trials and near 0 and 1. `None` for no trials.
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// JASA 22 (1927).
pub fn wilson(successes: usize, trials: usize) -> Option<Interval> {
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let rate = successes as f64 / n;
    let z2 = Z * Z;
    let middle = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    let bounded = |x: f64| x.clamp(0.0, 1.0);
    Some(Interval { rate, low: bounded(middle - half), high: bounded(middle + half) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_intervals() {
        // Agresti and Coull (1998), and R's prop.test(..., correct = FALSE).
        for (successes, trials, low, high) in
            [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (2, 4, 0.15, 0.85)]
        {
            let found = wilson(successes, trials).unwrap();
            assert!((found.low - low).abs() < 5e-4 && (found.high - high).abs() < 5e-4, "{found:?}");
        }
        assert_eq!(wilson(0, 0), None);
    }
}
