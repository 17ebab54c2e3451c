//! `shapes`: labelled images that the program draws itself, for tests, demos and machines with no network.
//!
//! Ten classes of grey 28×28 images. Place, size, stretch, tilt, brightness, shading, noise and a stray blob are
//! drawn anew for each image, and one in three is dark on light, so that single pixels tell little about the class.

use rayon::prelude::*;

use super::{Dataset, Images, Split};
use crate::random::{Purpose, Random, Stream};

/// The name it is asked for by.
pub(super) const NAME: &str = "shapes";

/// Training images, unless asked otherwise.
pub(super) const TRAIN_LEN: usize = 6_000;

/// Test images, unless asked otherwise.
pub(super) const TEST_LEN: usize = 1_000;

const CLASSES: [&str; 10] = [
    "circle",
    "square",
    "triangle",
    "cross",
    "ring",
    "horizontal bars",
    "vertical bars",
    "diagonal bars",
    "checkerboard",
    "dots",
];

pub(super) const SIDE: usize = 28;

/// Points a pixel is averaged over, in each direction.
const SAMPLES: usize = 3;

/// Draws `train` training and `test` test images, `[count, 1, 28, 28]`, with 10 classes.
///
/// An image depends only on `seed`, its split and its index: a larger set begins with the smaller one. Any ten
/// images from a multiple of ten on hold each class once.
pub fn shapes(train: usize, test: usize, seed: u64) -> Dataset {
    let stream = Stream::new(seed, Purpose::Shapes);
    let [train, test] = [(0, train), (1, test)].map(|(split, count)| draw_split(&stream, split, count));
    Dataset::new(NAME, CLASSES.map(str::to_owned).to_vec(), train, test)
}

fn draw_split(stream: &Stream, split: u64, count: usize) -> Split {
    let labels: Vec<u8> = (0..count.div_ceil(CLASSES.len()))
        .flat_map(|block| {
            let mut labels: [u8; CLASSES.len()] = std::array::from_fn(|label| label as u8);
            stream.at(split, block as u64, 1).shuffle(&mut labels);
            labels
        })
        .take(count)
        .collect();
    let mut pixels = vec![0; count * SIDE * SIDE];
    pixels.par_chunks_mut(SIDE * SIDE).zip(&labels).enumerate().for_each(|(index, (image, &label))| {
        draw(usize::from(label), &mut stream.at(split, index as u64, 0), image);
    });
    Split { images: Images::new(1, SIDE, SIDE, pixels), labels }
}

/// Draws one image of `class`.
fn draw(class: usize, random: &mut Random, image: &mut [u8]) {
    let figure = Figure::new(class, random);
    let dark = random.uniform_in(0.0, 90.0);
    let light = random.uniform_in(dark + 50.0, 255.0);
    let [ground, ink] = if random.chance(1.0 / 3.0) { [light, dark] } else { [dark, light] };
    let blob = [random.uniform_in(0.0, 28.0), random.uniform_in(0.0, 28.0), random.uniform_in(1.0, 3.0)];
    let blob_ink = random.uniform_in(0.0, 255.0);
    let shading = [random.uniform_in(-1.5, 1.5), random.uniform_in(-1.5, 1.5)];
    let noise = random.uniform_in(4.0, 24.0);
    for (index, pixel) in image.iter_mut().enumerate() {
        let (row, column) = ((index / SIDE) as f32, (index % SIDE) as f32);
        let covered = figure.coverage(row, column);
        let blobbed = (blob[2] + 0.5 - (row + 0.5 - blob[0]).hypot(column + 0.5 - blob[1])).clamp(0.0, 1.0);
        let value = ground + (ink - ground) * covered;
        let value = value + (blob_ink - value) * blobbed;
        let shade = shading[0] * (row - 13.5) + shading[1] * (column - 13.5);
        *pixel = (value + shade + noise * random.normal()).round().clamp(0.0, 255.0) as u8;
    }
}

/// A shape in its place. Lengths are in pixels, `y` runs down.
struct Figure {
    class: usize,
    centre: [f32; 2],
    /// Half the side of the square that the shape fills.
    radius: [f32; 2],
    /// Sine and cosine of the tilt, which stays so small that horizontal bars never pass for diagonal ones.
    tilt: (f32, f32),
    /// Periods in a half side, and where they start, for the repeated patterns.
    frequency: f32,
    phase: [f32; 2],
    /// Diagonals run either way.
    flip: f32,
}

impl Figure {
    fn new(class: usize, random: &mut Random) -> Self {
        let radius = random.uniform_in(6.5, 11.0);
        let stretch = random.uniform_in(0.85, 1.18);
        let room = 9.0 - 0.6 * radius;
        Self {
            class,
            centre: [14.0 + random.uniform_in(-room, room), 14.0 + random.uniform_in(-room, room)],
            radius: [radius * stretch, radius / stretch],
            tilt: random.uniform_in(-0.3, 0.3).sin_cos(),
            frequency: radius / random.uniform_in(3.8, 5.8),
            phase: [random.uniform(), random.uniform()],
            flip: if random.chance(0.5) { 1.0 } else { -1.0 },
        }
    }

