//! What a difference of times is worth: medians of pairs, and how far chance alone moves them.

use serde::Serialize;

/// What is left of chance in 95 of 100 measurements.
const CHANCE: f64 = 0.025;
/// Smaller differences interest nobody, whatever the machine can resolve.
const WORTH_TELLING: f64 = 0.01;

/// A median of ratios, and between which bounds that of an endless measurement lies in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The second takes less time.
    Faster,
    /// The second takes more time.
    Slower,
    /// No difference beyond what the first shows against itself, loaded anew.
    Same,
}

// === impl Ratio ===

impl Ratio {
    /// Of these ratios. The bounds are order statistics: nothing is assumed of how times are spread.
    pub(crate) fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        let at = |index: usize| ratios.get(index).copied().unwrap_or(1.0);
        let count = ratios.len();
        let below = rank(count);
        Self {
            median: (at(count / 2) + at(count.saturating_sub(1) / 2)) / 2.0,
            low: at(below),
            high: at(count.saturating_sub(below + 1)),
        }
    }

    /// Compared with what the first of both shows against itself.
    pub(crate) fn verdict(self, noise: Self) -> Verdict {
        let margin = (noise.high - 1.0).abs().max((1.0 - noise.low).abs()).max(WORTH_TELLING);
        if self.high < 1.0 - margin {
            Verdict::Faster
        } else if self.low > 1.0 + margin {
            Verdict::Slower
        } else {
            Verdict::Same
        }
    }
}

/// So many of the smallest, and of the largest, lie outside of the bounds of the median.
fn rank(count: usize) -> usize {
    let (mut probability, mut sum) = (0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0);
    for taken in 0..count {
        sum += probability;
        if sum > CHANCE {
            return taken.saturating_sub(1);
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of some dozens")]
        let factor = (count - taken) as f64 / (taken + 1) as f64;
        probability *= factor;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_median_are_those_of_the_tables() {
        // Tables of the sign test, two-sided, 5 %.
        for (count, outside) in [(6, 0), (10, 1), (20, 5), (40, 13)] {
            assert_eq!(rank(count), outside, "{count}");
        }
    }

    #[test]
    fn a_difference_within_the_noise_is_none() {
        // Six loads of one file, as they were measured: each steady by itself, and another one elsewhere in memory.
        let noise = Ratio::of(vec![0.985, 1.012, 0.994, 1.021, 1.003, 0.988]);
        assert_eq!((noise.low, noise.high), (0.985, 1.021));
        let same = Ratio::of(vec![1.016, 1.009, 1.017, 1.003, 0.998, 1.011]);
        assert_eq!(same.verdict(noise), Verdict::Same);
        let slower = Ratio::of(vec![1.066, 1.059, 1.067, 1.053, 1.048, 1.061]);
        assert_eq!(slower.verdict(noise), Verdict::Slower);

        let around = |middle: f64, spread: f64| {
            Ratio::of((0..40).map(|at| middle + spread * (f64::from(at) / 39.0 - 0.5)).collect())
        };
        let noise = around(1.0, 0.2);
        assert_eq!(around(1.02, 0.2).verdict(noise), Verdict::Same);
        assert_eq!(around(1.5, 0.2).verdict(noise), Verdict::Slower);
        assert_eq!(around(0.6, 0.2).verdict(noise), Verdict::Faster);
        let calm = around(1.0, 0.002);
        assert_eq!(around(1.005, 0.002).verdict(calm), Verdict::Same, "not worth telling");
        assert_eq!(around(1.03, 0.002).verdict(calm), Verdict::Slower);
    }
}
