use super::super::download::tests::Server;
use super::super::fixture::{TINY, write_tiny};
use super::*;

/// Nothing but what a test puts in.
fn nowhere() -> Sources {
    Sources { environment: None, system: None, cache: None, mirrors: Some(Vec::new()), apt: false }
}

fn run(data: Option<&Path>, sources: &Sources) -> (Result<(Found, Dataset)>, Vec<String>) {
    let mut messages = Vec::new();
    let outcome = search(&TINY, data, sources, &mut |news| {
        if let Progress::Message(message) = news {
            messages.push(message.to_owned());
        }
    });
    (outcome, messages)
}

fn source(data: Option<&Path>, sources: &Sources) -> Source {
    run(data, sources).0.unwrap().0.source
}

#[test]
fn places_are_tried_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let server = Server::tiny();
    let mut sources = Sources { cache: Some(at("cache")), mirrors: Some(vec![server.url.clone()]), ..nowhere() };
    assert_eq!(source(None, &sources), Source::Download);
    assert_eq!(source(None, &sources), Source::Cache);

    write_tiny(&at("system").join("tiny"));
    sources.system = Some(at("system"));
    assert_eq!(source(None, &sources), Source::System);

    write_tiny(&at("environment").join("tiny"));
    sources.environment = Some(at("environment"));
    let found = run(None, &sources).0.unwrap().0;
    assert_eq!(found, Found { folder: at("environment").join("tiny"), source: Source::Environment, published: true });

    write_tiny(&at("given"));
    assert_eq!(source(Some(&at("given")), &sources), Source::Given);
}

#[test]
fn a_folder_the_user_named_is_never_replaced_by_another() {
    let root = tempfile::tempdir().unwrap();
    write_tiny(&root.path().join("system/tiny"));
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mut sources = Sources { system: Some(root.path().join("system")), ..nowhere() };
    let message = run(Some(&empty), &sources).0.unwrap_err().to_string();
    assert!(message.contains("empty: not a folder of Tiny: missing train-images-idx3-ubyte[.gz]"), "{message}");
    assert!(message.ends_with("the folder is empty"), "{message}");

    sources.environment = Some(empty);
    let message = run(None, &sources).0.unwrap_err().to_string();
    assert!(message.ends_with("(TWINVIEW_DATA names this folder; unset it to search the other places)"), "{message}");
}

#[test]
fn an_unpublished_set_is_announced() {
    let root = tempfile::tempdir().unwrap();
    write_tiny(root.path());
    fs::write(root.path().join("train-labels-idx1-ubyte.gz"), super::super::fixture::labels_file(&[1, 1, 1])).unwrap();
    let (outcome, messages) = run(Some(root.path()), &nowhere());
    assert!(!outcome.unwrap().0.published);
    assert!(messages[0].ends_with("not the published Tiny; taken as it is: 3 training and 2 test images"));
}

#[test]
fn a_damaged_system_folder_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let system = root.path().join("system");
    write_tiny(&system.join("tiny"));
    fs::write(system.join("tiny/train-images-idx3-ubyte.gz"), "rubbish").unwrap();
    let server = Server::tiny();
    let sources = Sources {
        system: Some(system.clone()),
        cache: Some(root.path().join("cache")),
        mirrors: Some(vec![server.url.clone()]),
        ..nowhere()
    };
    assert_eq!(source(None, &sources), Source::Download);
    assert!(system.join("tiny/train-images-idx3-ubyte.gz").is_file());
}

#[test]
fn a_damaged_cache_is_thrown_away_and_filled_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("tiny");
    write_tiny(&folder);
    fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    let server = Server::tiny();
    let mut sources = Sources { cache: Some(root.path().to_path_buf()), ..nowhere() };

    let (outcome, messages) = run(None, &sources);
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("tiny: damaged files, now thrown away"), "{message}");
    assert!(messages.len() == 1 && messages[0].starts_with("thrown away from the cache: "), "{messages:?}");
    assert!(messages[0].contains("t10k-labels-idx1-ubyte.gz: cut off"), "{messages:?}");

    sources.mirrors = Some(vec![server.url.clone()]);
    assert_eq!(source(None, &sources), Source::Download);
    assert!(run(None, &sources).1.is_empty());
}

