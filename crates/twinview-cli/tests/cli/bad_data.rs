//! Datasets that are not what they should be.

use crate::support::{Lab, gzip, idx_images, idx_labels, write_dataset};

const IMAGES: &str = "t10k-images-idx3-ubyte";
const LABELS: &str = "t10k-labels-idx1-ubyte";

/// Puts `content` in the place of the file `name` and expects `expected` of every command that reads data.
#[track_caller]
fn refused(name: &str, content: &[u8], expected: &[&str]) {
    let lab = Lab::new();
    std::fs::remove_file(lab.path("data").join(name)).unwrap();
    lab.write(&format!("data/{name}.gz"), content);
    let commands = ["data fetch", "data show", "train --run run --epochs 1", "reproduce --run run"];
    for command in commands {
        lab.fails(&format!("{command} --data data"), &[&[name], expected].concat());
        assert!(!lab.exists("run") && !lab.exists("dataset.png"), "{command}");
    }
}

#[test]
fn a_truncated_gzip() {
    let whole = gzip(&idx_images(50, &[7; 50 * 784]));
    refused(IMAGES, &whole[..whole.len() / 2], &["cut off", "Get the file again"]);
}

#[test]
fn a_corrupt_gzip() {
    let mut damaged = gzip(&idx_images(50, &[7; 50 * 784]));
    damaged[9_000] ^= 1;
    refused(IMAGES, &damaged, &["the gzip data is corrupt", "Get the file again"]);
}

#[test]
fn a_wrong_magic_number() {
    refused(IMAGES, b"PK\x03\x04 an archive", &["starts with the bytes 50 4b 03 04", "magic number 00000803"]);
    refused(IMAGES, b"<html>Not found</html>", &["a web page"]);
    refused(LABELS, &idx_images(1, &[0; 784]), &["these are images", "swapped"]);
}

#[test]
fn labels_that_are_too_few_or_out_of_range() {
    refused(LABELS, &idx_labels(&[1; 49]), &["holds 49 labels", "holds 50 images"]);
    refused(LABELS, &idx_labels(&[10; 50]), &["label 10 at position 0", "classes 0 to 9"]);
}

#[test]
fn folders_without_a_dataset() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("empty")).unwrap();
    lab.fails("data fetch --data empty", &["empty: ", "missing train-images-idx3-ubyte[.gz]", "the folder is empty"]);
    lab.fails("data fetch --data none", &["none: ", "No such file or directory"]);
    lab.fails("data fetch --data data/train-labels-idx1-ubyte", &["train-labels-idx1-ubyte: ", "Not a directory"]);
    lab.write("other/notes.txt", "x");
    lab.fails("data fetch --data other", &["the folder holds notes.txt"]);
}

#[test]
fn an_unknown_dataset_lists_the_known_ones() {
    let lab = Lab::new();
    lab.fails("data show --dataset fashion", &["'fashion'", "fashion-mnist, mnist, kmnist, shapes"]);
    lab.fails("data show --dataset shapes --data data", &["--data has no meaning"]);
    lab.fails("data fetch --dataset shapes", &["nothing to fetch"]);
}

#[test]
fn the_folder_in_the_environment_is_read_and_named() {
    let lab = Lab::new();
    let fetch = |folder: &str| {
        crate::support::outcome(lab.command("data fetch").env("TWINVIEW_DATA", lab.path(folder)).output().unwrap())
    };
    write_dataset(&lab.path("all/fashion-mnist"), 20, 10);
    let found = fetch("all");
    assert_eq!(found.stdout.trim_end(), lab.path("all/fashion-mnist").to_str().unwrap(), "{}", found.stderr);
    assert!(found.stderr.contains("TWINVIEW_DATA"), "{}", found.stderr);
    std::fs::create_dir(lab.path("empty")).unwrap();
    lab.assert_failed(&fetch("empty"), &["empty: ", "TWINVIEW_DATA names this folder; unset it"]);
}
