//! A small server on this machine plays the mirror.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::super::fixture::{TINY, gzip, tiny_files, write_tiny};
use super::*;

/// How the server answers requests for a file.
#[derive(Clone, Debug)]
struct Answer {
    content: Vec<u8>,
    /// Bytes of each answer before the connection is cut; none when there are no more entries.
    cuts: Vec<usize>,
    ranges: bool,
}

impl Answer {
    fn whole(content: Vec<u8>) -> Self {
        Self { content, cuts: Vec::new(), ranges: true }
    }
}

/// Serves until the process ends. Every request is noted as `path range`.
pub(in super::super) struct Server {
    pub(in super::super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Offers the files of [`TINY`], gzipped.
    pub(in super::super) fn tiny() -> Self {
        Self::start(|_, answer| answer)
    }

    /// Offers what `change` makes of them.
    fn start(change: impl Fn(&str, Answer) -> Answer) -> Self {
        let files = tiny_files().map(|(name, content)| {
            let answer = change(name, Answer::whole(gzip(&content)));
            (format!("/{name}.gz"), answer)
        });
        Self::serve(files.into())
    }

    fn serve(mut files: HashMap<String, Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that gives up is no failure of the server.
                let _ = respond(stream.unwrap(), &mut files, &noted);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn respond(
    mut stream: TcpStream,
    files: &mut HashMap<String, Answer>,
    noted: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let mut start = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = Some(range.trim_end_matches('-').parse::<usize>().unwrap());
        }
    }
    noted.lock().unwrap().push(match start {
        Some(start) => format!("{path} from {start}"),
        None => path.clone(),
    });
    let Some(answer) = files.get_mut(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let total = answer.content.len();
    let (head, body) = match start {
        Some(start) if answer.ranges && start >= total => {
            (format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{total}"), &[][..])
        }
        Some(start) if answer.ranges => (
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}", total - 1),
            &answer.content[start..],
        ),
        _ => ("200 OK".to_owned(), &answer.content[..]),
    };
    let length = body.len();
    let sent = if answer.cuts.is_empty() { length } else { answer.cuts.remove(0).min(length) };
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&body[..sent])
}

/// Runs a download and returns its outcome and the messages.
fn run(mirrors: &[&str], folder: &Path) -> (std::result::Result<(), Vec<String>>, Vec<String>) {
    let mirrors: Vec<String> = mirrors.iter().map(|&mirror| mirror.to_owned()).collect();
    let mut messages = Vec::new();
    let outcome = missing_files(&TINY, &mirrors, folder, &mut |news| {
        if let Progress::Message(message) = news {
            messages.push(message.to_owned());
        }
    });
    (outcome, messages)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether `folder` holds exactly the four files, sound.
fn is_complete(folder: &Path) -> bool {
    let sound = TINY.all_files().iter().all(|(file, kind, shape)| {
        find_file(folder, file).is_some_and(|path| read_published(&path, file, *kind, shape).is_ok())
    });
    sound && names(folder).len() == 4
}

/// An address where nothing listens: the port is reserved for a service of the 1980s.
const NOBODY: &str = "http://127.0.0.1:1/";

const TRAIN: &str = "train-images-idx3-ubyte";

#[test]
fn gets_what_is_missing_and_reports_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path());
    let train = folder.path().join("train-images-idx3-ubyte.gz");
    let size = fs::metadata(&train).unwrap().len();
    fs::remove_file(&train).unwrap();
    let server = Server::tiny();
    let mut last = None;
    missing_files(&TINY, std::slice::from_ref(&server.url), folder.path(), &mut |news| {
        if let Progress::Bytes { file, done, total } = news {
            last = Some((file.to_owned(), done, total));
        }
    })
    .unwrap();
    assert!(is_complete(folder.path()));
    assert_eq!(server.requests(), ["/train-images-idx3-ubyte.gz"]);
    assert_eq!(last, Some(("train-images-idx3-ubyte.gz".to_owned(), size, Some(size))));
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|name, answer| match name {
        TRAIN => Answer { cuts: vec![100, 50], ..answer },
        _ => answer,
    });
    let (outcome, messages) = run(&[&server.url], folder.path());
    outcome.unwrap();
    assert!(is_complete(folder.path()));
    let path = format!("/{TRAIN}.gz");
    assert_eq!(server.requests()[..3], [path.clone(), format!("{path} from 100"), format!("{path} from 150")]);
    assert!(messages.len() == 2 && messages[0].contains("broke off after 100 bytes"), "{messages:?}");
}

