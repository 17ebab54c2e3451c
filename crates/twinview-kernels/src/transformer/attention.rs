//! Attention of a chunk's images, head by head. Every matrix lies as `[16-channel block][row][16 channels]`.

use fearless_simd::Simd;

use super::rows::{softmax, through_softmax};
use crate::tile::{Finish, LANES, Line, Start, Step, block_products, panel};
use crate::transpose::transpose;
use crate::workspace::Buffer;

/// What each image of a chunk has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) images: usize,
    /// Tokens of an image.
    pub(super) length: usize,
    /// Those of them, the first ones, that look at all: rows of the queries and of what they see.
    pub(super) queries: usize,
    /// Channel blocks of a token, and of a head.
    pub(super) blocks: usize,
    pub(super) head_blocks: usize,
}

/// What lies between the parts of one head of one image.
struct Scratch {
    /// Keys, and values, as the right side of products with queries: `[16-key block][channel]`, a line of keys each.
    across: Buffer<Line>,
    /// The same as the right side of products with shares: `[channel block][key]`, filled up with zeros.
    filled: Buffer<Line>,
    /// `[16-key block][query]`, a line of keys each.
    shares: Buffer<Line>,
    gradient: Buffer<Line>,
    /// Of one block of keys.
    sums: [Line; LANES],
}

impl Scratch {
    fn new(of: &Attention) -> Self {
        let (keys, shares) = (of.key_blocks() * of.head_blocks * LANES, of.key_blocks() * of.queries);
        Self {
            across: Buffer::new(keys),
            filled: Buffer::new(keys),
            shares: Buffer::new(shares),
            gradient: Buffer::new(shares),
            sums: [Line::ZERO; LANES],
        }
    }
}

/// One head of one image.
#[derive(Clone, Copy)]
struct Head {
    image: usize,
    first_block: usize,
}

impl Attention {
    fn key_blocks(&self) -> usize {
        self.length.div_ceil(LANES)
    }

    fn scale(&self) -> f32 {
        1.0 / ((self.head_blocks * LANES) as f32).sqrt()
    }

    fn heads(&self) -> impl Iterator<Item = Head> {
        let (blocks, each) = (self.blocks, self.head_blocks);
        (0..self.images)
            .flat_map(move |image| (0..blocks).step_by(each).map(move |first_block| Head { image, first_block }))
    }

    /// Where a head's rows of the queries, or of what they see, lie in its block `block`.
    fn of_queries(&self, head: Head, block: usize) -> std::ops::Range<usize> {
        let first = ((head.first_block + block) * self.images + head.image) * self.queries;
        first..first + self.queries
    }

    /// Where a head's keys lie in its block `block`.
    fn of_keys(&self, head: Head, block: usize) -> std::ops::Range<usize> {
        let first = ((head.first_block + block) * self.images + head.image) * self.length;
        first..first + self.length
    }

    /// Where a head's values lie in its block `block`.
    fn of_values(&self, head: Head, block: usize) -> std::ops::Range<usize> {
        self.of_keys(Head { first_block: self.blocks + head.first_block, ..head }, block)
    }

    /// What the queries see, from `queries` and `keys_values`, whose first half of blocks has the keys.
    pub(super) fn forward<S: Simd>(&self, simd: S, queries: &[Line], keys_values: &[Line], seen: &mut [Line]) {
        let mut scratch = Scratch::new(self);
        for head in self.heads() {
            self.shares(simd, head, queries, keys_values, &mut scratch);
            let Scratch { filled, shares, .. } = &mut scratch;
            self.fill(filled, |block| &keys_values[self.of_values(head, block)]);
            self.by_shares(simd, head, shares, filled, seen);
        }
    }

    /// How much of each value each query sees.
    fn shares<S: Simd>(&self, simd: S, head: Head, queries: &[Line], keys_values: &[Line], scratch: &mut Scratch) {
        let Scratch { across, shares, .. } = scratch;
        self.lay_across(simd, across, |block| &keys_values[self.of_keys(head, block)]);
        // So unlike that nothing is seen of what is no key.
        let absent = |key_block: usize| {
            let lane = |lane: usize| if key_block * LANES + lane < self.length { 0.0 } else { -1e30 };
            Line(std::array::from_fn(lane))
        };
        self.against_keys(simd, head, queries, across, absent, shares);
        softmax(simd, self.queries, self.scale(), shares);
    }

