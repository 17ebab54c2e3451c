//! Every command of the pages is run, small.
//!
//! The commands of a page run in order in one temporary folder, so that later ones find the runs of earlier ones. What
//! they say is not changed but for sizes: epochs, labels, and a dataset of a few hundred images in the place of the
//! named one. `listing.toml` and the like are the block of TOML behind the line that names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::pages::{Page, pages};

/// What is not run here, and why.
const NOT_RUN: [(&str, &str); 13] = [
    ("cargo test", "these tests are part of it"),
    ("cargo build", "the tests run what it makes"),
    ("cargo doc", "it compiles no program"),
    ("tensorboard", "a viewer; tests/viewers reads runs with it"),
    ("wandb", "the same"),
    ("mlflow", "the same"),
    ("python3", "tests need no Python"),
    ("bench/against_pytorch", "needs PyTorch and a quiet machine"),
    ("bench/batches", "takes minutes of a quiet machine"),
    ("rustup", "changes the toolchains of the system"),
    ("apt-get", "changes the system"),
    ("cargo +nightly", "needs another toolchain"),
    ("man", "opens a viewer"),
];

const TRAIN: usize = 400;
const TEST: usize = 100;

/// The lines of a page's shell blocks with their numbers; a backslash at the end joins the next one.
fn lines(page: &Page) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for block in page.blocks().iter().filter(|block| block.language == "sh") {
        let mut goes_on = false;
        for (number, line) in block.content.lines().enumerate() {
            let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
            match goes_on {
                true => lines.last_mut().unwrap().1.push_str(part),
                false => lines.push((block.line + number, part.to_owned())),
            }
            goes_on = more;
        }
    }
    lines.retain(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    lines
}

/// The program of a line, behind variables that are set for it; with its first word where that is a command of its own.
fn program(line: &str) -> String {
    let mut words = line.split_whitespace().skip_while(|word| word.contains('=') || word.starts_with('-'));
    let first = words.next().unwrap_or_default();
    match first {
        "cargo" => format!("cargo {}", words.next().unwrap_or_default()),
        _ => first.to_owned(),
    }
}

/// `line` with the number behind each `key` replaced.
fn with_number(line: &str, key: &str, number: usize) -> String {
    let mut pieces = line.split(key);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == piece.len() { text + key + piece } else { format!("{text}{key}{number}{rest}") }
    })
}

/// A line that begins with `twinview`, made small; an error names a command that nobody said how to.
fn small(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let length = if ["data", "experiment"].contains(words.get(1).unwrap_or(&"")) { 3 } else { 2 };
    let command = words[1..words.len().min(length)].join(" ");
    let mut line = line.to_owned();
    for (key, number) in [
        ("--first-k ", 40),
        ("--stratified ", 40),
        ("--batch-size ", 50),
        ("--batch ", 50),
        ("holdout=", 50),
        ("watch.labels=", 40),
        ("pretraining.epochs=", 1),
        ("--count ", 10),
    ] {
        line = with_number(&line, key, number);
    }
    if !command.starts_with("data") {
        line = line.replace("--dataset shapes", "");
    }
    // Not every machine has a graphics processor, nor every program what it takes.
    line = line.replace("--device gpu", "--device cpu");
    // A warm-up must be shorter than the training.
    let epochs = if line.contains("warmup_epochs = 2") { 3 } else { 1 };
    let more = match command.as_str() {
        "data fetch" | "data show" | "evaluate" | "predict" | "select" | "search" | "embed" | "import" | "export"
        | "completions" | "man" | "--help" | "--version" | "report" | "compare" => "",
        // It ends when it is interrupted.
        "watch" => return Ok(format!("timeout --signal INT 2 {line} || test $? = 124")),
        "probe" if line.contains("--head linear") => "",
        "train" | "pretrain" | "probe" | "finetune" | "selftrain" | "experiment methods" => {
            match line.contains("--epochs ") {
                true => line = with_number(&line, "--epochs ", epochs),
                false => line = line.replacen(&command, &format!("{command} --epochs {epochs}"), 1),
            }
            match line.contains("watch.labels") {
                true => "--set watch.validation=50",
                false if command == "experiment methods" && !line.contains("--first-k") => "--first-k 40",
                false => "",
            }
        }
        "reproduce" => {
            "--set labels=40 --set supervised.epochs=1 --set scratch.epochs=1 --set pretraining.epochs=1 \
             --set head.plan.epochs=1"
        }
        "experiment labels" => {
            if !line.contains("--encoder ") {
                line.push_str(" --set pretraining_seeds=1 --set pretraining.epochs=1");
            }
            "--set budgets=[20] --set validation=50 \
             --set 'chosen=[\"stratified\"]' --set 'scratch=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}]' \
             --set 'fine_tuning=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}]' --set self_training.epochs=1"
        }
        "bench" => "--steps 1",
        _ => return Err(format!("say in {} how to run `twinview {command}` in a second", file!())),
    };
    Ok(line.replacen(&command, &format!("{command} {more}"), 1))
}

