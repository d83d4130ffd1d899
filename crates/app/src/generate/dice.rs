//! Randomness that is the same on every machine and in every version.

/// A generator of the SplitMix64 kind: each number is a bijective mix of a counter.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for one purpose (`kind`, `number`) under a seed; dice for different purposes are independent.
    pub fn of(seed: u64, kind: &str, number: u64) -> Self {
        let mut state = mix(seed);
        for byte in kind.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Self(mix(state ^ number))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias is below 2^-32 for any limit used here.
        ((u128::from(self.bits()) * u128::from(limit.max(1))) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// A waiting time with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    /// One of the entries, by weight.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, entries: &'a [(T, u32)]) -> &'a T {
        let total: u64 = entries.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (entry, weight) in entries {
            let weight = u64::from(*weight);
            if left < weight {
                return entry;
            }
            left -= weight;
        }
        &entries[0].0
    }
}

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_purpose_rolls_the_same_and_others_differ() {
        let roll = |seed, kind, number| Dice::of(seed, kind, number).bits();
        assert_eq!(roll(1, "visit", 7), roll(1, "visit", 7));
        let others = [
            roll(1, "visit", 7),
            roll(2, "visit", 7),
            roll(1, "user", 7),
            roll(1, "visit", 8),
        ];
        for (index, one) in others.iter().enumerate() {
            assert!(!others[index + 1..].contains(one));
        }
    }

    #[test]
    fn picks_follow_their_weights() {
        let mut dice = Dice::of(3, "test", 0);
        let entries = [("rare", 1), ("often", 9)];
        let often = (0..10_000).filter(|_| *dice.pick(&entries) == "often").count();
        assert!((8_800..9_200).contains(&often), "{often}");
        let mean = (0..10_000).map(|_| dice.exponential(30.0)).sum::<f64>() / 10_000.0;
        assert!((28.5..31.5).contains(&mean), "{mean}");
    }
}
