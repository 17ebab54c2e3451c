//! `report.html`, `compare` and `watch`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Lab, outcome, write_dataset};

/// What a page shows.
fn data(html: &[u8]) -> Value {
    let html = String::from_utf8(html.to_vec()).unwrap();
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_training_ends_with_a_page_of_its_images() {
    let lab = Lab::new();
    lab.classifier("run");
    let page = data(&lab.read("run/report.html"));
    assert_eq!(page["title"], "run");
    assert_eq!(page["progress"]["finished"], true);
    assert_eq!(page["split"], "50 test images");
    assert_eq!(page["samples"]["count"], 50);
    assert_eq!(page["samples"]["maps"][0]["k"], 9);
    assert_eq!(page["samples"]["predictions"][0]["name"], "run");
    assert_eq!(page["classes"][0], "T-shirt/top");
    assert_eq!(page["reports"][0]["rows"][9]["class"], "Ankle boot");
    let verdict = page["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("Right on ") && verdict.contains("without a control"), "{verdict}");
    let settings = page["runs"][0]["settings"].as_array().unwrap();
    assert!(settings.contains(&serde_json::json!(["plan.epochs", "2"])), "{settings:?}");
    let loss = &page["runs"][0]["series"][0];
    assert_eq!((&loss["name"], loss["points"].as_array().unwrap().len()), (&Value::from("loss"), 2));

    // The score beside it is what `evaluate` says.
    let score: Value = serde_json::from_slice(&lab.read("run/evaluation.json")).unwrap();
    let evaluated = lab.succeeds("evaluate --data data --weights run --json");
    assert_eq!(score["report"], serde_json::from_str::<Value>(&evaluated).unwrap());
}

#[test]
fn a_pretraining_shows_training_images_and_their_views() {
    let lab = Lab::new();
    lab.simsiam("<b>run");
    let html = lab.read("<b>run/report.html");
    assert!(!String::from_utf8(html.clone()).unwrap().contains("<b>"), "a name became markup");
    let page = data(&html);
    assert_eq!((&page["title"], &page["split"]), (&Value::from("<b>run"), &Value::from("200 training images")));
    assert_eq!(page["views"]["rows"], 3);
    assert_eq!(page["samples"]["predictions"], serde_json::json!([]));
    assert!(page["verdict"].as_str().unwrap().contains("fter epoch 1 of 1"), "{}", page["verdict"]);
}

#[test]
fn a_page_is_only_made_when_wanted_and_can_be_made_later() {
    let lab = Lab::new();
    lab.succeeds("train --data data --run run --epochs 1 --no-report");
    assert!(!lab.exists("run/report.html"));
    lab.classifier("control");
    lab.succeeds("report run --data data --control control");
    let page = data(&lab.read("run/report.html"));
    assert_eq!(page["reports"][1]["name"], "control");
    assert!(page["verdict"].as_str().unwrap().contains("against control"), "{}", page["verdict"]);
    lab.succeeds("report run --data data --split train");
    assert_eq!(data(&lab.read("run/report.html"))["split"], "200 training images");
    lab.simsiam("encoder");
    lab.fails("report run --data data --control encoder", &["no classifier of 10 classes", "encoder"]);
    lab.fails("report data", &["no run directory", "data"]);
}

#[test]
fn a_page_that_cannot_be_written_fails_no_training() {
    let lab = Lab::new();
    lab.write("run/report.html/in-the-way", "");
    let outcome = lab.run("train --data data --run run --epochs 1");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("warning: no report.html was written").count(), 1, "{}", outcome.stderr);
    assert!(lab.exists("run/weights.safetensors"));
}

#[test]
fn runs_are_set_side_by_side() {
    let lab = Lab::new();
    lab.classifier("a/run");
    lab.succeeds("train --data data --run b/run --epochs 1 --batch-size 20 --learning-rate 0.05");
    lab.succeeds("compare a/run b/run");
    let page = data(&lab.read("compare.html"));
    assert_eq!(page["title"], "2 runs side by side");
    let names: Vec<&Value> = page["runs"].as_array().unwrap().iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["a/run", "b/run"]);
    assert_eq!(page["reports"].as_array().unwrap().len(), 2);
    lab.succeeds("compare a/run b/run --out pages/both.html");
    assert!(lab.exists("pages/both.html"));
    lab.fails("compare a/run data", &["data: no run directory", "--run"]);
    let alone = lab.run("compare a/run");
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
}

/// `twinview watch` at work.
struct Watcher {
    process: Child,
    address: String,
}