#[test]
fn another_run_and_another_mirror_go_on_where_the_first_stopped() {
    let folder = tempfile::tempdir().unwrap();
    // After the cut the connection is closed without a byte: no progress, so the mirror is given up.
    let server = Server::start(|_, answer| Answer { cuts: vec![100, 0], ..answer });
    let reasons = run(&[&server.url], folder.path()).0.unwrap_err();
    assert!(reasons.len() == 1 && reasons[0].contains("broke off after 100 bytes"), "{reasons:?}");
    assert_eq!(names(folder.path()), ["train-images-idx3-ubyte.gz.partial"]);

    let other = Server::tiny();
    run(&[NOBODY, &other.url], folder.path()).0.unwrap();
    assert!(is_complete(folder.path()));
    assert_eq!(other.requests()[0], format!("/{TRAIN}.gz from 100"));
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, answer| Answer { cuts: vec![100], ranges: false, ..answer });
    let mirror = &[server.url.as_str()];
    assert!(run(mirror, folder.path()).0.is_ok() && is_complete(folder.path()));
}

#[test]
fn a_finished_partial_file_needs_only_its_name() {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path());
    let target = folder.path().join(format!("{TRAIN}.gz"));
    fs::rename(&target, target.with_added_extension("partial")).unwrap();
    let server = Server::tiny();
    run(&[&server.url], folder.path()).0.unwrap();
    assert!(is_complete(folder.path()));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_partial_file_of_something_else_is_thrown_away() {
    for length in [10, 10_000] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{TRAIN}.gz.partial")), vec![b'x'; length]).unwrap();
        let server = Server::tiny();
        let (outcome, messages) = run(&[&server.url], folder.path());
        outcome.unwrap();
        assert!(is_complete(folder.path()));
        assert!(messages.len() == 1 && messages[0].contains("thrown away: the file starts with the bytes 78 78"));
    }
}

#[test]
fn the_next_mirror_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Server::serve(HashMap::new());
    let server = Server::tiny();
    run(&[&empty.url, NOBODY, &server.url], folder.path()).0.unwrap();
    assert!(is_complete(folder.path()));
    assert_eq!(empty.requests().len(), 4);
}

#[test]
fn wrong_content_is_thrown_away_and_never_gets_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = Server::start(|name, answer| match name {
        TRAIN => Answer::whole(gzip(&{
            let mut content = tiny_files()[0].1.clone();
            content[1000] ^= 1;
            content
        })),
        _ => answer,
    });
    let page = Server::start(|_, _| Answer::whole(b"<html>Please log in</html>".to_vec()));
    let endless = Server::start(|_, _| Answer::whole(vec![0; 1 << 18]));
    let (outcome, messages) = run(&[&wrong.url, &page.url, &endless.url], folder.path());
    let reasons = outcome.unwrap_err();
    assert!(reasons[0].starts_with(&wrong.url) && reasons[0].contains("wrong checksum"), "{reasons:?}");
    assert!(reasons[1].contains("this looks like a web page"), "{reasons:?}");
    assert!(reasons[2].contains("sent more than"), "{reasons:?}");
    assert!(messages[0].contains("was thrown away: wrong checksum"), "{messages:?}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn every_mirror_is_listed_when_none_helps() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Server::serve(HashMap::new());
    let reasons = run(&[&empty.url, NOBODY], folder.path()).0.unwrap_err();
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[0], format!("{}{TRAIN}.gz: not there (HTTP status 404)", empty.url));
    assert!(reasons[1].starts_with(NOBODY), "{reasons:?}");
    assert_eq!(run(&[], folder.path()).0.unwrap_err(), ["download: switched off"]);
}

#[test]
fn a_folder_that_cannot_be_written_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::tiny();
    let reasons = run(&[&server.url, &server.url], &folder.path().join("none")).0.unwrap_err();
    assert!(reasons.len() == 1 && reasons[0].contains("cannot write the download"), "{reasons:?}");
}
