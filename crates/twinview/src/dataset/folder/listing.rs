//! Which pictures a folder holds, and what is known of each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::decode::is_picture;
use super::labels_file;
use crate::{Error, Result};

/// Folders with these names hold pictures without a label.
const UNLABELLED: [&str; 2] = ["unlabelled", "unlabeled"];
/// Folders with these names hold what is read once, at the end; the first one that is there is taken.
const TEST: [&str; 2] = ["test", "val"];
const TRAIN: &str = "train";
/// Labels are bytes, and one more than there are classes must have room.
const MOST_CLASSES: usize = 255;

/// The pictures of a folder, by their paths below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) class_names: Vec<String>,
    pub(super) train: Vec<(PathBuf, u8)>,
    pub(super) test: Vec<(PathBuf, u8)>,
    pub(super) unlabelled: Vec<PathBuf>,
    /// What a user should know of how the folder was read.
    pub(super) notes: Vec<String>,
}

impl Listing {
    /// Reads the folder `root`: by its `labels.csv` where it has one, and by the names of its folders otherwise.
    ///
    /// # Errors
    /// When there is no picture, when a class has none, and when the labels are not sound.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let file = root.join(labels_file::NAME);
        let listing = if file.is_file() {
            let mut walk = Walk { root, others: Vec::new() };
            labels_file::read(&file, walk.pictures(Path::new(""))?)?
        } else {
            by_folders(root)?
        };
        if listing.train.is_empty() && listing.test.is_empty() && listing.unlabelled.is_empty() {
            let message = "holds no pictures; expected .png, .jpg, .webp, .bmp or .tiff files, in folders named by class \
                           (CLASS/*, or train/CLASS/* and test/CLASS/*), or none of them labelled";
            return Err(Error::format(root, message));
        }
        Ok(listing)
    }
}

/// Orders class names: by number where all are numbers, by letter otherwise.
pub(super) fn sorted_classes(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    let numbers: Option<Vec<u64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        names.sort_by_key(|name| name.parse::<u64>().unwrap_or(0));
    }
    names
}

/// The place of `name` among `class_names`.
pub(super) fn label_of(name: &str, class_names: &[String]) -> Option<u8> {
    class_names.iter().position(|class| class == name).and_then(|place| u8::try_from(place).ok())
}

pub(super) fn check_count(path: &Path, class_names: &[String]) -> Result<()> {
    if class_names.len() > MOST_CLASSES {
        let message = format!("{} classes; at most {MOST_CLASSES} can be told apart", class_names.len());
        return Err(Error::format(path, message));
    }
    Ok(())
}

fn by_folders(root: &Path) -> Result<Listing> {
    let mut walk = Walk { root, others: Vec::new() };
    let mut notes = Vec::new();
    let has_train = root.join(TRAIN).is_dir();
    let tests: Vec<&str> = TEST.into_iter().filter(|name| root.join(name).is_dir()).collect();
    if let [taken, other] = tests[..] {
        notes.push(format!("{other}/ is left aside, because there is {taken}/"));
    }

    let mut top = walk.part(Path::new(""), |name| name == TRAIN || TEST.contains(&name), has_train)?;
    if has_train {
        if !top.classes.is_empty() {
            let names: Vec<String> = top.classes.drain(..).map(|(name, _)| format!("{name}/")).collect();
            notes.push(format!(
                "{} not read: beside train/ there may be test/, val/ and unlabelled/",
                if let [name] = &names[..] { format!("{name} is") } else { format!("{} are", names.join(", ")) }
            ));
        }
        let train = walk.part(Path::new(TRAIN), |_| false, false)?;
        top.classes = train.classes;
        top.loose.extend(train.loose);
        top.unlabelled.extend(train.unlabelled);
    }
    let test = match tests.first() {
        Some(name) => walk.part(Path::new(name), |_| false, false)?,
        None => Part::default(),
    };
    let without_class = test.loose.len() + test.unlabelled.len();
    if without_class > 0 {
        let name = tests[0];
        notes.push(format!(
            "{without_class} pictures of {name}/ are in no folder of a class and left out; name that folder with --data to \
             predict them"
        ));
    }

    let of_train = !top.classes.is_empty();
    let named = if of_train { &top.classes } else { &test.classes };
    let class_names = sorted_classes(named.iter().map(|(name, _)| name.clone()).collect());
    check_count(root, &class_names)?;
    let labelled = |part: Vec<(String, Vec<PathBuf>)>| {
        let mut pictures = Vec::new();
        for (name, files) in part {
            let Some(label) = label_of(&name, &class_names) else {
                let message = format!(
                    "a class that {} has not; its classes are {}",
                    if has_train { "train/" } else { "the training part" },
                    class_names.join(", ")
                );
                return Err(Error::format(root.join(tests[0]).join(name), message));
            };
            pictures.extend(files.into_iter().map(|file| (file, label)));
        }
        Ok(pictures)
    };
    let (train, test) = (labelled(top.classes)?, labelled(test.classes)?);
    if let Some(first) = walk.others.first() {
        let count = walk.others.len();
        notes.push(match count {
            1 => format!("{} is no picture and left out", first.display()),
            _ => format!("{count} files are no pictures and left out, among them {}", first.display()),
        });
    }
    let mut unlabelled = top.loose;
    unlabelled.extend(top.unlabelled);
    unlabelled.sort();
    Ok(Listing { class_names, train, test, unlabelled, notes })
}

