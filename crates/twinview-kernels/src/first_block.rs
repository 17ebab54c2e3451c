//! The way back of the first block, whose input are images in planes.

use fearless_simd::{Simd, f32x16, prelude::*};

use crate::backward::{Inverse, Onward};
use crate::plan::{BlockShape, Chunk, TAPS};
use crate::tile::{LANES, Line, plane_products, tiles, with_rows};

/// Takes the gradient of the block's normalised values back through normalisation and ReLU and, while it is in the cache,
/// sums its products with the images: the gradients of weights and bias.
pub(crate) struct FirstBlock<'a> {
    pub(crate) shape: &'a BlockShape,
    pub(crate) planes: &'a [f32],
    pub(crate) values: &'a [Line],
    pub(crate) inverses: &'a [Inverse],
    /// Whether the images' gradient is asked for, which needs the convolution's output's.
    pub(crate) with_input: bool,
}

impl Onward for FirstBlock<'_> {
    /// `[output block][input channel][tap]`, a line each, and a line of the bias for each output block.
    fn sums(&self) -> usize {
        self.shape.out_blocks() * (self.panel() + 1) * LANES
    }

    fn is_kept(&self) -> bool {
        self.with_input
    }

    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, chunk: Chunk, height: usize, y: usize, gradient: &mut [Line], sums: &mut [f64]) {
        let (shape, panel, outputs, rows) = (self.shape, self.panel(), self.shape.out_blocks(), chunk.rows);
        let planes = chunk.of(self.planes, shape.in_features());
        let values = chunk.row(self.values, height, shape.out_width() * outputs, y);
        // A padding tap reads zeros, which keeps the tiles the same everywhere.
        let padding = vec![0.0; rows];
        let mut inputs = vec![&padding[..]; panel];
        let mut products = vec![Line::ZERO; outputs * panel];
        let (of_products, of_biases) = sums.split_at_mut(outputs * panel * LANES);
        let bricks = gradient.chunks_exact_mut(rows).zip(values.chunks_exact(rows));
        for (index, (gradient, values)) in bricks.enumerate() {
            let (x, output) = (index / outputs, index % outputs);
            if output == 0 {
                inputs.fill(&padding);
                for (tap, from) in shape.taps(y, x) {
                    for channel in 0..shape.in_channels {
                        let first = (channel * shape.in_positions() + from) * rows;
                        inputs[channel * TAPS + tap] = &planes[first..first + rows];
                    }
                }
            }
            let products = &mut products[output * panel..][..panel];
            let inverse = self.inverses[chunk.group].block(simd, output);
            let mut total = f32x16::splat(simd, 0.0);
            for (first, count) in tiles::<S>(panel) {
                let (inputs, products) = (&inputs[first..first + count], &mut products[first..first + count]);
                if first == 0 {
                    // Taken back by the first tile: the values are fetched from memory while there is much to compute.
                    with_rows!(S, count, R => plane_products::<S, R>(
                        simd,
                        products,
                        inputs,
                        #[inline(always)]
                        |n| {
                            let back = inverse.apply(gradient[n].load(simd), values[n].load(simd));
                            total += back;
                            gradient[n].store(back);
                            back
                        },
                    ));
                } else {
                    with_rows!(S, count, R => plane_products::<S, R>(
                        simd,
                        products,
                        inputs,
                        #[inline(always)]
                        |n| gradient[n].load(simd),
                    ));
                }
            }
            for (sum, value) in of_biases[output * LANES..].iter_mut().zip(total.to_array()) {
                *sum += f64::from(value);
            }
        }
        for (sums, product) in of_products.chunks_exact_mut(LANES).zip(&products) {
            sums.iter_mut().zip(product.0).for_each(|(sum, product)| *sum += f64::from(product));
        }
    }
}

impl FirstBlock<'_> {
    /// Weights of an output channel.
    fn panel(&self) -> usize {
        self.shape.in_channels * TAPS
    }
}

/// Gradients of the weights `[out, in, 3, 3]` and of the bias, from the sums of all rows.
pub(crate) fn gradients(shape: &BlockShape, rows: &[f64]) -> (Vec<f32>, Vec<f32>) {
    let panel = shape.in_channels * TAPS;
    let mut totals = vec![0.0; shape.out_blocks() * (panel + 1) * LANES];
    for row in rows.chunks_exact(totals.len()) {
        totals.iter_mut().zip(row).for_each(|(total, sum)| *total += sum);
    }
    let (products, biases) = totals.split_at(shape.out_blocks() * panel * LANES);
    let weight = |index: usize| {
        let (output, i) = (index / panel, index % panel);
        products[(output / LANES * panel + i) * LANES + output % LANES] as f32
    };
    let weights = (0..shape.out_channels * panel).map(weight).collect();
    (weights, biases[..shape.out_channels].iter().map(|&bias| bias as f32).collect())
}
