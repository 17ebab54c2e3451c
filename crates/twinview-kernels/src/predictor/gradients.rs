//! Gradients of a predictor's weights, and what the features' normalisation needs of them on the way back.

use fearless_simd::{Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use super::features::{Features, Grid};
use super::weights::Weights;
use crate::backward::GradientSums;
use crate::layout::to_activations;
use crate::product::{Panels, column_sums};
use crate::tile::{LANES, Line, block_products};
use crate::transpose::transpose;
use crate::workspace::{Buffer, for_gradient};

/// Bricks whose products with gradients are summed at once: each gradient that is fetched serves all of them.
const TOGETHER: usize = 4;

/// Gradients that need the features.
pub(super) struct WeightGradients {
    /// Of the weights into the bottleneck, `[features, bottleneck]`.
    pub(super) hidden: Vec<f32>,
    /// Of those out of it, `[bottleneck, features]`.
    pub(super) output: Vec<f32>,
    /// Of their biases, `[features]`.
    pub(super) bias: Vec<f32>,
    /// What the features' normalisation needs on the way back.
    pub(super) sums: GradientSums,
}

/// Gradients of the images' rows, which the features' products are summed with.
#[derive(Debug)]
pub(super) struct Left {
    /// `[chunk][block][image]`: the bottleneck's before normalisation, whole blocks of them, and behind them what meets the output's
    /// weights and bias.
    pub(super) lines: Buffer<Line>,
    /// Each group's sums.
    sums: Vec<Vec<f32>>,
    /// Columns of the bottleneck, filled up to whole blocks, and all columns.
    pub(super) inner: usize,
    columns: usize,
}

impl Left {
    /// From `rows`, `[row, column]`, of which `inner` columns are the bottleneck's.
    pub(super) fn new(features: &Features, rows: &[f32], columns: usize, inner: usize) -> Self {
        let groups = features.normalisations.len();
        let sums = rows.chunks_exact(rows.len() / groups).map(|rows| column_sums(rows, columns)).collect();
        Self { lines: to_activations(features.level, columns, 1, rows, features.chunks), sums, inner, columns }
    }

    pub(super) fn blocks(&self) -> usize {
        self.columns.div_ceil(LANES)
    }
}

impl Features<'_> {
    /// Gradients of the weights: `Σ left · features`, of which `squares · W` is taken off behind the bottleneck.
    pub(super) fn weight_gradients(&self, weights: &Weights, left: &Left, squares: &[f32]) -> WeightGradients {
        let (grid, groups) = (self.grid, self.normalisations.len());
        let Left { columns, inner, .. } = *left;
        let each = columns - inner;
        let squares = Panels::new(&squares.iter().map(|square| -square).collect::<Vec<_>>(), each);
        let mut hidden = for_gradient(grid.features() * (each - 1));
        let mut output = for_gradient((each - 1) * grid.features());
        let mut bias = for_gradient(grid.features());
        let mut sums = vec![[Line::ZERO; 2]; grid.bricks() * groups];
        // Tasks are of whole channel blocks, whose features lie together.
        let blocks = TOGETHER.div_ceil(grid.positions());
        let (bricks, features) = (blocks * grid.positions(), blocks * grid.positions() * LANES);
        let mut outputs: Vec<Vec<_>> = (0..grid.bricks().div_ceil(bricks)).map(|_| Vec::with_capacity(each)).collect();
        for row in output.chunks_exact_mut(grid.features()).chain([&mut bias[..]]) {
            outputs.iter_mut().zip(row.chunks_mut(features)).for_each(|(output, row)| output.push(row));
        }
        let tasks = hidden.par_chunks_mut(features * (each - 1)).zip(outputs).zip(sums.par_chunks_mut(bricks * groups));
        tasks.enumerate().with_max_len(1).for_each(|(task, ((hidden, mut output), sums))| {
            let mut lines: Buffer<Line> = Buffer::new(sums.len() / groups * columns);
            let parts = lines.par_chunks_mut(TOGETHER * columns).zip(sums.par_chunks_mut(TOGETHER * groups));
            parts.enumerate().with_max_len(1).for_each(|(part, (lines, sums))| {
                let first = task * bricks + part * TOGETHER;
                let outs = lines.chunks_exact_mut(columns).zip(sums.chunks_exact_mut(groups)).enumerate();
                let mut outs: Vec<_> =
                    outs.map(|(i, (lines, sums))| BrickGradients { brick: first + i, lines, sums }).collect();
                dispatch!(self.level, simd => {
                    for group in 0..groups {
                        self.add_gradients(simd, group, weights, left, &mut outs);
                    }
                    for BrickGradients { brick, lines, .. } in outs {
                        add_outer(simd, &squares, weights.output(brick), &mut lines[inner..]);
                    }
                });
            });
            dispatch!(self.level, simd => {
                hidden_rows(simd, grid, &lines, left, hidden);
                output_rows(simd, grid, &lines, left, &mut output);
            });
        });
        WeightGradients { hidden, output, bias, sums: self.sums_of_channels(&sums) }
    }

    /// Adds a group's part of the gradients of a few bricks.
    #[inline(always)]
    fn add_gradients<S: Simd>(
        &self,
        simd: S,
        group: usize,
        weights: &Weights,
        left: &Left,
        outs: &mut [BrickGradients],
    ) {
        let columns = left.blocks() * LANES;
        let normalisation = &self.normalisations[group];
        let of_brick = |lines: &[Line], brick: usize| lines[self.grid.block(brick)].load(simd);
        let chunks = || self.chunks.iter().filter(|chunk| chunk.group == group);
        let longest = chunks().map(|chunk| chunk.rows).max().unwrap_or(0);
        let mut products = Buffer::new(outs.len() * columns);
        let mut centred: Buffer<Line> = Buffer::new(outs.len() * longest);
        for (index, &chunk) in chunks().enumerate() {
            let centred = &mut centred[..outs.len() * chunk.rows];
            for (out, centred) in outs.iter().zip(centred.chunks_exact_mut(chunk.rows)) {
                let mean = of_brick(&normalisation.mean, out.brick);
                for (to, value) in centred.iter_mut().zip(self.brick(chunk, out.brick, 0..chunk.rows)) {
                    to.store(value.load(simd) - mean);
                }
            }
            for (block, lines) in chunk.of(&left.lines, left.blocks()).chunks_exact(chunk.rows).enumerate() {
                let products = products.chunks_exact_mut(columns);
                for (products, centred) in products.zip(centred.chunks_exact(chunk.rows)) {
                    let products = &mut products[block * LANES..][..in_block(left.columns, block)];
                    block_products(simd, index > 0, products, lines, centred);
                }
            }
        }
        let sums = &left.sums[group];
        for (out, products) in outs.iter_mut().zip(products.chunks_exact(columns)) {
            let [scale, shift] = [&normalisation.scale, &normalisation.shift].map(|lines| of_brick(lines, out.brick));
            let zero = f32x16::splat(simd, 0.0);
            let (mut plain, mut weighted) = (zero, zero);
            for ((weight, product), sum) in weights.hidden(out.brick).iter().zip(products).zip(sums) {
                let weight = weight.load(simd);
                plain = weight.mul_add(f32x16::splat(simd, *sum), plain);
                weighted = weight.mul_add(product.load(simd), weighted);
            }
            out.sums[group][0].store(plain);
            out.sums[group][1].store(weighted);
            for ((out, product), sum) in out.lines.iter_mut().zip(products).zip(sums) {
                let before = if group == 0 { zero } else { out.load(simd) };
                let shift = shift.mul_add(f32x16::splat(simd, *sum), before);
                out.store(product.load(simd).mul_add(scale, shift));
            }
        }
    }

    /// Sums by brick and group as sums by group and channel, `[group][2][channels]`.
    fn sums_of_channels(&self, bricks: &[[Line; 2]]) -> GradientSums {
        let (groups, channels) = (self.normalisations.len(), self.grid.blocks() * LANES);
        let mut totals = vec![vec![0.0; 2 * channels]; groups];
        for (brick, sums) in bricks.chunks_exact(groups).enumerate() {
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (totals, sums) in totals.chunks_exact_mut(channels).zip(sums) {
                    let totals = &mut totals[self.grid.block(brick) * LANES..];
                    totals.iter_mut().zip(sums.0).for_each(|(total, sum)| *total += f64::from(sum));
                }
            }
        }
        totals
    }
}