    /// The part of a pixel that lies inside: this is what smooths the edges.
    fn coverage(&self, row: f32, column: f32) -> f32 {
        let at = |step: usize| (step as f32 + 0.5) / SAMPLES as f32;
        let hits = (0..SAMPLES * SAMPLES).filter(|i| self.covers(row + at(i / SAMPLES), column + at(i % SAMPLES)));
        hits.count() as f32 / (SAMPLES * SAMPLES) as f32
    }

    fn covers(&self, y: f32, x: f32) -> bool {
        let (dy, dx) = (y - self.centre[0], x - self.centre[1]);
        let (sin, cos) = self.tilt;
        // From here on the shape fills the square from -1 to 1.
        let v = (cos * dy - sin * dx) / self.radius[0];
        let u = (sin * dy + cos * dx) / self.radius[1];
        let edge = u.abs().max(v.abs());
        if edge >= 1.0 {
            return false;
        }
        let wave = |t: f32, phase: f32| {
            let place = t * self.frequency + phase;
            place - place.floor() - 0.5
        };
        match self.class {
            0 => u * u + v * v < 0.9 * 0.9,
            1 => edge < 0.8,
            2 => v < 0.75 && v > 2.0 * u.abs() - 0.95,
            3 => u.abs().min(v.abs()) < 0.28,
            4 => (0.55 * 0.55..0.95 * 0.95).contains(&(u * u + v * v)),
            5 => wave(v, self.phase[0]) < 0.0,
            6 => wave(u, self.phase[1]) < 0.0,
            7 => wave((v + self.flip * u) * std::f32::consts::FRAC_1_SQRT_2, self.phase[0]) < 0.0,
            8 => (wave(v, self.phase[0]) < 0.0) == (wave(u, self.phase[1]) < 0.0),
            _ => wave(v, self.phase[0]).hypot(wave(u, self.phase[1])) < 0.32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_on_any_number_of_threads_and_for_any_count() {
        let threads = |count| rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        let small = threads(1).install(|| shapes(25, 13, 5));
        let large = threads(3).install(|| shapes(60, 40, 5));
        assert_eq!((small.train.len(), small.test.len()), (25, 13));
        let first = |count| (0..count).collect::<Vec<usize>>();
        assert_eq!(small.train, large.train.select(&first(25)));
        assert_eq!(small.test, large.test.select(&first(13)));
        assert_ne!(small.train.images, shapes(25, 0, 6).train.images);
        assert_ne!(large.train.images.image(0), large.test.images.image(0));
        assert!(shapes(0, 0, 0).test.is_empty());
    }

    #[test]
    fn classes_are_balanced_in_every_ten() {
        let data = shapes(100, 20, 1);
        for block in data.train.labels.chunks(10).chain(data.test.labels.chunks(10)) {
            let mut block = block.to_vec();
            block.sort_unstable();
            assert!(block.into_iter().eq(0..10));
        }
        assert_eq!(data.class_names.len(), 10);
    }

    /// What a shape covers on average, from its geometry; a quarter of it is allowed for clipping and stretch.
    #[test]
    fn shapes_cover_what_they_should() {
        let stream = Stream::new(3, Purpose::Shapes);
        let square = 4.0;
        for (class, expected) in [
            (0, 0.81 * std::f32::consts::PI / square),
            (1, 2.56 / square),
            (3, (2.0 * 0.56 * 2.0 - 0.56 * 0.56) / square),
            (5, 0.5),
            (6, 0.5),
            (7, 0.5),
            (8, 0.5),
            (9, 0.32 * 0.32 * std::f32::consts::PI),
        ] {
            let mean = (0..200)
                .map(|index| {
                    let figure = Figure::new(class, &mut stream.at(0, index, 0));
                    let pixels = (0..SIDE * SIDE).map(|i| figure.coverage((i / SIDE) as f32, (i % SIDE) as f32));
                    pixels.sum::<f32>() / (figure.radius[0] * figure.radius[1] * square)
                })
                .sum::<f32>()
                / 200.0;
            assert!((mean / expected - 1.0).abs() < 0.25, "{}: {mean} for {expected}", CLASSES[class]);
        }
    }

    /// A demo must leave something to learn: the nearest of a thousand images is right far above chance, but not always.
    #[test]
    fn neighbours_in_pixel_space_help_but_do_not_solve_it() {
        let data = shapes(1_000, 200, 2);
        let distance =
            |a: &[u8], b: &[u8]| -> u32 { a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
        let right = (0..200)
            .filter(|&i| {
                let image = data.test.images.image(i);
                let nearest = (0..1_000).min_by_key(|&j| distance(image, data.train.images.image(j))).unwrap();
                data.train.labels[nearest] == data.test.labels[i]
            })
            .count();
        assert!((40..160).contains(&right), "{right} of 200");
    }
}