/// What a folder of classes holds.
#[derive(Default)]
struct Part {
    /// Each folder of a class, and the pictures below it.
    classes: Vec<(String, Vec<PathBuf>)>,
    /// Pictures in no folder of a class.
    loose: Vec<PathBuf>,
    /// Those in a folder that says that they have no label.
    unlabelled: Vec<PathBuf>,
}

struct Walk<'a> {
    root: &'a Path,
    /// Files that are no pictures.
    others: Vec<PathBuf>,
}

impl Walk<'_> {
    /// `folder` below the root; the root itself without a slash behind it, as joining nothing would give.
    fn path(&self, folder: &Path) -> PathBuf {
        if folder.as_os_str().is_empty() { self.root.to_path_buf() } else { self.root.join(folder) }
    }

    /// What `folder` below the root holds, without what `skip` names. A class needs pictures, unless `may_be_empty`.
    fn part(&mut self, folder: &Path, skip: impl Fn(&str) -> bool, may_be_empty: bool) -> Result<Part> {
        let path = self.path(folder);
        let failed = |source| Error::io(&path, "list the folder", source);
        let mut entries = fs::read_dir(&path).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut part = Part::default();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = folder.join(entry.file_name());
            if name.starts_with('.') || (entry.path().is_dir() && skip(&name)) {
                continue;
            }
            if !entry.path().is_dir() {
                if is_picture(&below) { part.loose.push(below) } else { self.others.push(below) }
            } else if UNLABELLED.contains(&name.as_str()) {
                part.unlabelled.extend(self.pictures(&below)?);
            } else {
                let pictures = self.pictures(&below)?;
                if pictures.is_empty() && !may_be_empty {
                    let message = "a folder of a class without a picture; put some there, or remove it";
                    return Err(Error::format(entry.path(), message));
                }
                part.classes.push((name, pictures));
            }
        }
        Ok(part)
    }

    /// The pictures anywhere below `folder`, in order.
    fn pictures(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let path = self.path(folder);
        let is_shown =
            |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.');
        let mut pictures = Vec::new();
        for entry in WalkDir::new(&path).follow_links(true).sort_by_file_name().into_iter().filter_entry(is_shown) {
            let entry = entry.map_err(|error| {
                let at = error.path().unwrap_or(&path).to_path_buf();
                Error::io(at, "list the folder", error.into())
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            let below = entry.path().strip_prefix(self.root).unwrap_or(entry.path()).to_path_buf();
            if is_picture(&below) { pictures.push(below) } else { self.others.push(below) }
        }
        Ok(pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files of these names: names are all that a listing looks at.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn listing(files: &[&str]) -> Listing {
        Listing::read(folder(files).path()).unwrap()
    }

    fn complaint(files: &[&str]) -> String {
        Listing::read(folder(files).path()).unwrap_err().to_string()
    }

    fn pairs(pairs: &[(&str, u8)]) -> Vec<(PathBuf, u8)> {
        pairs.iter().map(|&(path, label)| (PathBuf::from(path), label)).collect()
    }

    #[test]
    fn folders_are_classes() {
        let found =
            listing(&["dog/b.png", "cat/deep/er/a.jpg", "cat/b.png", "unlabelled/x/1.png", "0.png", ".DS_Store"]);
        assert_eq!(found.class_names, ["cat", "dog"]);
        assert_eq!(found.train, pairs(&[("cat/b.png", 0), ("cat/deep/er/a.jpg", 0), ("dog/b.png", 1)]));
        assert_eq!(found.unlabelled, [PathBuf::from("0.png"), PathBuf::from("unlabelled/x/1.png")]);
        assert!(found.test.is_empty() && found.notes.is_empty(), "{found:?}");
    }

    #[test]
    fn train_and_test_are_told_apart() {
        let files = [
            "train/a/1.png",
            "train/b/1.png",
            "train/unlabeled/2.png",
            "train/3.png",
            "test/b/4.png",
            "test/5.png",
            "val/a/6.png",
            "extra/7.png",
            "8.png",
            "notes.txt",
            "train/a/readme.md",
        ];
        let found = listing(&files);
        assert_eq!(found.train, pairs(&[("train/a/1.png", 0), ("train/b/1.png", 1)]));
        assert_eq!(found.test, pairs(&[("test/b/4.png", 1)]));
        assert_eq!(found.unlabelled, ["8.png", "train/3.png", "train/unlabeled/2.png"].map(PathBuf::from));
        let notes = found.notes.join("\n");
        for note in [
            "val/ is left aside, because there is test/",
            "extra/ is not read: beside train/ there may be",
            "1 pictures of test/ are in no folder of a class and left out",
            "2 files are no pictures and left out, among them ",
        ] {
            assert!(notes.contains(note), "{notes}");
        }
        assert_eq!(listing(&["train/a/1.png", "val/a/2.png"]).test, pairs(&[("val/a/2.png", 0)]));
        assert_eq!(listing(&["a/1.png", "test/a/2.png"]).test, pairs(&[("test/a/2.png", 0)]));
    }

    #[test]
    fn pictures_need_no_labels() {
        let found = listing(&["b.png", "a.jpg"]);
        assert_eq!(found.unlabelled, ["a.jpg", "b.png"].map(PathBuf::from));
        assert!(found.class_names.is_empty() && found.train.is_empty());
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let names = |names: &[&str]| sorted_classes(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(names(&["10", "9", "0"]), ["0", "9", "10"]);
        assert_eq!(names(&["10", "9", "a"]), ["10", "9", "a"]);
    }

    #[test]
    fn what_is_no_dataset_is_refused() {
        assert!(complaint(&[]).contains("holds no pictures; expected .png"));
        assert!(complaint(&["a.txt"]).contains("holds no pictures"));
        let message = complaint(&["cat/1.png", "dog/notes.txt"]);
        assert!(message.contains("dog: a folder of a class without a picture"), "{message}");
        let message = complaint(&["train/cat/1.png", "test/mouse/2.png"]);
        assert!(message.contains("mouse: a class that train/ has not; its classes are cat"), "{message}");
        let many: Vec<String> = (0..256).map(|class| format!("{class}/1.png")).collect();
        let message = complaint(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(message.contains("256 classes; at most 255"), "{message}");
        let message = Listing::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(message.contains("/nonexistent: cannot list the folder"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_of_links_ends_in_an_error() {
        let folder = folder(&["cat/1.png"]);
        std::os::unix::fs::symlink(folder.path().join("cat"), folder.path().join("cat/again")).unwrap();
        let message = Listing::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("cat/again: cannot list the folder"), "{message}");
    }
}
