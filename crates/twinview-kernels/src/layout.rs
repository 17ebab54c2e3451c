//! Changes between whole images, `[image][channel][position]`, and the orders the products read: planes,
//! `[channel][position][image]`, and activations, `[position][16-channel block][image][16 channels]`.
//!
//! Values move in tiles of 16×16, so that every read and write is a run of neighbours.

use fearless_simd::{Level, Simd, dispatch, prelude::*};
use rayon::prelude::*;

use crate::normalise::Affine;
use crate::pack;
use crate::plan::{Chunk, rows};
use crate::tile::{LANES, Line};
use crate::transpose::transpose;
use crate::workspace::{Buffer, zeros};

/// A pixel as it lies in memory.
pub trait Pixel: Copy + Sync {
    /// What the first block computes with.
    fn value(self) -> f32;
}

/// Taken as it is.
impl Pixel for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

/// 0..=255 means 0 to 1.
impl Pixel for u8 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from(self) / 255.0
    }
}

/// Images as planes, chunk by chunk.
pub(crate) fn to_planes(level: Level, images: &[f32], features: usize, chunks: &[Chunk]) -> Buffer<f32> {
    let mut planes = Buffer::new(images.len());
    rows(&mut planes, chunks, 1, features).into_par_iter().with_max_len(1).for_each(|task| {
        let images = task.chunk.of(images, features);
        dispatch!(level, simd => chunk_to_planes(simd, images, features, task.data));
    });
    planes
}

/// Normalised activations, chunk by chunk, as images of `channels × positions`. `affines` has one for each group.
pub(crate) fn to_images(
    level: Level,
    channels: usize,
    positions: usize,
    values: &[Line],
    chunks: &[Chunk],
    affines: &[Affine],
) -> Vec<f32> {
    let lines: Vec<_> = affines.iter().map(|a| (pack::channels(&a.scale), pack::channels(&a.shift))).collect();
    let each = positions * channels.div_ceil(LANES);
    let mut images = zeros(values.len() / each * channels * positions);
    rows(&mut images, chunks, 1, channels * positions).into_par_iter().with_max_len(1).for_each(|task| {
        let (scale, shift) = &lines[task.chunk.group];
        let values = task.chunk.of(values, each);
        dispatch!(level, simd => chunk_to_images(simd, positions, values, scale, shift, task.data));
    });
    images
}

/// Images of one chunk as planes.
#[inline(always)]
pub(crate) fn chunk_to_planes<S: Simd, P: Pixel>(simd: S, images: &[P], features: usize, planes: &mut [f32]) {
    let rows = images.len() / features;
    // Behind the last image, lines of the tile are left over from earlier ones: they are columns that are not written.
    let (mut tile, mut columns) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
    for row in (0..rows).step_by(LANES) {
        let images = &images[row * features..features * rows.min(row + LANES)];
        for feature in (0..features).step_by(LANES) {
            for (line, image) in tile.iter_mut().zip(images.chunks_exact(features)) {
                *line = Line::of(&image[feature..], P::value);
            }
            transpose(simd, &tile, &mut columns);
            let planes = planes[feature * rows..].chunks_exact_mut(rows);
            for (plane, line) in planes.zip(&columns) {
                line.write(&mut plane[row..]);
            }
        }
    }
}

/// Activations of one chunk, normalised by `scale` and `shift`, as images.
#[inline(always)]
pub(crate) fn chunk_to_images<S: Simd>(
    simd: S,
    positions: usize,
    values: &[Line],
    scale: &[Line],
    shift: &[Line],
    images: &mut [f32],
) {
    let blocks = scale.len();
    let rows = values.len() / (positions * blocks);
    let (mut tile, mut columns) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
    // Block by block, so that only as many streams as there are positions are read at a time.
    for block in 0..blocks {
        let (scale, shift) = (scale[block].load(simd), shift[block].load(simd));
        for (row, image) in images.chunks_exact_mut(images.len() / rows).enumerate() {
            let image = &mut image[block * LANES * positions..];
            let value = |position: usize| values[(position * blocks + block) * rows + row].load(simd) * scale + shift;
            if positions == 1 {
                Line(value(0).to_array()).write(image);
                continue;
            }
            for position in (0..positions).step_by(LANES) {
                for (line, position) in tile.iter_mut().zip(position..positions) {
                    line.store(value(position));
                }
                transpose(simd, &tile, &mut columns);
                for (channel, line) in image.chunks_exact_mut(positions).zip(&columns) {
                    line.write(&mut channel[position..]);
                }
            }
        }
    }
}

/// Images as activations, chunk by chunk.
pub(crate) fn to_activations(
    level: Level,
    channels: usize,
    positions: usize,
    images: &[f32],
    chunks: &[Chunk],
) -> Buffer<Line> {
    let blocks = channels.div_ceil(LANES);
    let features = channels * positions;
    let mut values = Buffer::new(images.len() / features * positions * blocks);
    rows(&mut values, chunks, 1, positions * blocks).into_par_iter().with_max_len(1).for_each(|task| {
        let images = task.chunk.of(images, features);
        dispatch!(level, simd => {
            for block in 0..blocks {
                block_to_activations(simd, task.chunk.rows, positions, block, images, task.data);
            }
        });
    });
    values
}

/// One channel block of a chunk's `rows` images as activations. Lanes beyond the last channel are zero.
#[inline(always)]
pub(crate) fn block_to_activations<S: Simd, P: Pixel>(
    simd: S,
    rows: usize,
    positions: usize,
    block: usize,
    images: &[P],
    values: &mut [Line],
) {
    let blocks = values.len() / (positions * rows);
    let (mut tile, mut columns) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
    for (row, image) in images.chunks_exact(images.len() / rows).enumerate() {
        if positions == 1 {
            values[block * rows + row] = Line::of(&image[block * LANES..], P::value);
            continue;
        }
        for position in (0..positions).step_by(LANES) {
            let channels = image[block * LANES * positions..].chunks_exact(positions);
            for (line, channel) in tile.iter_mut().zip(channels) {
                *line = Line::of(&channel[position..], P::value);
            }
            transpose(simd, &tile, &mut columns);
            for (line, position) in columns.iter().zip(position..positions) {
                values[(position * blocks + block) * rows + row] = *line;
            }
        }
    }
}
