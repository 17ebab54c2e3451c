//! A folder to try the program in.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Images of the dataset that [`Lab::new`] writes.
pub(crate) const TRAIN: usize = 200;
pub(crate) const TEST: usize = 50;

/// A temporary folder with a small dataset in `data`, in which the program runs.
pub(crate) struct Lab {
    folder: TempDir,
}

/// What the program did.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        write_dataset(&lab.path("data"), TRAIN, TEST);
        lab
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with `arguments`, split at spaces, and with a home and a cache of its own.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_twinview")), arguments.split_whitespace())
    }

    /// The program run by a shell, after `preparation` in it.
    #[cfg(unix)]
    pub(crate) fn shell(&self, preparation: &str, arguments: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{preparation}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_twinview"));
        self.prepare(shell, arguments.split_whitespace())
    }

    fn prepare(&self, mut command: Command, arguments: impl Iterator<Item = impl AsRef<OsStr>>) -> Command {
        command.args(arguments).current_dir(self.folder.path());
        command.env("HOME", self.path("home")).env("XDG_CACHE_HOME", self.path("cache")).env_remove("TWINVIEW_DATA");
        // A panic must be seen in full by the checks here, and two threads suit a shared machine.
        command.env("RUST_BACKTRACE", "1").env("RAYON_NUM_THREADS", "2").stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &str) -> Outcome {
        outcome(self.command(arguments).output().unwrap())
    }

    /// Runs the program, which must succeed; gives its standard output.
    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &str) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "twinview {arguments}\n{}", outcome.stderr);
        self.assert_tidy(&outcome);
        outcome.stdout
    }

    /// Runs the program, which must fail with all of `expected` in its message; gives the message.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &str, expected: &[&str]) -> String {
        let outcome = self.run(arguments);
        self.assert_failed(&outcome, expected);
        assert_eq!(outcome.stdout, "", "twinview {arguments}");
        outcome.stderr
    }

    #[track_caller]
    pub(crate) fn assert_failed(&self, outcome: &Outcome, expected: &[&str]) {
        let Outcome { code, stderr, .. } = outcome;
        assert_eq!(*code, Some(1), "{stderr}");
        let message = stderr.lines().find(|line| line.starts_with("twinview: "));
        assert!(message.is_some(), "no message: {stderr}");
        expected.iter().for_each(|text| assert!(stderr.contains(text), "no {text:?} in: {stderr}"));
        self.assert_tidy(outcome);
    }

    /// No panic, and nothing half-written.
    #[track_caller]
    fn assert_tidy(&self, outcome: &Outcome) {
        let stderr = &outcome.stderr;
        assert!(!stderr.contains("panicked") && !stderr.contains("stack backtrace"), "{stderr}");
        let partial: Vec<PathBuf> = files(self.folder.path()).into_iter().filter(|path| is_partial(path)).collect();
        assert!(partial.is_empty(), "{partial:?}");
    }

    /// Trains a small classifier in the run directory `run`.
    pub(crate) fn classifier(&self, run: &str) {
        self.succeeds(&format!("train --data data --run {run} --epochs 2 --batch-size 20 --learning-rate 0.05"));
    }

    /// Trains a small SimSiam in the run directory `run`.
    pub(crate) fn simsiam(&self, run: &str) {
        self.succeeds(&format!("pretrain --data data --run {run} --epochs 1 --batch-size 50"));
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

pub(crate) fn outcome(output: Output) -> Outcome {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn is_partial(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".partial-"))
}

/// Every file under `folder`, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// A fixture of the folder `golden/weights`, or of another folder of `golden` where `name` begins with it.
pub(crate) fn golden(name: &str) -> String {
    let name = if name.contains('/') { name.to_owned() } else { format!("weights/{name}") };
    let path = format!("{}/../../golden/{name}", env!("CARGO_MANIFEST_DIR"));
    assert!(Path::new(&path).is_file(), "{path}");
    path
}

/// A script of `tests/viewers` under the Python there; where `.ci/run` could not make that, this says so and gives nothing.
pub(crate) fn viewers(script: &str) -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viewers");
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        eprintln!("skipped: {script} needs tests/viewers/venv");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(folder.join(script));
    Some(command)
}

/// Four IDX files of 28×28 images in ten classes, which differ by where a bright bar lies.
pub(crate) fn write_dataset(folder: &Path, train: usize, test: usize) {
    fs::create_dir_all(folder).unwrap();
    for (split, count) in [("train", train), ("t10k", test)] {
        let labels: Vec<u8> = (0..count).map(|index| (index * 7 % 10) as u8).collect();
        let pixels: Vec<u8> = (0..count).flat_map(|index| picture(index, labels[index])).collect();
        fs::write(folder.join(format!("{split}-images-idx3-ubyte")), idx_images(count, &pixels)).unwrap();
        fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), idx_labels(&labels)).unwrap();
    }
}

fn picture(index: usize, label: u8) -> impl Iterator<Item = u8> {
    let first = 2 * usize::from(label) + index % 3;
    (0..28 * 28).map(move |place| {
        let noise = (place * 31 + index * 17) % 40;
        if (first..first + 5).contains(&(place / 28)) { (200 + noise) as u8 } else { noise as u8 }
    })
}

pub(crate) fn idx_images(count: usize, pixels: &[u8]) -> Vec<u8> {
    let header = [0x803, count as u32, 28, 28].map(u32::to_be_bytes).concat();
    [&header, pixels].concat()
}

pub(crate) fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let header = [0x801, labels.len() as u32].map(u32::to_be_bytes).concat();
    [&header, labels].concat()
}

/// A gzip file that stores `content` as it is (RFC 1952, RFC 1951 section 3.2.4).
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = content.len().div_ceil(0xffff);
    for (number, block) in content.chunks(0xffff).enumerate() {
        let length = block.len() as u16;
        file.push(u8::from(number + 1 == blocks));
        file.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        file.extend(block);
    }
    let crc = !content.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    file.extend([crc.to_le_bytes(), (content.len() as u32).to_le_bytes()].concat());
    file
}

/// Width and height in the header of a PNG file.
pub(crate) fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    assert_eq!(&bytes[12..16], b"IHDR");
    assert!(bytes.ends_with(b"IEND\xae\x42\x60\x82"), "a PNG without an end");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}