    /// `out = start + rows · across` for each block of keys, where `rows` lie as the queries do.
    fn against_keys<S: Simd>(
        &self,
        simd: S,
        head: Head,
        rows: &[Line],
        across: &[Line],
        start: impl Fn(usize) -> Line,
        out: &mut [Line],
    ) {
        let step = |block: usize| Step { source: &rows[self.of_queries(head, block)], weight: block * LANES };
        let steps: Vec<Step> = (0..self.head_blocks).map(step).collect();
        let panels = across.chunks_exact(self.head_blocks * LANES).zip(out.chunks_exact_mut(self.queries));
        for (key_block, (across, out)) in panels.enumerate() {
            panel(simd, Start::Same(start(key_block)), across, &steps, Finish::Keep, out);
        }
    }

    /// `out = shares · filled`, where `out` lies as the queries do.
    fn by_shares<S: Simd>(&self, simd: S, head: Head, shares: &[Line], filled: &[Line], out: &mut [Line]) {
        let step = |(key_block, source)| Step { source, weight: key_block * LANES };
        let steps: Vec<Step> = shares.chunks_exact(self.queries).enumerate().map(step).collect();
        for (block, filled) in filled.chunks_exact(self.key_blocks() * LANES).enumerate() {
            let out = &mut out[self.of_queries(head, block)];
            panel(simd, Start::Same(Line::ZERO), filled, &steps, Finish::Keep, out);
        }
    }

    fn lay_across<'a, S: Simd>(&self, simd: S, across: &mut [Line], rows: impl Fn(usize) -> &'a [Line]) {
        for block in 0..self.head_blocks {
            for (key_block, keys) in rows(block).chunks(LANES).enumerate() {
                let tile = key_block * self.head_blocks + block;
                lay_tile_across(simd, keys, &mut across.as_chunks_mut().0[tile]);
            }
        }
    }

    fn fill<'a>(&self, filled: &mut [Line], rows: impl Fn(usize) -> &'a [Line]) {
        for (block, filled) in filled.chunks_exact_mut(self.key_blocks() * LANES).enumerate() {
            filled[..self.length].copy_from_slice(rows(block));
            filled[self.length..].fill(Line::ZERO);
        }
    }

    /// Gradients of queries and of keys and values, from that of what was seen.
    pub(super) fn backward<S: Simd>(
        &self,
        simd: S,
        queries: &[Line],
        keys_values: &[Line],
        seen_gradient: &[Line],
        queries_gradient: &mut [Line],
        keys_values_gradient: &mut [Line],
    ) {
        let mut scratch = Scratch::new(self);
        for head in self.heads() {
            self.shares(simd, head, queries, keys_values, &mut scratch);
            let Scratch { across, filled, shares, gradient, sums } = &mut scratch;
            for block in 0..self.head_blocks {
                let values = &mut keys_values_gradient[self.of_values(head, block)];
                let seen = &seen_gradient[self.of_queries(head, block)];
                gather(simd, self.queries, shares, seen, sums, values);
            }
            self.lay_across(simd, across, |block| &keys_values[self.of_values(head, block)]);
            self.against_keys(simd, head, seen_gradient, across, |_| Line::ZERO, gradient);
            through_softmax(simd, self.queries, self.scale(), shares, gradient);
            self.fill(filled, |block| &keys_values[self.of_keys(head, block)]);
            self.by_shares(simd, head, gradient, filled, queries_gradient);
            for block in 0..self.head_blocks {
                let keys = &mut keys_values_gradient[self.of_keys(head, block)];
                gather(simd, self.queries, gradient, &queries[self.of_queries(head, block)], sums, keys);
            }
        }
    }
}

/// Up to sixteen rows as columns, with zeros for what is missing.
#[inline(never)]
fn lay_tile_across<S: Simd>(simd: S, rows: &[Line], columns: &mut [Line; LANES]) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut tile = [Line::ZERO; LANES];
            tile[..rows.len()].copy_from_slice(rows);
            transpose(simd, &tile, columns);
        },
    );
}

/// `out[key] = Σ shares[query][key] · right[query]`, with the key's lane in `shares`, `[16-key block][query]`.
fn gather<S: Simd>(
    simd: S,
    queries: usize,
    shares: &[Line],
    right: &[Line],
    sums: &mut [Line; LANES],
    out: &mut [Line],
) {
    for (shares, out) in shares.chunks_exact(queries).zip(out.chunks_mut(LANES)) {
        sums.fill(Line::ZERO);
        block_products(simd, true, sums, shares, right);
        out.copy_from_slice(&sums[..out.len()]);
    }
}
