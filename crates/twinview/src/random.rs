//! Counter-based random numbers.
//!
//! Every draw is a pure function of (seed, purpose, epoch, sample, view, position), so results do not
//! depend on the number of threads, on the order of work, or on where a run was interrupted: there is no
//! generator state to save.
//!
//! The generator is Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11).
//!
//! ```
//! use twinview::random::{Purpose, Stream};
//!
//! let views = Stream::new(42, Purpose::View);
//! let draw = |sample| views.at(0, sample, 1).uniform();
//! let first = draw(7);
//! assert_ne!(draw(8), first);
//! assert_eq!(draw(7), first); // whatever was drawn in between
//! ```

/// What a stream is for. Two purposes never share a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// The order of the samples in an epoch.
    Shuffle = 1,
    /// The random choices of the views.
    View = 2,
    /// Initial weights.
    Init = 3,
    /// Subsets and validation splits.
    Subset = 4,
    /// The built-in shapes dataset.
    Shapes = 5,
    /// UMAP's layout.
    Umap = 6,
    /// Dropout, Gaussian noise and the like inside a network.
    Network = 7,
    /// Resampling in statistics.
    Resample = 8,
    /// Which images a figure shows.
    Figure = 9,
}

/// All draws of one purpose under one seed; [`Stream::at`] opens the draws of one sample.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: [u32; 2],
    purpose: u32,
}

impl Stream {
    /// The stream of `purpose` under `seed`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], purpose: purpose as u32 }
    }

    /// The draws of `view` of `sample` in `epoch`. Any of the three may be 0 where it means nothing.
    ///
    /// `epoch` counts below 2^20, `view` below 2^8 and `sample` below 2^32; a generator gives 2^32 blocks
    /// of four numbers before it repeats.
    pub fn at(&self, epoch: u64, sample: u64, view: u64) -> Random {
        debug_assert!(epoch < 1 << 20 && view < 1 << 8 && sample < 1 << 32);
        let place = (epoch as u32) << 12 | (view as u32) << 4 | self.purpose;
        Random { key: self.key, counter: [0, sample as u32, place, 0], block: [0; 4], used: 4 }
    }
}

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Random {
    /// A uniform 32-bit number.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A uniform number in `[0, 1)`, a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// A uniform number in `[low, high)`.
    pub fn uniform_in(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// A uniform whole number in `0..bound`, without bias (Lemire 2019, "Fast random integer generation in
    /// an interval").
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "a draw below 0 does not exist");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// `true` with probability `probability`.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` into a uniform random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// One block of Philox4x32-10.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let left = MULTIPLIERS[0] * u64::from(counter[0]);
        let right = MULTIPLIERS[1] * u64::from(counter[2]);
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors that ship with Random123.
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn streams_differ_in_every_coordinate() {
        let draw = |seed, purpose, epoch, sample, view| Stream::new(seed, purpose).at(epoch, sample, view).next_u32();
        let base = draw(1, Purpose::View, 2, 3, 4);
        assert_eq!(base, draw(1, Purpose::View, 2, 3, 4));
        assert_ne!(base, draw(2, Purpose::View, 2, 3, 4));
        assert_ne!(base, draw(1, Purpose::Init, 2, 3, 4));
        assert_ne!(base, draw(1, Purpose::View, 3, 3, 4));
        assert_ne!(base, draw(1, Purpose::View, 2, 4, 4));
        assert_ne!(base, draw(1, Purpose::View, 2, 3, 5));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Stream::new(7, Purpose::Resample).at(0, 0, 0);
        let count = 100_000;
        let uniform: f64 = (0..count).map(|_| f64::from(random.uniform())).sum::<f64>() / f64::from(count);
        assert!((uniform - 0.5).abs() < 0.005, "{uniform}");
        let normals: Vec<f64> = (0..count).map(|_| f64::from(random.normal())).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(count);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(count);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let mut counts = [0; 6];
        (0..count).for_each(|_| counts[random.below(6) as usize] += 1);
        assert!(counts.iter().all(|&c: &i32| (c - count / 6).abs() < 600), "{counts:?}");
    }
}
