//! The head of an HTTP request: what is asked for, and whether it may be answered.

use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A head that is longer is no browser's.
const LONGEST: usize = 8 * 1024;
/// Time for all of a head, however slowly it comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) is_head: bool,
    /// The path, without what follows a question mark.
    pub(super) path: String,
    /// What the browser has already, by its tag.
    pub(super) known: Option<String>,
}

/// Why a request is not answered: the status line.
pub(super) type Refusal = &'static str;

/// Reads a request up to the empty line.
pub(super) fn read(stream: &mut impl Read) -> Result<String, Refusal> {
    let begun = Instant::now();
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = match stream.read(&mut part) {
            Ok(0) => return Err("400 Bad Request"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Err("408 Request Timeout"),
        };
        head.extend_from_slice(&part[..count]);
        let searched = head.len().saturating_sub(count + 3);
        if let Some(end) = head[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(searched + end);
            return String::from_utf8(head).map_err(|_| "400 Bad Request");
        }
        if head.len() > LONGEST {
            return Err("431 Request Header Fields Too Large");
        }
        if begun.elapsed() > PATIENCE {
            return Err("408 Request Timeout");
        }
    }
}

/// Understands a head. Only reading is allowed, and only under a name that no stranger can give this machine.
pub(super) fn parse(head: &str) -> Result<Request, Refusal> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("400 Bad Request");
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err("400 Bad Request");
    }
    if !matches!(method, "GET" | "HEAD") {
        return Err("405 Method Not Allowed");
    }
    let (mut hosts, mut known) = (Vec::new(), None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Err("400 Bad Request") };
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts.push(value.trim()),
            "if-none-match" => known = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    match hosts.as_slice() {
        [host] if is_trusted(host) => {}
        [_] => return Err("421 Misdirected Request"),
        _ => return Err("400 Bad Request"),
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Request { is_head: method == "HEAD", path, known })
}

/// Whether a browser that asks for `host` cannot have been led here by a name whose owner points it at this machine (DNS
/// rebinding): the page was asked for by an address, or by the one name that always means the own machine.
fn is_trusted(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Result<Request, Refusal> {
        parse(&head.replace('\n', "\r\n"))
    }

    #[test]
    fn reading_is_understood() {
        let request = asked("GET /data.json?x=1 HTTP/1.1\nhost: 127.0.0.1:80\nIf-None-Match: \"a\"").unwrap();
        assert_eq!(request, Request { is_head: false, path: "/data.json".into(), known: Some("\"a\"".into()) });
        assert!(asked("HEAD / HTTP/1.0\nHost: localhost").unwrap().is_head);
    }

    #[test]
    fn everything_else_is_refused() {
        for (head, status) in [
            ("POST / HTTP/1.1\nHost: localhost", "405"),
            ("DELETE /metrics.jsonl HTTP/1.1\nHost: localhost", "405"),
            ("GET / HTTP/2\nHost: localhost", "400"),
            ("GET http://evil/ HTTP/1.1\nHost: localhost", "400"),
            ("GET /", "400"),
            ("", "400"),
            ("GET / HTTP/1.1", "400"),
            ("GET / HTTP/1.1\nHost: localhost\nHost: localhost", "400"),
            ("GET / HTTP/1.1\nnonsense", "400"),
            ("GET / HTTP/1.1\nHost: evil.example:6680", "421"),
            ("GET / HTTP/1.1\nHost: 127.0.0.1.evil.example", "421"),
            ("GET / HTTP/1.1\nHost: localhost.evil.example", "421"),
            ("GET / HTTP/1.1\nHost: ", "421"),
        ] {
            let refusal = asked(head).unwrap_err();
            assert!(refusal.starts_with(status), "{head:?}: {refusal}");
        }
    }

    #[test]
    fn own_names_are_trusted() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "192.168.1.7:6680", "[::1]:6680", "[::1]"] {
            assert!(is_trusted(host), "{host}");
        }
    }

    #[test]
    fn a_head_is_read_to_its_end_and_no_further_than_it_may_be() {
        let mut whole = &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nbody"[..];
        assert_eq!(read(&mut whole).unwrap(), "GET / HTTP/1.1\r\nHost: localhost");
        assert_eq!(read(&mut &b"GET / HTTP"[..]), Err("400 Bad Request"));
        assert!(read(&mut &[b'a'; 20_000][..]).unwrap_err().starts_with("431"));
        assert!(read(&mut &b"GET /\xff HTTP/1.1\r\n\r\n"[..]).unwrap_err().starts_with("400"));
    }
}
