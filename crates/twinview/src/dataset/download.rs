//! Downloading the files of a dataset from its mirrors.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Progress;
use super::catalog::Entry;
use super::load::{find_file, read_published};
use crate::{Error, Result};

/// Why a file could not be had from one mirror.
enum Failure {
    /// The mirror's fault: the next may do better.
    Mirror(String),
    /// This machine's fault: no mirror can help.
    Local(Error),
}

/// Downloads into `folder` what is missing there. Files appear under their names only when complete and checked.
///
/// # Errors
/// One line for each mirror that failed on the first file that no mirror gave.
pub(super) fn missing_files(
    entry: &Entry,
    mirrors: &[String],
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> std::result::Result<(), Vec<String>> {
    if mirrors.is_empty() {
        return Err(vec!["download: switched off".to_owned()]);
    }
    let agent = agent();
    for (file, kind, shape) in entry.all_files() {
        if find_file(folder, file).is_some() {
            continue;
        }
        let check = |path: &Path| read_published(path, file, kind, &shape).map(drop);
        let mut download = Download {
            agent: &agent,
            target: folder.join(format!("{}.gz", file.name)),
            // Compressing never makes it much larger, so whatever is longer is something else.
            limit: shape.iter().product::<usize>() as u64 + (64 << 10),
            check: &check,
            progress,
        };
        let mut failures = Vec::new();
        let done = mirrors.iter().any(|mirror| {
            let url = format!("{mirror}{}.gz", file.name);
            if matches!(failures.last(), Some((_, Failure::Local(_)))) {
                return false;
            }
            download.try_mirror(&url).map_err(|failure| failures.push((url, failure))).is_ok()
        });
        if !done {
            let lines = failures.into_iter().map(|(url, failure)| match failure {
                Failure::Mirror(why) => format!("{url}: {why}"),
                Failure::Local(error) => error.to_string(),
            });
            return Err(lines.collect());
        }
    }
    Ok(())
}

fn agent() -> ureq::Agent {
    let seconds = |count| Some(Duration::from_secs(count));
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(seconds(10))
        .timeout_connect(seconds(10))
        .timeout_recv_response(seconds(30))
        .timeout_per_read(seconds(30))
        // The files are gzipped themselves; a second layer would break resuming.
        .accept_encoding("identity")
        .user_agent(concat!("twinview/", env!("CARGO_PKG_VERSION")));
    // The tests speak to this machine, which no proxy can reach.
    let config = if cfg!(test) { config.proxy(None) } else { config };
    config.build().new_agent()
}

/// One file on its way.
struct Download<'a> {
    agent: &'a ureq::Agent,
    target: PathBuf,
    limit: u64,
    check: &'a dyn Fn(&Path) -> Result<()>,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Download<'_> {
    /// Gets the whole file, going on where an earlier try stopped, be it in another run or at another mirror.
    fn try_mirror(&mut self, url: &str) -> std::result::Result<(), Failure> {
        let partial = self.target.with_added_extension("partial");
        loop {
            let before = fs::metadata(&partial).map_or(0, |metadata| metadata.len());
            match self.transfer(url, &partial, before) {
                Ok(()) => {}
                Err(Failure::Mirror(why)) if fs::metadata(&partial).is_ok_and(|m| m.len() > before) => {
                    self.say(&format!("{url}: {why}; going on from there"));
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            match (self.check)(&partial) {
                Ok(()) => {
                    return fs::rename(&partial, &self.target)
                        .map_err(|source| Failure::Local(Error::io(&self.target, "move the file here", source)));
                }
                Err(error) => {
                    let why = match error {
                        Error::Format { message, .. } => message,
                        error => return Err(Failure::Local(error)),
                    };
                    remove(&partial)?;
                    self.say(&format!("{url}: the download was thrown away: {why}"));
                    // The part from an earlier try may be to blame; a download from the first byte on is not.
                    if before == 0 {
                        return Err(Failure::Mirror(why));
                    }
                }
            }
        }
    }

    /// One request: what follows the first `have` bytes goes to the end of `partial`, as far as it comes.
    fn transfer(&mut self, url: &str, partial: &Path, have: u64) -> std::result::Result<(), Failure> {
        let mut request = self.agent.get(url);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|error| Failure::Mirror(error.to_string()))?;
        let range = response.headers().get("Content-Range").and_then(|range| range.to_str().ok()).unwrap_or("");
        let mut have = match response.status().as_u16() {
            200 => 0,
            206 if range.starts_with(&format!("bytes {have}-")) => have,
            206 => {
                remove(partial)?;
                return Err(Failure::Mirror(format!("asked for bytes from {have}, got '{range}'")));
            }
            // Nothing follows: either all is there already, or it is no part of this file. The check will tell.
            416 if have > 0 => return Ok(()),
            404 => return Err(Failure::Mirror("not there (HTTP status 404)".to_owned())),
            status => return Err(Failure::Mirror(format!("HTTP status {status}"))),
        };
        let local = |source| Failure::Local(Error::io(partial, "write the download", source));
        let mut file = if have == 0 { File::create(partial) } else { OpenOptions::new().append(true).open(partial) }
            .map_err(local)?;
        let total = response.body().content_length().map(|length| have + length);
        let name = self.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            (self.progress)(Progress::Bytes { file: &name, done: have, total });
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Failure::Mirror(format!("broke off after {have} bytes ({error})"))),
            };
            file.write_all(&buffer[..count]).map_err(local)?;
            have += count as u64;
            if have > self.limit {
                remove(partial)?;
                return Err(Failure::Mirror(format!("sent more than {} bytes: not the dataset", self.limit)));
            }
        }
        if total.is_some_and(|total| have < total) {
            return Err(Failure::Mirror(format!("broke off after {have} bytes")));
        }
        file.sync_all().map_err(local)
    }

    fn say(&mut self, message: &str) {
        (self.progress)(Progress::Message(message));
    }
}

fn remove(path: &Path) -> std::result::Result<(), Failure> {
    fs::remove_file(path).map_err(|source| Failure::Local(Error::io(path, "remove the file", source)))
}

#[cfg(test)]
pub(super) mod tests;
