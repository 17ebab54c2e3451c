//! Inner products of every query with every reference, in blocks that stay in the caches.
//!
//! The scheme is that of Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication":
//! both sides are packed so that a register tile of 6 queries by 16 references reads them in order.
//! Every product is summed in the same order wherever it stands, so equal rows get equal bits.

use fearless_simd::{Level, Simd, dispatch, f32x8, prelude::*};

/// Queries and references of a register tile: 12 of AVX2's 16 registers hold its sums.
const TILE_QUERIES: usize = 6;
pub(super) const TILE_REFERENCES: usize = 16;
/// Queries worked on together; with [`DEPTH`] and [`PANELS`] this keeps sums and queries in 512 KiB of cache.
pub(super) const BLOCK: usize = 96;
/// Columns summed before moving on: a reference panel of this depth fills half of a 32 KiB cache.
const DEPTH: usize = 256;
/// Reference panels that share one sweep over the packed queries.
const PANELS: usize = 16;

type Sums = [[f32; TILE_REFERENCES]; TILE_QUERIES];

/// References, packed for products with any number of query blocks.
pub(super) struct References {
    columns: usize,
    /// `[panels, columns, TILE_REFERENCES]`.
    packed: Vec<f32>,
    /// Half of each squared length; infinite for the rows that only fill the last panel.
    half_squares: Vec<f32>,
}

impl References {
    /// Packs `rows` rows of `columns` numbers; `fill(row, target)` writes one.
    pub(super) fn pack(rows: usize, columns: usize, fill: impl Fn(usize, &mut [f32])) -> Self {
        let panels = rows.div_ceil(TILE_REFERENCES);
        let mut packed = vec![0.0; panels * columns * TILE_REFERENCES];
        let mut half_squares = vec![f32::INFINITY; panels * TILE_REFERENCES];
        let mut row = vec![0.0; columns];
        for (index, half_square) in half_squares.iter_mut().enumerate().take(rows) {
            fill(index, &mut row);
            let (panel, lane) = (index / TILE_REFERENCES, index % TILE_REFERENCES);
            let panel = &mut packed[panel * columns * TILE_REFERENCES..];
            row.iter().enumerate().for_each(|(column, &value)| panel[column * TILE_REFERENCES + lane] = value);
            *half_square = (row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / 2.0) as f32;
        }
        Self { columns, packed, half_squares }
    }

    /// Scores all references against `queries` rows (at most [`BLOCK`]), which `fill(row, target)` writes.
    ///
    /// The score is `|y|² / 2 - x·y`: it orders references `y` as their Euclidean distance to the query `x`
    /// does. `visit(query, first_reference, scores)` gets them in ascending order of reference for each
    /// query; rows past the last reference score infinity.
    pub(super) fn score(
        &self,
        queries: usize,
        fill: impl Fn(usize, &mut [f32]),
        mut visit: impl FnMut(usize, usize, &[f32; TILE_REFERENCES]),
    ) {
        debug_assert!(queries <= BLOCK);
        let tiles = queries.div_ceil(TILE_QUERIES);
        let mut packed = vec![0.0; tiles * TILE_QUERIES * self.columns];
        let mut row = vec![0.0; self.columns];
        for query in 0..queries {
            fill(query, &mut row);
            let tile = &mut packed[query / TILE_QUERIES * TILE_QUERIES * self.columns..];
            let lane = query % TILE_QUERIES;
            row.iter().enumerate().for_each(|(column, &value)| tile[column * TILE_QUERIES + lane] = value);
        }
        let level = Level::new();
        let mut sums: Vec<Sums> = vec![[[0.0; TILE_REFERENCES]; TILE_QUERIES]; PANELS * tiles];
        let sweep = PANELS * self.columns * TILE_REFERENCES;
        for (group, panels) in self.packed.chunks(sweep).enumerate() {
            sums.fill([[0.0; TILE_REFERENCES]; TILE_QUERIES]);
            dispatch!(level, simd => multiply(simd, self.columns, &packed, panels, &mut sums));
            let panel_count = panels.len() / (self.columns * TILE_REFERENCES);
            for (panel, sums) in sums.chunks(tiles).take(panel_count).enumerate() {
                let first = (group * PANELS + panel) * TILE_REFERENCES;
                let half_squares = &self.half_squares[first..][..TILE_REFERENCES];
                for (query, products) in sums.as_flattened().iter().take(queries).enumerate() {
                    visit(query, first, &std::array::from_fn(|lane| half_squares[lane] - products[lane]));
                }
            }
        }
    }
}

