//! One chunk of images through one block, and back. Every matrix lies as `[16-channel block][row][16 channels]`.

use std::borrow::Cow;

use fearless_simd::Simd;

use super::attention::Attention;
use super::network::{Linear, Packed, Sizes, Values};
use super::rows::{add_rows, gelu, normalise, through_gelu, through_normalisation};
use crate::product::{panels_by_steps, steps};
use crate::tile::{LANES, Line, Start, Step, block_products};
use crate::workspace::Buffer;

/// A chunk as one block sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) sizes: &'a Sizes,
    pub(super) images: usize,
    /// Tokens of an image that the block's results are asked for, the first ones: all or one.
    pub(super) asked: usize,
}

/// What the way back needs of the way forward.
pub(super) struct Tape<T> {
    /// What came in.
    pub(super) input: T,
    pub(super) queries: T,
    pub(super) keys_values: T,
    /// What the heads saw.
    pub(super) seen: T,
    /// Behind the attention.
    pub(super) middle: T,
    /// Before the GELU.
    pub(super) hidden: T,
}

impl Tape<usize> {
    /// Lines of all.
    pub(super) fn lines(&self) -> usize {
        let Self { input, queries, keys_values, seen, middle, hidden } = self;
        input + queries + keys_values + seen + middle + hidden
    }

    /// The parts that `lines` has one behind the other.
    pub(super) fn of<'a>(&self, mut lines: &'a [Line]) -> Tape<&'a [Line]> {
        self.map(|count| lines.split_off(..count).expect("lines of all"))
    }

    /// The same to write to.
    pub(super) fn of_mut<'a>(&self, mut lines: &'a mut [Line]) -> Tape<&'a mut [Line]> {
        self.map(|count| lines.split_off_mut(..count).expect("lines of all"))
    }

    fn map<T>(&self, mut part: impl FnMut(usize) -> T) -> Tape<T> {
        Tape {
            input: part(self.input),
            queries: part(self.queries),
            keys_values: part(self.keys_values),
            seen: part(self.seen),
            middle: part(self.middle),
            hidden: part(self.hidden),
        }
    }
}

