//! Views of whole batches.

use twinview_kernels::vectorized;

use super::{Augmentation, Batch, Canvas, Draw, Step};
use crate::dataset::Images;
use crate::random::{Purpose, Random, Stream};
use crate::{Error, Result};

/// Streams of views count to 2^8; the upper half belongs to the choices that a batch shares.
const SHARED: u64 = 1 << 7;

/// Values that a task makes, unless a single view has more: less than ten microseconds, so that nobody waits long for a thread that
/// makes views.
const PIECE: usize = 28 * 28;

/// Makes the views of batches of images of one size.
///
/// What a view looks like depends on the seed, the epoch, the number of the view and the image's place in the
/// dataset (or, with [`Draw::PerBatch`], the number of the batch), and on nothing else: not on the number of
/// threads, nor on the batches made before.
#[derive(Clone, Debug)]
pub struct ViewMaker {
    /// Ways to make a view, each with the number of the first view that is not made so.
    kinds: Vec<(Recipe, usize)>,
    shape: [usize; 3],
    stream: Stream,
}

/// How a view is made.
#[derive(Clone, Debug)]
struct Recipe {
    steps: Vec<Step>,
    draw: Draw,
}

impl ViewMaker {
    /// Gets ready for images of the size of `images`, to make `views` views of each.
    ///
    /// # Errors
    /// When a setting of `augmentation` is out of range or does not suit the size, when the images are neither grey
    /// nor RGB, or when `views` is not in 1..=128.
    pub fn new(augmentation: &Augmentation, images: &Images, views: usize, seed: u64) -> Result<Self> {
        let shape = shape(images);
        let [channels, ..] = shape;
        if channels != 1 && channels != 3 {
            return Err(Error::Config(format!(
                "images with {channels} channels; views can be made of grey images (1) and RGB images (3)"
            )));
        }
        let maker = Self { kinds: Vec::new(), shape, stream: Stream::new(seed, Purpose::View) };
        maker.and(augmentation, views)
    }

    /// Makes `views` more views of each image, by another `augmentation`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn and(mut self, augmentation: &Augmentation, views: usize) -> Result<Self> {
        let all = self.views() + views;
        if views == 0 || all as u64 > SHARED {
            return Err(Error::Config(format!("{all} views of each image; expected 1 to {SHARED}")));
        }
        let [_, height, width] = self.shape;
        let steps = augmentation.prepare(height, width)?;
        self.kinds.push((Recipe { steps, draw: augmentation.draw }, all));
        Ok(self)
    }

    /// How many views are made of each image.
    pub fn views(&self) -> usize {
        self.kinds.last().map_or(0, |(_, until)| *until)
    }

    /// Fills `pixels` with the views of a batch: `[views * batch, channels, height, width]`, f32 in 0..=1, all
    /// first views before all second ones. The buffer's memory is used again where it suffices.
    ///
    /// The work is shared among the threads of the rayon pool it is called from, or of the global one. From outside the pool it comes
    /// after all that its threads have to do otherwise.
    ///
    /// # Errors
    /// When the images have another size than those of [`ViewMaker::new`], or are fewer than an index says.
    pub fn make(&self, images: &Images, batch: &Batch, pixels: &mut Vec<f32>) -> Result<()> {
        self.check(images, batch)?;
        let [channels, height, width] = self.shape;
        let count = batch.indices.len();
        let each = images.image_len();
        let piece = (PIECE / each).max(1);
        pixels.resize(self.views() * count * each, 0.0);
        rayon::in_place_scope(|scope| {
            for (number, targets) in pixels.chunks_mut(piece * each).enumerate() {
                scope.spawn(move |_| {
                    let mut canvas = Canvas::new(channels, height, width);
                    for (position, target) in (number * piece..).zip(targets.chunks_exact_mut(each)) {
                        let (index, view) = (batch.indices[position % count], position / count);
                        let Some((recipe, _)) = self.kinds.iter().find(|(_, until)| view < *until) else { return };
                        let mut random = self.random(recipe.draw, batch, index, view);
                        canvas.load(images.image(index));
                        recipe.steps.iter().for_each(|step| step.apply(&mut canvas, &mut random));
                        vectorized(
                            #[inline(always)]
                            || {
                                let values = target.iter_mut().zip(canvas.pixels());
                                values.for_each(|(out, &value)| *out = f32::from(value) / 255.0);
                            },
                        );
                    }
                });
            }
        });
        Ok(())
    }

    fn random(&self, draw: Draw, batch: &Batch, index: usize, view: usize) -> Random {
        match draw {
            Draw::PerImage => self.stream.at(batch.epoch, index as u64, view as u64),
            Draw::PerBatch => self.stream.at(batch.epoch, batch.number, SHARED + view as u64),
        }
    }

    fn check(&self, images: &Images, batch: &Batch) -> Result<()> {
        if shape(images) != self.shape {
            return Err(Error::Data(format!(
                "images of [channels, height, width] {:?}, where views of {:?} were prepared",
                shape(images),
                self.shape
            )));
        }
        match batch.indices.iter().find(|&&index| index >= images.len()) {
            Some(index) => Err(Error::Data(format!("a batch asks for image {index} of {}", images.len()))),
            None => Ok(()),
        }
    }
}

