use super::fixture::paint;
use super::*;

fn form(name: &str) -> Form {
    Form::parse(name).unwrap().unwrap()
}

/// The dataset, and what was said of it.
fn loaded(root: &Path, name: &str, cache: Option<&Path>) -> (Result<Dataset>, Vec<String>) {
    let mut said = Vec::new();
    let dataset = load(root, form(name), cache, &mut |progress| match progress {
        Progress::Message(text) => said.push(text.to_owned()),
        Progress::Pictures { done, total } => said.push(format!("{done}/{total}")),
        Progress::Bytes { .. } => panic!("nothing is downloaded"),
    });
    (dataset, said)
}

/// `count` pictures of each of two classes, and as many without a label.
fn zoo(count: u8) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for at in 0..count {
        paint(root.path(), &format!("cat/{at}.png"), [200, at, 0]);
        paint(root.path(), &format!("dog/{at}.png"), [0, at, 200]);
        paint(root.path(), &format!("unlabelled/{at}.png"), [90, at, 90]);
    }
    root
}

#[test]
fn pictures_labels_and_files_belong_together() {
    let root = zoo(10);
    let (dataset, said) = loaded(root.path(), "folder:8", None);
    let dataset = dataset.unwrap();
    assert_eq!((&dataset.name[..], &dataset.class_names[..]), ("folder:8", &["cat".to_owned(), "dog".to_owned()][..]));
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.pool.len()), (16, 4, 26));
    assert_eq!(dataset.test.class_counts(2), [2, 2]);
    assert!(said.iter().any(|text| text.contains("4 of the 20 labelled pictures, always the same ones, are held out")));
    assert_eq!(dataset.pool.pixels()[..16 * 192], *dataset.train.images.pixels());
    let files = dataset.files.as_ref().unwrap();
    let all = [&files.pool[..], &files.test[..]].concat();
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 30);
    let known: Vec<Option<u8>> = dataset.train.labels.iter().copied().map(Some).chain([None; 10]).collect();
    let splits = [(&dataset.pool, &files.pool, known), {
        (&dataset.test.images, &files.test, dataset.test.labels.iter().copied().map(Some).collect())
    }];
    for (images, files, labels) in splits {
        assert_eq!((images.len(), images.len()), (files.len(), labels.len()));
        for (index, (file, label)) in files.iter().zip(labels).enumerate() {
            let (class, colour) = match label {
                Some(0) => ("cat", [200, 0]),
                Some(_) => ("dog", [0, 200]),
                None => ("unlabelled", [90, 90]),
            };
            assert!(file.starts_with(class), "{file:?} is no {class}");
            let image = images.image(index);
            let at: u8 = file.file_stem().unwrap().to_string_lossy().parse().unwrap();
            assert_eq!([image[0], image[64], image[128]], [colour[0], at, colour[1]], "{file:?}");
        }
    }
    // Pictures are not in the order of their classes, and always in the same.
    assert!(dataset.train.labels[..8].contains(&0) && dataset.train.labels[..8].contains(&1));
    assert_eq!(loaded(root.path(), "folder:8", None).0.unwrap(), dataset);
}

#[test]
fn a_folder_may_say_what_is_for_the_end_or_label_nothing() {
    let root = tempfile::tempdir().unwrap();
    paint(root.path(), "train/cat/1.png", [1, 2, 3]);
    paint(root.path(), "test/cat/2.png", [4, 5, 6]);
    let (dataset, said) = loaded(root.path(), "folder:8:grey", None);
    let dataset = dataset.unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.pool.channels()), (1, 1, 1));
    assert_eq!(said, ["0/2", "2/2"]);

    let root = tempfile::tempdir().unwrap();
    paint(root.path(), "1.png", [1, 2, 3]);
    let dataset = loaded(root.path(), "folder:8", None).0.unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.pool.len()), (0, 0, 1));
    assert_eq!(dataset.train.images.image_len(), 192);

    paint(root.path(), "cat/1.png", [1, 2, 3]);
    let message = loaded(root.path(), "folder:8", None).0.unwrap_err().to_string();
    assert!(message.contains("too few labelled pictures to hold some out"), "{message}");
}

#[test]
fn damaged_pictures_are_all_named_at_once() {
    let root = zoo(3);
    std::fs::write(root.path().join("cat/0.png"), "nothing").unwrap();
    let message = loaded(root.path(), "folder:8", None).0.unwrap_err().to_string();
    assert!(message.contains("cat/0.png: cannot be read as a picture"), "{message}");
    for at in 0..12 {
        std::fs::write(root.path().join(format!("dog/x{at}.jpg")), "nothing").unwrap();
    }
    let message = loaded(root.path(), "folder:8", None).0.unwrap_err().to_string();
    assert!(message.contains("13 of 21 pictures cannot be read; repair or remove them:\n  - "), "{message}");
    assert!(message.ends_with("\n  and 5 more"), "{message}");
}

#[test]
fn what_was_decoded_is_kept_until_a_picture_changes() {
    let (root, cache) = (zoo(30), tempfile::tempdir().unwrap());
    let load = || loaded(root.path(), "folder:8", Some(cache.path()));
    let is_decoded = |said: &[String]| said.iter().any(|text| text == "0/90");
    let (first, said) = load();
    assert!(is_decoded(&said));
    let (second, said) = load();
    assert!(!is_decoded(&said), "{said:?}");
    assert_eq!(first.unwrap(), second.unwrap());

    paint(root.path(), "cat/7.png", [10, 20, 30]);
    let (changed, said) = load();
    assert!(is_decoded(&said));
    let dataset = changed.unwrap();
    let files = dataset.files.as_ref().unwrap();
    let place = files.pool.iter().chain(&files.test).position(|file| file.ends_with("cat/7.png")).unwrap();
    let image = if place < files.pool.len() {
        dataset.pool.image(place)
    } else {
        dataset.test.images.image(place - files.pool.len())
    };
    assert_eq!([image[0], image[64], image[128]], [10, 20, 30]);
    assert_eq!(std::fs::read_dir(cache.path().join("folder")).unwrap().count(), 1, "one file a folder and form");

    // A file that was cut off or is something else counts for nothing.
    let kept = std::fs::read_dir(cache.path().join("folder")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&kept, "cut").unwrap();
    let (again, said) = load();
    assert!(is_decoded(&said));
    assert_eq!(again.unwrap(), dataset);
}