/// Runs the commands of a page. What went wrong, and the programs of [`NOT_RUN`] that it names.
fn run(page: &Page) -> (Vec<String>, BTreeSet<String>) {
    let (mut wrong, mut not_run) = (Vec::new(), BTreeSet::new());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_dataset(&at("images"));
    for block in page.blocks() {
        let named =
            block.before.split('`').skip(1).step_by(2).find(|name| name.ends_with(".toml") && !name.contains('/'));
        if let (Some(name), "toml") = (named, block.language.as_str()) {
            fs::write(at(name), block.content).unwrap();
        }
    }
    for (number, line) in lines(page) {
        let place = format!("{}:{number}: {line}", page.name);
        let line = line.replace("cargo run --release --", "twinview");
        let program = program(&line);
        if NOT_RUN.iter().any(|(name, _)| *name == program) {
            not_run.insert(program);
            continue;
        }
        let line = match program.as_str() {
            "twinview" => small(&line),
            "mkdir" | "ls" | "cat" | "cp" | "rm" | "tail" => Ok(line),
            _ => Err(format!("`{program}` is neither run nor listed in {} with a reason not to", file!())),
        };
        let result = line.and_then(|line| {
            prepare(&line, folder.path())?;
            shell(&line, folder.path())
        });
        if let Err(message) = result {
            wrong.push(format!("{place}\n{message}"));
            break;
        }
    }
    (wrong, not_run)
}

/// Puts what a user would bring where `line` names it: folders of images, weights from PyTorch.
fn prepare(line: &str, folder: &Path) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.windows(2).filter(|pair| pair[0] == "--data") {
        match pair[1].ends_with("photos") {
            true => write_photos(&folder.join(pair[1])),
            false => write_dataset(&folder.join(pair[1])),
        }
    }
    // The form of a file is told by its content, so that weights of ours do; golden/weights has PyTorch's own, for other tests.
    for word in words.iter().filter(|word| word.ends_with(".pt") && !folder.join(word).exists()) {
        shell("twinview train --epochs 1 --quiet --run from-python", folder)?;
        fs::copy(folder.join("from-python/weights.safetensors"), folder.join(word)).unwrap();
    }
    Ok(())
}

fn shell(line: &str, folder: &Path) -> Result<(), String> {
    let program = Path::new(env!("CARGO_BIN_EXE_twinview"));
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .env("HOME", folder.join("home"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("TWINVIEW_DATA", folder.join("images"))
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && !said.contains("panicked") {
        true => Ok(()),
        false => Err(format!("  run as: {line}\n  {}, {said}", output.status)),
    }
}

/// Images in the form of MNIST, ten classes that differ by where a bright bar lies.
fn write_dataset(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (split, count) in [("train", TRAIN), ("t10k", TEST)] {
        let number = |value: usize| (value as u32).to_be_bytes();
        let mut labels = [number(0x801), number(count)].concat();
        let mut images = [number(0x803), number(count), number(28), number(28)].concat();
        for index in 0..count {
            let label = index * 7 % 10;
            labels.push(label as u8);
            images.extend((0..28 * 28).map(|place| {
                let is_bright = (2 * label..2 * label + 6).contains(&(place / 28));
                (if is_bright { 200 } else { 0 } + (place * 31 + index * 17) % 40) as u8
            }));
        }
        fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), labels).unwrap();
        fs::write(folder.join(format!("{split}-images-idx3-ubyte")), images).unwrap();
    }
}

/// Pictures of two classes in folders of their names, and some without a label: BMP files of one colour.
fn write_photos(folder: &Path) {
    const SIDE: u32 = 8;
    for (place, count) in [("train/cat", 30), ("train/dog", 30), ("test/cat", 5), ("test/dog", 5), ("unlabelled", 10)] {
        let below = folder.join(place);
        fs::create_dir_all(&below).unwrap();
        for at in 0..count {
            let pixel = if place.ends_with("cat") { [at, 90, 200] } else { [200, 30, at] };
            let pixels = pixel.repeat((SIDE * SIDE) as usize);
            let mut file = b"BM".to_vec();
            let length = pixels.len() as u32;
            for number in [54 + length, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, 0, length, 0, 0, 0, 0] {
                file.extend(number.to_le_bytes());
            }
            // As a camera names its files; what they are, the content tells.
            fs::write(below.join(format!("{at}.jpg")), [file, pixels].concat()).unwrap();
        }
    }
}

#[test]
fn every_command_runs() {
    let pages: Vec<Page> = pages().into_iter().filter(|page| !lines(page).is_empty()).collect();
    assert!(pages.len() > 15, "{} pages with commands", pages.len());
    let (waiting, results) = (Mutex::new(pages), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(page) = next() {
                    let result = run(&page);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let (wrong, not_run): (Vec<_>, Vec<_>) = results.into_inner().unwrap().into_iter().unzip();
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let not_run: BTreeSet<String> = not_run.into_iter().flatten().collect();
    let unused: Vec<&str> = NOT_RUN.map(|(name, _)| name).into_iter().filter(|name| !not_run.contains(*name)).collect();
    assert!(unused.is_empty(), "no page has these any more: {unused:?}");
}

/// A block without a language could hide a command.
#[test]
fn every_block_says_what_it_is() {
    for page in pages() {
        for block in page.blocks() {
            let known = ["sh", "toml", "rust", "rust,no_run", "python", "text"];
            assert!(known.contains(&block.language.as_str()), "{}:{}: {:?}", page.name, block.line, block.language);
            let hidden = block.language == "text" && block.content.contains("$ ");
            assert!(!hidden, "{}:{}: a command in a block of text", page.name, block.line);
        }
    }
}