impl Watcher {
    fn of(lab: &Lab, run: &str) -> Self {
        let mut process = lab
            .command(&format!("watch {run} --port 0"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        Self { process, address }
    }

    /// The answer to `request`, as it is sent.
    fn answer(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.answer(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn body(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Leaves a run as one that trains: no weights, no page yet.
fn unfinish(lab: &Lab, run: &str) {
    for file in ["weights.safetensors", "report.html", "evaluation.json"] {
        fs::remove_file(lab.path(run).join(file)).unwrap();
    }
}

#[test]
fn a_run_is_watched_while_it_trains_and_when_it_is_over() {
    let lab = Lab::new();
    lab.classifier("run");
    let whole = data(&lab.read("run/report.html"));
    let page = lab.read("run/report.html");
    unfinish(&lab, "run");
    let watcher = Watcher::of(&lab, "run");
    assert!(body(&watcher.get("/")).contains("data-live=\"data.json\""));
    let news: Value = serde_json::from_str(body(&watcher.get("/data.json"))).unwrap();
    assert_eq!((&news["progress"]["finished"], &news["progress"]["epoch"]), (&Value::from(false), &Value::from(2)));

    let line = "{\"step\":30,\"epoch\":3,\"loss\":0.25}\n";
    fs::OpenOptions::new()
        .append(true)
        .open(lab.path("run/metrics.jsonl"))
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let news: Value = serde_json::from_str(body(&watcher.get("/data.json"))).unwrap();
    assert_eq!(news["progress"]["epoch"], 3);
    assert_eq!(news["runs"][0]["series"][0]["points"][2], serde_json::json!([3.0, 0.25]));

    lab.write("run/report.html", page);
    let answer = watcher.get("/data.json");
    assert_eq!(serde_json::from_str::<Value>(body(&answer)).unwrap(), whole);
    let tag = answer.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let known = watcher.answer(&format!("GET /data.json HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"));
    assert!(known.starts_with("HTTP/1.1 304 ") && known.ends_with("\r\n\r\n"), "{known}");
}

#[test]
fn a_watcher_shows_its_run_and_nothing_else() {
    let lab = Lab::new();
    lab.classifier("run");
    lab.write("secret.png", "secret");
    lab.write("run/figures/a.png", "picture");
    lab.write("run/figures/secret.txt", "secret");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(lab.path("secret.png"), lab.path("run/figures/link.png")).unwrap();
        fs::remove_file(lab.path("run/report.html")).unwrap();
        std::os::unix::fs::symlink(lab.path("secret.png"), lab.path("run/report.html")).unwrap();
    }
    let watcher = Watcher::of(&lab, "run");
    assert_eq!(body(&watcher.get("/figures/a.png")), "picture");
    for path in [
        "/figures/link.png",
        "/figures/../../secret.png",
        "/figures/..%2f..%2fsecret.png",
        "/../secret.png",
        "/figures/secret.txt",
        "/figures//etc/passwd",
        "/figures/.png",
        "/figures/",
        "/config.toml",
        "/report.html",
        "/weights.safetensors",
        "//etc/passwd",
    ] {
        let answer = watcher.get(path);
        assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("secret\n"), "{path}: {answer}");
    }
    assert!(!body(&watcher.get("/data.json")).contains("secret"), "a link was followed");

    let address = &watcher.address;
    for (request, status) in [
        (format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 3\r\n\r\nabc"), "405"),
        (format!("PUT /figures/b.png HTTP/1.1\r\nHost: {address}\r\n\r\n"), "405"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\nHost: {address}\r\n\r\n", "a".repeat(20_000)), "431"),
    ] {
        let answer = watcher.answer(&request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}: {answer}",
            request.chars().take(20).collect::<String>()
        );
    }
    let head = watcher.answer("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for header in
        ["X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Cross-Origin-Resource-Policy: same-origin"]
    {
        assert!(head.contains(header), "{head}");
    }
    assert!(!head.contains("Access-Control"), "{head}");

    // Silent connections, more than are answered at a time, keep no one out for good.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    drop(silent);
    let answered = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut stream = TcpStream::connect(address).unwrap();
        let mut answer = String::new();
        let request = format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        answer.starts_with("HTTP/1.1 200")
    });
    assert!(answered, "the server does not come back");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_watcher_without_an_error() {
    let lab = Lab::new();
    lab.classifier("run");
    let mut watcher = Watcher::of(&lab, "run");
    let pid = watcher.process.id().to_string();
    // Answered once, it surely listens to signals.
    body(&watcher.get("/"));
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0));
    lab.fails("watch data", &["no run directory"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    lab.fails(&format!("watch run --port {port}"), &["cannot listen on 127.0.0.1", "--port"]);
}

/// Pages in a real browser: network off, pointer, keys, axe-core. Needs `chromium`, `node`, and `npm ci` in
/// `tests/browser`; where one is missing, the test says so and does nothing.
#[test]
fn pages_work_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let is_there =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|seen| seen.status.success());
    if !is_there("node") || !is_there("chromium") || !folder.join("node_modules/playwright-core").is_dir() {
        eprintln!(
            "skipped: pages are tried in a browser where chromium, node and tests/browser/node_modules are there"
        );
        return;
    }
    let lab = Lab::new();
    write_dataset(&lab.path("many"), 10_000, 500);
    lab.succeeds("pretrain --data many --run <b>encoder --epochs 1 --batch-size 250");
    lab.succeeds("probe --data many --weights <b>encoder --run head --first-k 100 --epochs 2 --no-report");
    lab.succeeds("probe --data many --run control --first-k 100 --epochs 2 --no-report");
    lab.succeeds("report head --data many --control control");
    lab.succeeds("compare head control <b>encoder");
    for (page, maps) in [("<b>encoder/report.html", true), ("head/report.html", true), ("compare.html", false)] {
        let size = lab.read(page).len();
        assert!(size < 15_000_000, "{page} has {size} bytes");
        let mut driver = Command::new("node");
        let driven = driver.arg(folder.join("drive.mjs")).arg(lab.path(page)).output().unwrap();
        let driven = outcome(driven);
        assert_eq!(driven.code, Some(0), "{page}\n{}{}", driven.stdout, driven.stderr);
        let measured: Value = serde_json::from_str(&driven.stdout).unwrap();
        eprintln!("{page}: {size} bytes, {measured}");
        assert_eq!(measured.get("neighbours").is_some(), maps, "{measured}");
    }
}