#[test]
fn two_at_once_share_one_download() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::tiny();
    let sources =
        Sources { cache: Some(root.path().to_path_buf()), mirrors: Some(vec![server.url.clone()]), ..nowhere() };
    let mut found = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| source(None, &sources)));
        both.map(|thread| thread.join().unwrap())
    });
    found.sort_by_key(|source| *source != Source::Cache);
    assert_eq!(found, [Source::Cache, Source::Download]);
}

#[test]
fn the_last_error_lists_every_source() {
    let root = tempfile::tempdir().unwrap();
    let blocked = root.path().join("a-file");
    fs::write(&blocked, "").unwrap();
    let mut sources = Sources {
        system: Some(root.path().join("system")),
        cache: Some(root.path().join("cache")),
        mirrors: Some(vec!["http://127.0.0.1:1/".to_owned()]),
        apt: true,
        ..nowhere()
    };
    let message = run(None, &sources).0.unwrap_err().to_string();
    for expected in [
        "Tiny is not on this machine and could not be fetched. Tried:\n  - TWINVIEW_DATA: not set\n",
        "system/tiny: no such folder\n",
        "cache/tiny: not there yet\n",
        "  - http://127.0.0.1:1/train-images-idx3-ubyte.gz: ",
        "  - apt-get: no Debian package holds it\n",
        "Give a folder that holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,",
        "with --data DIR, or use the built-in --dataset shapes",
    ] {
        assert!(message.contains(expected), "{expected} in {message}");
    }
    sources.cache = Some(blocked);
    let message = run(None, &sources).0.unwrap_err().to_string();
    assert!(message.contains("a-file/tiny: cannot make the cache folder"), "{message}");
    sources.cache = None;
    let message = run(None, &sources).0.unwrap_err().to_string();
    assert!(message.contains("cache: no folder for it; set HOME or XDG_CACHE_HOME"), "{message}");
}

#[test]
fn shapes_need_no_place() {
    let request = Request { shapes: (20, 10), sources: nowhere(), ..Request::new("shapes") };
    let data = open(&request, &mut |_| {}).unwrap();
    assert_eq!((data.name.as_str(), data.train.len(), data.test.len()), ("shapes", 20, 10));
    for (request, expected) in [
        (Request { data: Some("here".into()), ..request.clone() }, "--data has no meaning"),
        (Request { shapes: (0, 10), ..request.clone() }, "at least one training and one test image"),
        (Request { name: "shape".into(), ..request.clone() }, "no dataset is called 'shape'"),
    ] {
        let message = open(&request, &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(fetch(&request, &mut |_| {}).unwrap_err().to_string().contains("nothing to fetch"));
}

/// Figures from the dataset's own page: 6,000 and 1,000 images a class; the first training image is an ankle boot.
#[test]
#[ignore = "needs Fashion-MNIST on this machine, or a network"]
fn fashion_mnist_is_what_was_published() {
    let data = open(&Request::new("fashion-mnist"), &mut |_| {}).unwrap();
    assert_eq!(data.train.class_counts(10), [6_000; 10]);
    assert_eq!(data.test.class_counts(10), [1_000; 10]);
    assert_eq!(data.class_names[usize::from(data.train.labels[0])], "Ankle boot");
    let sum: u64 = data.train.images.pixels().iter().map(|&pixel| u64::from(pixel)).sum();
    let mean = sum as f64 / data.train.images.pixels().len() as f64 / 255.0;
    assert!((mean - 0.2860).abs() < 5e-5, "{mean}");
}
