//! Figures are looked at by people; what a test can hold is that they are whole, drawn and repeatable.

use image::RgbImage;

use super::*;
use crate::dataset::{Images, Split};
use crate::evaluation::{ConfusionMatrix, Summary};
use crate::random::{Purpose, Stream};

fn names() -> Vec<String> {
    let names = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot";
    names.split(',').map(str::to_owned).collect()
}

fn noise(count: usize, channels: usize, height: usize, width: usize) -> Images {
    let mut random = Stream::new(1, Purpose::Figure).at(0, 0, 0);
    Images::new(
        channels,
        height,
        width,
        (0..count * channels * height * width).map(|_| random.below(256) as u8).collect(),
    )
}

fn split(count: usize) -> Split {
    Split { images: noise(count, 1, 28, 28), labels: (0..count).map(|index| (index % 10) as u8).collect() }
}

fn labels(count: usize, seed: u64, right: f32) -> (Vec<u8>, Vec<u8>) {
    let mut random = Stream::new(seed, Purpose::Figure).at(0, 0, 0);
    let truth: Vec<u8> = (0..count).map(|_| random.below(10) as u8).collect();
    let guess = truth.iter().map(|&label| if random.chance(right) { label } else { random.below(10) as u8 }).collect();
    (truth, guess)
}

/// The figure as others decode it, after the checks that hold for all figures. With `TWINVIEW_FIGURES`, the
/// figure is kept there to be looked at.
fn drawn(name: &str, figure: &Figure) -> RgbImage {
    let png = figure.to_png().unwrap();
    assert_eq!(png, figure.to_png().unwrap(), "{name} differs when drawn again");
    if let Some(folder) = std::env::var_os("TWINVIEW_FIGURES") {
        figure.save(std::path::Path::new(&folder).join(format!("{name}.png"))).unwrap();
    }
    let image = image::load_from_memory(&png).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (figure.width(), figure.height()), "{name}");
    assert!(!ink(&image).is_empty(), "{name} is blank");
    // Text or points that run out of the sheet would leave ink on its edge.
    let (width, height) = image.dimensions();
    for (x, y) in ink(&image) {
        let inside = (8..width - 8).contains(&x) && (8..height - 8).contains(&y);
        assert!(inside, "{name} has ink at {x}, {y} of {width} x {height}");
    }
    image
}

fn ink(image: &RgbImage) -> Vec<(u32, u32)> {
    image.enumerate_pixels().filter(|(.., pixel)| pixel.0 != [255; 3]).map(|(x, y, _)| (x, y)).collect()
}

fn has(image: &RgbImage, Rgb(red, green, blue): Rgb) -> bool {
    image.pixels().any(|pixel| pixel.0 == [red, green, blue])
}

#[test]
fn image_grids_show_every_pixel_and_stay_in_their_cells() {
    let split = split(20);
    let image = drawn("image-grid", &image_grid(&split, &names(), 4, 4).unwrap());
    // The first image, enlarged eight times.
    let (left, top) = (32, 32);
    for (index, &grey) in split.images.image(0).iter().enumerate() {
        let (x, y) = (left + index as u32 % 28 * 8, top + index as u32 / 28 * 8);
        assert_eq!(image.get_pixel(x, y).0, [grey; 3]);
        assert_eq!(image.get_pixel(x + 7, y + 7).0, [grey; 3]);
    }
    let wide = Split { images: noise(3, 3, 40, 300), labels: vec![0, 1, 200] };
    let long = ["a class with a name that is far too long for the cell it stands in".to_owned(), "$x^2$ £".into()];
    drawn("image-grid-odd", &image_grid(&wide, &long, 2, 2).unwrap());
}