/// Adds the products of packed queries and packed panels to `sums`: `[panels, tiles]`.
#[inline(always)]
fn multiply<S: Simd>(simd: S, columns: usize, queries: &[f32], panels: &[f32], sums: &mut [Sums]) {
    let tiles = queries.len() / (columns * TILE_QUERIES);
    for start in (0..columns).step_by(DEPTH) {
        let end = columns.min(start + DEPTH);
        for (panel, sums) in panels.chunks_exact(columns * TILE_REFERENCES).zip(sums.chunks_exact_mut(tiles)) {
            let panel = &panel[start * TILE_REFERENCES..end * TILE_REFERENCES];
            for (tile, sums) in queries.chunks_exact(columns * TILE_QUERIES).zip(sums) {
                multiply_tile(simd, &tile[start * TILE_QUERIES..end * TILE_QUERIES], panel, sums);
            }
        }
    }
}

#[inline(always)]
fn multiply_tile<S: Simd>(simd: S, queries: &[f32], references: &[f32], sums: &mut Sums) {
    let (queries, references) = (queries.as_chunks::<TILE_QUERIES>().0, references.as_chunks::<TILE_REFERENCES>().0);
    let mut left = [f32x8::splat(simd, 0.0); TILE_QUERIES];
    let mut right = left;
    for (query, reference) in queries.iter().zip(references) {
        let low = f32x8::from_slice(simd, &reference[..8]);
        let high = f32x8::from_slice(simd, &reference[8..]);
        for lane in 0..TILE_QUERIES {
            let value = f32x8::splat(simd, query[lane]);
            left[lane] = value.mul_add(low, left[lane]);
            right[lane] = value.mul_add(high, right[lane]);
        }
    }
    for (lane, sums) in sums.iter_mut().enumerate() {
        let (low, high) = sums.split_at_mut(8);
        (left[lane] + f32x8::from_slice(simd, low)).store_slice(low);
        (right[lane] + f32x8::from_slice(simd, high)).store_slice(high);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::normals;
    use super::*;

    #[test]
    fn scores_are_those_of_the_plain_sum() {
        for (references, queries, columns) in [(1, 1, 1), (16, 6, 256), (37, 13, 3), (600, 96, 520)] {
            let (right, left) = (normals(references * columns, 1), normals(queries * columns, 2));
            let row = |table: &[f32], row: usize| table[row * columns..][..columns].to_vec();
            let packed = References::pack(references, columns, |index, target| {
                target.copy_from_slice(&row(&right, index));
            });
            let mut seen = vec![0; queries];
            let fill = |index: usize, target: &mut [f32]| target.copy_from_slice(&row(&left, index));
            packed.score(queries, fill, |query, first, scores| {
                assert_eq!(first, seen[query]);
                seen[query] += scores.len();
                for (lane, &score) in scores.iter().enumerate() {
                    if first + lane >= references {
                        assert_eq!(score, f32::INFINITY);
                        continue;
                    }
                    let (x, y) = (row(&left, query), row(&right, first + lane));
                    let expected: f64 =
                        x.iter().zip(&y).map(|(&x, &y)| f64::from(y) * (f64::from(y) / 2.0 - f64::from(x))).sum();
                    assert!((f64::from(score) - expected).abs() < 1e-3, "{score} {expected}");
                }
            });
            assert!(seen.iter().all(|&seen| seen == references.next_multiple_of(TILE_REFERENCES)));
        }
    }
}
