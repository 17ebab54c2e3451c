//! What a page shows, as plain data. Every part is optional; the page leaves out what is not there.

use serde::Serialize;

/// A page about one run, an experiment, or several runs side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// What the page is about.
    pub title: String,
    /// A few words below it: the kind of run, the dataset.
    pub subtitle: String,
    /// What the numbers show, in plain words.
    pub verdict: String,
    /// Things to know before trusting the numbers, such as a warning of the advisor.
    pub notes: Vec<String>,
    /// Name and value of what a reader asks first.
    pub facts: Vec<(String, String)>,
    /// How far a run is; absent for experiments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The runs with their settings and curves.
    pub runs: Vec<Run>,
    /// Scores by arm or method, each with its seeds.
    pub scores: Vec<ScoreTable>,
    /// Scores by number of labels.
    pub label_curves: Vec<LabelCurve>,
    /// scikit-learn's report of each classifier; differences are shown against the others.
    pub reports: Vec<ClassScores>,
    /// Class names, by label.
    pub classes: Vec<String>,
    /// Which images the samples are, in words: "10000 test images".
    pub split: String,
    /// The images that maps, confusion matrix and neighbours are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
    /// Images and the views that a pretraining contrasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<Views>,
    /// Addresses of pictures beside the page, where a server gives them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<String>,
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Whether it is over.
    pub finished: bool,
    /// Epochs that are done.
    pub epoch: u64,
    /// Epochs that are planned, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Seconds since the run last wrote something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<u64>,
}

/// One training.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// What it is called in legends.
    pub name: String,
    /// Settings, as dotted keys and TOML values.
    pub settings: Vec<(String, String)>,
    /// What was measured.
    pub series: Vec<Series>,
}

/// One measure of a training, epoch by epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Its name in `metrics.jsonl`.
    pub name: String,
    /// Epochs and values.
    pub points: Vec<(f64, f64)>,
}

/// A measure of several arms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScoreTable {
    /// The measure.
    pub title: String,
    /// The arms.
    pub rows: Vec<ScoreRow>,
}

/// One arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScoreRow {
    /// Its name.
    pub name: String,
    /// Labels, updates or epochs, in words.
    pub detail: String,
    /// Whether it learned nothing from the unlabelled images.
    pub control: bool,
    /// The score of each seed.
    pub values: Vec<f64>,
    /// A published figure to set beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<f64>,
}

/// Scores by number of labels, for one way of choosing them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelCurve {
    /// How the labelled images were chosen.
    pub chosen: String,
    /// The arms.
    pub arms: Vec<LabelArm>,
}

/// One arm at several numbers of labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelArm {
    /// Its name.
    pub name: String,
    /// Labels, and the macro F1 of each seed.
    pub points: Vec<(usize, Vec<f64>)>,
}

/// A classification report; means over seeds where there are several.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassScores {
    /// Whose.
    pub name: String,
    /// Which images it is about, in words.
    pub images: String,
    /// Seeds that the numbers are means over.
    pub seeds: usize,
    /// Unweighted mean of the classes' F1.
    pub macro_f1: f64,
    /// Share of right predictions.
    pub accuracy: f64,
    /// The classes.
    pub rows: Vec<ClassRow>,
}

/// A class in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its name.
    pub class: String,
    /// Share of the predictions of this class that are right.
    pub precision: f64,
    /// Share of the images of this class that are found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Images of this class.
    pub support: f64,
}

/// Images with what is known of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Samples {
    /// How many.
    pub count: usize,
    /// Small pictures of them.
    pub atlas: Atlas,
    /// The class of each: base64 of u8.
    pub labels: String,
    /// What each classifier takes them for.
    pub predictions: Vec<Predictions>,
    /// Where each lies, by encoder.
    pub maps: Vec<Map>,
}

/// Pictures in one PNG, row after row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Atlas {
    /// Width and height of a picture in pixels.
    pub tile: (usize, usize),
    /// Pictures a row.
    pub columns: usize,
    /// The PNG: base64.
    pub png: String,
}

/// What a classifier takes the samples for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Predictions {
    /// Which classifier.
    pub name: String,
    /// Labels: base64 of u8.
    pub labels: String,
}

/// Samples in the space of an encoder's features.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Map {
    /// Which encoder.
    pub name: String,
    /// `[count, 2]`: base64 of little-endian u16; 0 to 65535 spans the longest axis.
    pub two: String,
    /// `[count, 3]`, the same way.
    pub three: String,
    /// Neighbours of each sample.
    pub k: usize,
    /// `[count, k]`: base64 of little-endian u32, nearest first.
    pub neighbours: String,
}

/// Images, and below each its views.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Views {
    /// The pictures: a row of images, then a row for each view.
    pub atlas: Atlas,
    /// Rows, the first one counted.
    pub rows: usize,
}