#[test]
fn prediction_grids_tell_right_from_wrong() {
    let split = split(16);
    let right = drawn("predictions-right", &prediction_grid(&split, &split.labels, &names(), 4, 4).unwrap());
    assert!(has(&right, RIGHT) && !has(&right, WRONG));
    let predicted: Vec<u8> = split.labels.iter().map(|label| if label % 3 == 0 { 9 - label } else { *label }).collect();
    let mixed = drawn("predictions", &prediction_grid(&split, &predicted, &names(), 4, 4).unwrap());
    assert!(has(&mixed, RIGHT) && has(&mixed, WRONG));
    assert!(prediction_grid(&split, &predicted[1..], &names(), 4, 4).is_err());
}

#[test]
fn view_pairs_show_three_rows() {
    let (originals, views) = (noise(6, 1, 28, 28), [noise(6, 1, 28, 28), noise(6, 3, 96, 64)]);
    drawn("view-pairs", &view_pairs(&originals, [&views[0], &views[1]]).unwrap());
    assert!(view_pairs(&originals, [&views[0], &noise(5, 1, 28, 28)]).is_err());
}

#[test]
fn images_that_cannot_be_shown_are_told() {
    let message = |split: &Split| image_grid(split, &names(), 4, 4).unwrap_err().to_string();
    assert!(message(&split(0)).contains("no images"));
    assert!(message(&Split { images: noise(1, 2, 4, 4), labels: vec![0] }).contains("2 channels"));
}

#[test]
fn confusion_matrices_darken_with_the_share() {
    let (truth, predicted) = labels(10_000, 3, 0.8);
    let matrix = ConfusionMatrix::new(&truth, &predicted, 10).unwrap();
    let image = drawn("confusion", &confusion_matrix(&matrix, &names()));
    assert!(image.height() > 920);
    let (truth, predicted): (Vec<u8>, Vec<u8>) = (0..60).map(|label| (label, label / 2)).unzip();
    drawn("confusion-60", &confusion_matrix(&ConfusionMatrix::new(&truth, &predicted, 60).unwrap(), &names()));
    let all: Vec<u8> = (0..=255).collect();
    let largest = drawn("confusion-256", &confusion_matrix(&ConfusionMatrix::new(&all, &all, 256).unwrap(), &names()));
    assert!(largest.width() < 3000);
    let millions = ConfusionMatrix::new(&vec![1; 2_000_000], &vec![0; 2_000_000], 2).unwrap();
    drawn("confusion-large", &confusion_matrix(&millions, &[]));
}

#[test]
fn scatters_have_a_panel_for_each_pair_of_components() {
    let (labels, _) = labels(10_000, 5, 1.0);
    let mut random = Stream::new(9, Purpose::Figure).at(0, 0, 0);
    let points: Vec<f32> = labels
        .iter()
        .flat_map(|&label| {
            let angle = f32::from(label) * 0.628;
            [angle.cos() * 6.0, angle.sin() * 6.0, f32::from(label % 3) * 4.0]
        })
        .map(|centre| centre + random.normal())
        .collect();
    let cube = scatter("UMAP of the test set", "UMAP", &points, 3, &labels, &names()).unwrap();
    let image = drawn("scatter-3d", &cube);
    assert!((0..10).all(|label| has(&image, colour(label))));
    let plane: Vec<f32> = points.chunks(3).flat_map(|point| [point[0], point[1]]).collect();
    let square = scatter("UMAP of the test set", "UMAP", &plane, 2, &labels, &names()).unwrap();
    drawn("scatter", &square);
    assert!(cube.width() > square.width());
}

#[test]
fn odd_scatters_are_drawn_or_told() {
    let equal = scatter("One place", "x", &[3.0; 8], 2, &[0, 1, 2, 3], &[]).unwrap();
    drawn("scatter-equal", &equal);
    let some = [0.0, 1.0, f32::NAN, 2.0, 1.0, f32::INFINITY, 5.0, -4.0];
    drawn("scatter-some", &scatter("Two left", "x", &some, 2, &[0, 1, 2, 30], &names()).unwrap());
    assert!(scatter("None left", "x", &[f32::NAN; 4], 2, &[0, 1], &[]).is_err());
    assert!(scatter("One dimension", "x", &[1.0; 2], 1, &[0, 1], &[]).is_err());
    assert!(scatter("No labels", "x", &[1.0; 4], 2, &[0], &[]).is_err());
}