fn shape(images: &Images) -> [usize; 3] {
    [images.channels(), images.height(), images.width()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::augment::{ColorJitter, GaussianBlur, HorizontalFlip, RandAugment, Transform};

    fn images(channels: usize, count: usize) -> Images {
        let pixels = (0..count * channels * 12 * 10).map(|i| (i * i / 7 % 256) as u8).collect();
        Images::new(channels, 12, 10, pixels)
    }

    fn make(augmentation: &Augmentation, images: &Images, batch: &Batch, seed: u64) -> Vec<f32> {
        let mut pixels = vec![9.0; 3];
        ViewMaker::new(augmentation, images, 2, seed).unwrap().make(images, batch, &mut pixels).unwrap();
        pixels
    }

    fn batch(number: u64, indices: &[usize]) -> Batch {
        Batch { epoch: 3, number, indices: indices.to_vec() }
    }

    fn everything() -> Augmentation {
        let mut all = Augmentation::simclr();
        all.transforms.push(Transform::RandAugment(RandAugment { num_ops: 5, ..Default::default() }));
        all
    }

    #[test]
    fn identity_gives_the_images_as_floats() {
        let images = images(1, 3);
        let expected: Vec<f32> =
            [2, 0, 2, 0].iter().flat_map(|&i| images.image(i)).map(|&value| f32::from(value) / 255.0).collect();
        assert_eq!(make(&Augmentation::identity(), &images, &batch(0, &[2, 0]), 1), expected);
    }

    #[test]
    fn other_views_are_made_their_own_way() {
        let (images, batch) = (images(1, 3), batch(1, &[2, 0]));
        let mut pixels = Vec::new();
        let maker = ViewMaker::new(&everything(), &images, 2, 5).unwrap().and(&Augmentation::identity(), 3).unwrap();
        assert_eq!(maker.views(), 5);
        maker.make(&images, &batch, &mut pixels).unwrap();
        let two = make(&everything(), &images, &batch, 5);
        let plain = make(&Augmentation::identity(), &images, &batch, 5);
        assert_eq!(pixels[..two.len()], two);
        assert!(pixels[two.len()..].chunks(plain.len() / 2).all(|view| view == &plain[..plain.len() / 2]));
        let message = maker.and(&Augmentation::identity(), 124).unwrap_err().to_string();
        assert!(message.contains("129 views"), "{message}");
    }

    #[test]
    fn probabilities_are_kept() {
        let images = images(1, 1);
        let views = |probability| {
            let transforms = vec![
                Transform::HorizontalFlip(HorizontalFlip { probability }),
                Transform::ColorJitter(ColorJitter {
                    probability,
                    brightness: 0.0,
                    contrast: 0.0,
                    saturation: 0.0,
                    hue: 0.0,
                }),
                Transform::GaussianBlur(GaussianBlur { probability, kernel_size: 1, sigma: [1.0, 1.0] }),
            ];
            make(&Augmentation { draw: Draw::PerImage, transforms }, &images, &batch(0, &[0; 200]), 1)
        };
        let identity = make(&Augmentation::identity(), &images, &batch(0, &[0; 200]), 1);
        assert_eq!(views(0.0), identity);
        // At no strength jitter and blur change nothing, so what is left is the flip.
        let mirrored: Vec<f32> = identity.chunks(10).flat_map(|row| row.iter().rev()).copied().collect();
        assert_eq!(views(1.0), mirrored);
    }

    #[test]
    fn a_flip_of_one_half_turns_about_half() {
        let images = Images::new(1, 1, 2, [0, 255].repeat(400));
        let augmentation = Augmentation {
            draw: Draw::PerImage,
            transforms: vec![Transform::HorizontalFlip(HorizontalFlip::default())],
        };
        let views = make(&augmentation, &images, &batch(0, &(0..400).collect::<Vec<_>>()), 1);
        let turned = views.chunks(2).filter(|view| view[0] == 1.0).count();
        assert!((340..460).contains(&turned), "{turned} of 800");
    }

    #[test]
    fn views_do_not_depend_on_threads_or_neighbours() {
        for channels in [1, 3] {
            let images = images(channels, 90);
            let all: Vec<usize> = (0..90).rev().collect();
            let whole = make(&everything(), &images, &batch(0, &all), 5);
            for threads in [1, 2, 4] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| make(&everything(), &images, &batch(0, &all), 5)), whole);
            }
            let alone = make(&everything(), &images, &batch(7, &[89 - 20]), 5);
            let size = images.image_len();
            assert_eq!(alone[..size], whole[20 * size..][..size]);
            assert_eq!(alone[size..], whole[110 * size..][..size]);
            assert_ne!(alone[..size], alone[size..], "two views of one image differ");
        }
    }

    #[test]
    fn a_batch_shares_its_choices_only_where_asked() {
        let one = images(1, 1);
        let twins = Images::new(1, 12, 10, one.pixels().repeat(2));
        let size = twins.image_len();
        let differing = |draw| {
            let augmentation = Augmentation { draw, ..everything() };
            let differ = |number| {
                let views = make(&augmentation, &twins, &batch(number, &[0, 1]), 5);
                views[..size] != views[size..2 * size]
            };
            (0..20).filter(|&number| differ(number)).count()
        };
        assert_eq!(differing(Draw::PerBatch), 0);
        assert_eq!(differing(Draw::PerImage), 20);
        // Batch 0 and image 0 have draws of their own.
        let [shared, own] = [Draw::PerBatch, Draw::PerImage]
            .map(|draw| make(&Augmentation { draw, ..everything() }, &twins, &batch(0, &[0]), 5));
        assert_ne!(shared, own);
    }

    #[test]
    fn what_cannot_work_is_an_error() {
        let two_channels = Images::new(2, 2, 2, vec![0; 8]);
        let refused = |images: &Images, views| {
            ViewMaker::new(&Augmentation::identity(), images, views, 0).unwrap_err().to_string()
        };
        assert!(refused(&two_channels, 2).contains("2 channels"));
        assert!(refused(&images(1, 1), 0).contains("0 views"));
        assert!(refused(&images(1, 1), 129).contains("129 views"));
        let maker = ViewMaker::new(&Augmentation::identity(), &images(1, 2), 1, 0).unwrap();
        let made = |images: &Images| maker.make(images, &batch(0, &[2]), &mut Vec::new()).unwrap_err().to_string();
        assert!(made(&images(1, 2)).contains("image 2 of 2"));
        assert!(made(&images(3, 3)).contains("[3, 12, 10]"));
    }

    proptest! {
        #[test]
        fn any_image_size_works(
            channels in prop_oneof![Just(1_usize), Just(3)], height in 2_usize..20, width in 2_usize..20, seed: u64,
        ) {
            let pixels = (0..channels * height * width * 4).map(|i| (i * 31 % 256) as u8).collect();
            let images = Images::new(channels, height, width, pixels);
            let views = make(&everything(), &images, &batch(0, &[0, 1, 2, 3]), seed);
            prop_assert_eq!(views.len(), 2 * 4 * images.image_len());
            prop_assert!(views.iter().all(|value| (0.0..=1.0).contains(value)));
        }
    }
}