/// Gradients of the weights that meet a brick.
struct BrickGradients<'a> {
    brick: usize,
    /// In the order of [`Left`]'s columns.
    lines: &'a mut [Line],
    /// `Σ gradient` and `Σ gradient · (value − mean)` of each group.
    sums: &'a mut [[Line; 2]],
}

/// Adds `factors · weights` to the gradients of those out of the bottleneck.
#[inline(always)]
fn add_outer<S: Simd>(simd: S, factors: &Panels, weights: &[Line], out: &mut [Line]) {
    let each = out.len();
    let mut products = [Line::ZERO; LANES];
    let factors = factors.lines().chunks_exact(each.next_multiple_of(LANES));
    for (block, (out, factors)) in out.chunks_mut(LANES).zip(factors).enumerate() {
        let products = &mut products[..in_block(each, block)];
        block_products(simd, false, products, &factors[..each], weights);
        for (out, product) in out.iter_mut().zip(products) {
            out.store(out.load(simd) + product.load(simd));
        }
    }
}

/// The lines of some channel blocks' bricks as rows of the weights into the bottleneck, `[feature][bottleneck]`.
#[inline(always)]
fn hidden_rows<S: Simd>(simd: S, grid: Grid, lines: &[Line], left: &Left, out: &mut [f32]) {
    let (positions, channels) = (grid.positions(), left.columns - left.inner - 1);
    let mut columns = vec![Line::ZERO; left.inner];
    let of_blocks = out.chunks_mut(LANES * positions * channels).zip(lines.chunks_exact(positions * left.columns));
    for (out, lines) in of_blocks {
        for (position, lines) in lines.chunks_exact(left.columns).enumerate() {
            let tiles = lines[..left.inner].as_chunks().0;
            for (tile, columns) in tiles.iter().zip(columns.as_chunks_mut().0) {
                transpose(simd, tile, columns);
            }
            for (lane, row) in out.chunks_exact_mut(channels).skip(position).step_by(positions).enumerate() {
                for (block, line) in columns[lane..].iter().step_by(LANES).enumerate() {
                    line.write(&mut row[block * LANES..]);
                }
            }
        }
    }
}