impl Part<'_> {
    /// Rows that come in.
    pub(super) fn rows(&self) -> usize {
        self.images * self.sizes.length
    }

    /// Rows that are asked for.
    pub(super) fn asked_rows(&self) -> usize {
        self.images * self.asked
    }

    fn blocks(&self) -> usize {
        self.sizes.width / LANES
    }

    fn hidden_blocks(&self) -> usize {
        self.sizes.hidden / LANES
    }

    /// Lines of the parts of a tape.
    pub(super) fn tape(&self) -> Tape<usize> {
        let (all, asked) = (self.blocks() * self.rows(), self.blocks() * self.asked_rows());
        let hidden = self.hidden_blocks() * self.asked_rows();
        Tape { input: all, queries: asked, keys_values: 2 * all, seen: asked, middle: asked, hidden }
    }

    fn attention(&self) -> Attention {
        Attention {
            images: self.images,
            length: self.sizes.length,
            queries: self.asked,
            blocks: self.blocks(),
            head_blocks: self.sizes.head / LANES,
        }
    }

    /// The rows of `matrix` that are asked for.
    fn of_asked<'a>(&self, matrix: &'a [Line]) -> Cow<'a, [Line]> {
        match self.asked == self.sizes.length {
            true => Cow::Borrowed(matrix),
            false => matrix.chunks_exact(self.sizes.length).flat_map(|image| &image[..self.asked]).copied().collect(),
        }
    }

    /// What the block makes of `tape.input`, to `out`, `[channel block][asked row]`. Fills the tape.
    pub(super) fn forward<S: Simd>(&self, simd: S, block: &Packed, tape: &mut Tape<&mut [Line]>, out: &mut [Line]) {
        let Values { norm1, qkv, proj, norm2, fc1, fc2 } = block;
        let (rows, asked, width) = (self.rows(), self.asked_rows(), self.sizes.width);
        let mut normal = Buffer::new(tape.input.len());
        normalise(simd, rows, tape.input, &norm1.gamma, &norm1.beta, self.sizes.epsilon, &mut normal);
        let (of_queries, others) = qkv.weight.lines().split_at(self.blocks() * width);
        let bias = |block: usize| Start::Same(qkv.bias[block]);
        panels_by_steps(simd, bias, &steps(&self.of_asked(&normal), asked), of_queries, asked, tape.queries);
        let bias = |block: usize| Start::Same(qkv.bias[self.blocks() + block]);
        panels_by_steps(simd, bias, &steps(&normal, rows), others, rows, tape.keys_values);
        self.attention().forward(simd, tape.queries, tape.keys_values, tape.seen);
        let input = self.of_asked(tape.input);
        let start = |block: usize| Start::Biased(&input[block * asked..][..asked], proj.bias[block]);
        panels_by_steps(simd, start, &steps(tape.seen, asked), proj.weight.lines(), asked, tape.middle);

        let normal = &mut normal[..tape.middle.len()];
        normalise(simd, asked, tape.middle, &norm2.gamma, &norm2.beta, self.sizes.epsilon, normal);
        let bias = |block: usize| Start::Same(fc1.bias[block]);
        panels_by_steps(simd, bias, &steps(normal, asked), fc1.weight.lines(), asked, tape.hidden);
        let mut active = Buffer::new(tape.hidden.len());
        gelu(simd, tape.hidden, &mut active);
        let start = |block: usize| Start::Biased(&tape.middle[block * asked..][..asked], fc2.bias[block]);
        panels_by_steps(simd, start, &steps(&active, asked), fc2.weight.lines(), asked, out);
    }

    /// Gradient of the input, `[channel block][row]`, from that of what the block made. Adds those of the parameters to `sums`, of
    /// matrices as `[input block][output block][16 inputs]`. The weights of `block` are transposed.
    pub(super) fn backward<S: Simd>(
        &self,
        simd: S,
        block: &Packed,
        tape: &Tape<&[Line]>,
        out_gradient: Buffer<Line>,
        sums: &mut Values<&mut [Line], &mut [Line]>,
    ) -> Buffer<Line> {
        let Values { norm1, qkv, proj, norm2, fc1, fc2 } = block;
        let (rows, asked, width, epsilon) = (self.rows(), self.asked_rows(), self.sizes.width, self.sizes.epsilon);
        let zero = |_: usize| Start::Same(Line::ZERO);

        // The two layers, and past them.
        let mut hidden = Buffer::new(tape.hidden.len());
        panels_by_steps(simd, zero, &steps(&out_gradient, asked), fc2.weight.lines(), asked, &mut hidden);
        let mut active = Buffer::new(tape.hidden.len());
        through_gelu(simd, tape.hidden, &mut hidden, &mut active);
        add_linear(simd, asked, &active, &out_gradient, &mut sums.fc2);
        let mut normal = Buffer::new(tape.input.len());
        let asked_normal = &mut normal[..tape.middle.len()];
        normalise(simd, asked, tape.middle, &norm2.gamma, &norm2.beta, epsilon, asked_normal);
        add_linear(simd, asked, asked_normal, &hidden, &mut sums.fc1);
        let mut back = Buffer::new(tape.input.len());
        let asked_back = &mut back[..tape.middle.len()];
        panels_by_steps(simd, zero, &steps(&hidden, asked), fc1.weight.lines(), asked, asked_back);
        let mut middle = out_gradient;
        let sums2 = &mut sums.norm2;
        through_normalisation(simd, asked, tape.middle, &norm2.gamma, epsilon, asked_back, sums2, &mut middle);

        // The attention, and past it.
        add_linear(simd, asked, tape.seen, &middle, &mut sums.proj);
        panels_by_steps(simd, zero, &steps(&middle, asked), proj.weight.lines(), asked, asked_back);
        let (mut queries, mut others) = (Buffer::new(tape.queries.len()), Buffer::new(tape.keys_values.len()));
        let attention = self.attention();
        attention.backward(simd, tape.queries, tape.keys_values, asked_back, &mut queries, &mut others);
        normalise(simd, rows, tape.input, &norm1.gamma, &norm1.beta, epsilon, &mut normal);
        add_products(simd, asked, &self.of_asked(&normal), &queries, (0, 3 * self.blocks()), sums.qkv.weight);
        add_products(simd, rows, &normal, &others, (self.blocks(), 3 * self.blocks()), sums.qkv.weight);
        add_rows(simd, asked, &queries, &mut sums.qkv.bias[..self.blocks()]);
        add_rows(simd, rows, &others, &mut sums.qkv.bias[self.blocks()..]);
        // Each panel of the weights has the queries' lines first.
        let of_queries = steps(&queries, asked);
        let mut all: Vec<Step> = steps(&others, rows);
        all.iter_mut().for_each(|step| step.weight += width);
        if self.asked == self.sizes.length {
            all.extend(of_queries);
            panels_by_steps(simd, zero, &all, qkv.weight.lines(), rows, &mut back);
        } else {
            panels_by_steps(simd, zero, &all, qkv.weight.lines(), rows, &mut back);
            let mut asked_back = Buffer::new(middle.len());
            panels_by_steps(simd, zero, &of_queries, qkv.weight.lines(), asked, &mut asked_back);
            self.add_to_asked(&asked_back, &mut back);
        }
        let mut input = Buffer::new(tape.input.len());
        if self.asked == self.sizes.length {
            input.copy_from_slice(&middle);
        } else {
            input.fill(Line::ZERO);
            self.add_to_asked(&middle, &mut input);
        }
        let sums1 = &mut sums.norm1;
        through_normalisation(simd, rows, tape.input, &norm1.gamma, epsilon, &back, sums1, &mut input);
        input
    }

    /// Adds to the rows of `matrix` that are asked for.
    fn add_to_asked(&self, asked: &[Line], matrix: &mut [Line]) {
        let images = matrix.chunks_exact_mut(self.sizes.length).zip(asked.chunks_exact(self.asked));
        for (to, from) in images.flat_map(|(matrix, asked)| matrix.iter_mut().zip(asked)) {
            to.0.iter_mut().zip(from.0).for_each(|(to, from)| *to += from);
        }
    }
}

/// Adds the gradients of a linear layer, from its input and the gradient of its output.
fn add_linear<S: Simd>(
    simd: S,
    rows: usize,
    input: &[Line],
    gradient: &[Line],
    sums: &mut Linear<&mut [Line], &mut [Line]>,
) {
    add_products(simd, rows, input, gradient, (0, gradient.len() / rows), sums.weight);
    add_rows(simd, rows, gradient, sums.bias);
}

/// Adds `leftᵀ · right` to `sums`, `[left block][right block][16]`, of whose right blocks those of `right` begin at the first
/// number, and there are the second in all.
fn add_products<S: Simd>(
    simd: S,
    rows: usize,
    left: &[Line],
    right: &[Line],
    (first, blocks): (usize, usize),
    sums: &mut [Line],
) {
    for (left, sums) in left.chunks_exact(rows).zip(sums.chunks_exact_mut(blocks * LANES)) {
        let sums = sums[first * LANES..].chunks_exact_mut(LANES);
        for (right, sums) in right.chunks_exact(rows).zip(sums) {
            block_products(simd, true, sums, left, right);
        }
    }
}
