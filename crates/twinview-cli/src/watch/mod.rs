//! `twinview watch`: a small HTTP server that shows one run and changes nothing.
//!
//! It answers three addresses: the page, its data, and the pictures in the folder `figures` of the run.

mod request;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use twinview::experiment::{self, PAGE};
use twinview::report::page::embedded;
use twinview::{Error, Result};

use self::request::{Refusal, Request};
use crate::commands::pages::refused;
use crate::stop;

/// Connections that are answered at a time; more are closed at once.
const CONNECTIONS: usize = 32;
/// How long a silent connection is waited for.
const SILENCE: Duration = Duration::from_secs(5);
/// How often the server looks whether it shall stop.
const PULSE: Duration = Duration::from_millis(20);
/// A file that is larger is no picture or page of a run.
const LARGEST: u64 = 64 << 20;

/// The server of a run.
pub(crate) struct Server {
    root: PathBuf,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Begins to listen for readers of the run in `root`.
    pub(crate) fn open(root: &Path, address: SocketAddr) -> Result<Self> {
        experiment::page(root)?;
        let root = root.canonicalize().map_err(|error| Error::io(root, "find the run", error))?;
        let listening = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { root, listener, address })
        });
        listening.map_err(|error| refused(address, &error))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the user asks to stop.
    pub(crate) fn serve(&self) -> Result<()> {
        let stop = stop::on_request()?;
        let open = Arc::new(AtomicUsize::new(0));
        while !stop.load(Ordering::Relaxed) {
            let Ok((stream, _)) = self.listener.accept() else {
                // No one there, or someone who has gone again: neither ends the server.
                std::thread::sleep(PULSE);
                continue;
            };
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (root, ours) = (self.root.clone(), Arc::clone(&open));
            let spawned = std::thread::Builder::new().name("reader".into()).spawn(move || {
                // Whoever has gone away needs no answer.
                let _ = answer(stream, &root);
                ours.fetch_sub(1, Ordering::Relaxed);
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Content, and its type.
struct Content {
    body: Vec<u8>,
    kind: &'static str,
}

fn answer(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let asked = request::read(&mut stream).and_then(|head| request::parse(&head));
    let found = asked.and_then(|request| content(root, &request.path).map(|content| (request, content)));
    let response = match found {
        Ok((request, content)) => response(&request, content),
        Err(status) => refusal(status),
    };
    stream.write_all(&response)?;
    // Reading what is left keeps the system from taking the answer back, as it does with unread data.
    stream.shutdown(Shutdown::Write)?;
    let mut rest = [0; 1024];
    for _ in 0..64 {
        match stream.read(&mut rest) {
            Ok(0) => break,
            Err(error) if error.kind() != ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    Ok(())
}

/// What is at `path`.
fn content(root: &Path, path: &str) -> std::result::Result<Content, Refusal> {
    const GONE: Refusal = "503 Service Unavailable";
    match path {
        "/" => {
            let page = page(root).map_err(|_| GONE)?;
            Ok(Content { body: page.to_live_html("data.json").into_bytes(), kind: "text/html; charset=utf-8" })
        }
        "/data.json" => {
            let kind = "application/json";
            match finished(root) {
                Some(data) => Ok(Content { body: data.into_bytes(), kind }),
                None => Ok(Content { body: page(root).map_err(|_| GONE)?.to_json().into_bytes(), kind }),
            }
        }
        _ => {
            let body = path.strip_prefix("/figures/").and_then(|name| picture(root, name)).ok_or("404 Not Found")?;
            Ok(Content { body, kind: "image/png" })
        }
    }
}

/// The page as far as the run is, with its figures.
fn page(root: &Path) -> Result<twinview::report::page::Page> {
    let mut page = experiment::page(root)?;
    let entries = fs::read_dir(root.join("figures")).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| is_picture(name));
    names.sort();
    page.figures = names.into_iter().map(|name| format!("figures/{name}")).collect();
    Ok(page)
}

/// What the page of a finished run shows, images included.
fn finished(root: &Path) -> Option<String> {
    let html = String::from_utf8(inside(root, &root.join(PAGE))?).ok()?;
    embedded(&html).map(str::to_owned)
}

/// A name that cannot lead anywhere else: one part of a path, of plain letters.
fn is_picture(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.ends_with(".png") && !name.starts_with('.') && name.bytes().all(is_plain)
}

fn picture(root: &Path, name: &str) -> Option<Vec<u8>> {
    is_picture(name).then(|| inside(root, &root.join("figures").join(name)))?
}

/// The file at `path` if it lies in `root`, wherever links lead.
fn inside(root: &Path, path: &Path) -> Option<Vec<u8>> {
    let path = path.canonicalize().ok().filter(|path| path.starts_with(root))?;
    let found = fs::metadata(&path).ok()?;
    (found.is_file() && found.len() <= LARGEST).then(|| fs::read(&path).ok())?
}

/// Headers of every answer: nothing is kept, guessed, framed or read by other pages.
const HEADERS: &str = "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
                       Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n";

fn response(request: &Request, content: Content) -> Vec<u8> {
    let Content { body, kind } = content;
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    if request.known.as_ref() == Some(&tag) {
        return format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n{HEADERS}\r\n").into_bytes();
    }
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nETag: {tag}\r\n{HEADERS}\r\n");
    let mut response = head.into_bytes();
    if !request.is_head {
        response.extend(body);
    }
    response
}

fn refusal(status: Refusal) -> Vec<u8> {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{allow}{HEADERS}\r\n{status}\n",
        status.len() + 1
    )
    .into_bytes()
}