/// The lines of some channel blocks' bricks as rows of the weights out of the bottleneck and the bias, of the blocks' features each.
#[inline(always)]
fn output_rows<S: Simd>(simd: S, grid: Grid, lines: &[Line], left: &Left, out: &mut [&mut [f32]]) {
    let positions = grid.positions();
    let mut columns = [Line::ZERO; LANES];
    for (block, lines) in lines.chunks_exact(positions * left.columns).enumerate() {
        for (row, out) in out.iter_mut().enumerate() {
            let out = &mut out[block * LANES * positions..];
            for (part, lines) in lines.chunks(LANES * left.columns).enumerate() {
                let mut tile = [Line::ZERO; LANES];
                let of_row = lines[left.inner + row..].iter().step_by(left.columns);
                tile.iter_mut().zip(of_row).for_each(|(to, line)| *to = *line);
                if positions == 1 {
                    tile[0].write(out);
                    continue;
                }
                transpose(simd, &tile, &mut columns);
                for (channel, line) in out.chunks_exact_mut(positions).zip(&columns) {
                    line.write(&mut channel[part * LANES..]);
                }
            }
        }
    }
}

/// Lines of the products of `block`, where there are so many `columns`: whole blocks but for a single column at the end.
fn in_block(columns: usize, block: usize) -> usize {
    if columns - block * LANES == 1 { 1 } else { LANES }
}