#[test]
fn learning_curves_have_a_colour_for_each_run() {
    let curve = |name: &str, rate: f64| Curve {
        name: name.into(),
        points: (0..=100).map(|epoch| (f64::from(epoch), -0.9 + 0.7 * (-f64::from(epoch) * rate).exp())).collect(),
    };
    let mut curves =
        vec![curve("SimSiam, seed 1", 0.05), curve("SimSiam, seed 2", 0.03), curve("SimSiam, seed 3", 0.01)];
    curves[2].points[50].1 = f64::NAN;
    let image = drawn("curves", &learning_curves("Pretraining", "epoch", "loss", &curves).unwrap());
    assert!((0..3).all(|index| has(&image, colour(index))));
    for (index, points) in
        [vec![(1.0, 2.0)], vec![(0.0, 1e-9), (1.0, 3e-9)], vec![(0.0, 5e8), (1.0, 6e8)]].into_iter().enumerate()
    {
        let odd = Curve { name: "a run with quite a long name, longer than a legend should have".into(), points };
        drawn(&format!("curves-odd-{index}"), &learning_curves(&"Long title ".repeat(20), "x", "y", &[odd]).unwrap());
    }
    assert!(learning_curves("None", "x", "y", &[]).is_err());
}

#[test]
fn bars_show_the_published_figures_beside() {
    let arm = |name: &str, values: &[f64], published| Arm {
        name: name.into(),
        result: Summary::of(values).unwrap(),
        published,
    };
    let arms = [
        arm("supervised, 60,000 labels", &[0.897, 0.902, 0.899], Some(0.90)),
        arm("scratch, first 1,000 labels", &[0.805, 0.807, 0.809], Some(0.64)),
        arm("SimSiam, frozen, head on 1,000", &[0.79, 0.81, 0.83], Some(0.79)),
        arm("random backbone, frozen", &[0.791, 0.788, 0.794], None),
        arm("scratch, as many updates", &[0.8], None),
    ];
    let image = drawn("bars", &bar_with_error("Macro F1 on the test set", "macro F1", &arms).unwrap());
    assert!(has(&image, colour(0)) && has(&image, INK));
    let differences = [arm("gain", &[0.01, 0.03], None), arm("loss", &[-0.02, -0.01], None)];
    drawn("bars-signed", &bar_with_error("Difference to the control", "macro F1", &differences).unwrap());
    assert!(bar_with_error("None", "x", &[]).is_err());
    assert!(bar_with_error("NaN", "x", &[arm("nan", &[f64::NAN], None)]).is_err());
}

#[test]
fn text_is_cut_to_its_room() {
    assert_eq!(text::fit("Ankle boot", 12, 100.0), "Ankle boot");
    let cut = text::fit("Ankle boot", 12, 50.0);
    assert!(cut.starts_with("Ank") && cut.ends_with('…') && text::width(&cut, 12) <= 50.0, "{cut}");
    assert_eq!(text::fit("Ankle boot", 12, 1.0), "");
    assert_eq!(text::width("AV", 2048), 1401.0 + 1401.0);
}

#[test]
fn saved_files_decode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures/grid.png");
    let figure = image_grid(&split(4), &names(), 2, 2).unwrap();
    figure.save(&path).unwrap();
    assert_eq!(image::image_dimensions(&path).unwrap(), (figure.width(), figure.height()));
}

proptest::proptest! {
    #[test]
    fn cut_text_is_never_wider_than_its_room(words in "\\PC{0,40}", size in 1u32..40, room in 0.0f64..300.0) {
        let cut = text::fit(&words, size, room);
        assert!(text::width(&cut, size) <= room);
        assert!(cut == words || cut.is_empty() || cut.ends_with('…'));
    }
}
