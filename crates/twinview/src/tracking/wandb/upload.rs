//! Sending a finished run, by W&B's own program.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::tracking::secrets::{Secrets, netrc_path};
use crate::{Error, Result};

/// What a run may take to be sent; without a network, `wandb` would try for longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends the run in `folder` with `wandb sync`; gives what the user should know.
///
/// # Errors
/// When the user is not logged in, when the program is missing or fails, and when it takes too long. The run can be sent
/// later, and the message says how.
pub(super) fn send(folder: &Path) -> Result<String> {
    let by_hand = format!("the run is complete in {0}; send it with: wandb sync {0}", folder.display());
    let failed = |reason: String| Error::Config(format!("{reason}. Nothing is lost: {by_hand}"));
    if !is_logged_in() {
        return Err(failed("not logged in to W&B (no WANDB_API_KEY, and nothing in ~/.netrc); run wandb login".into()));
    }
    // Its words go to files, which never fill as a pipe that nobody empties does.
    let output = tempfile::NamedTempFile::new().map_err(|error| failed(format!("cannot keep a log: {error}")))?;
    let clone = || output.as_file().try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
    let child =
        Command::new("wandb").arg("sync").arg(folder).stdin(Stdio::null()).stdout(clone()).stderr(clone()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("the program wandb is not installed (pip install wandb)".into()),
        _ => failed(format!("the program wandb cannot be started: {error}")),
    })?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(format!("sent to W&B: {}", folder.display())),
            Ok(Some(status)) => {
                let text = std::fs::read_to_string(output.path()).unwrap_or_default();
                let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                return Err(failed(format!("wandb sync failed ({status}): {}", Secrets::known().scrub(last.trim()))));
            }
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("wandb sync was not done after {} s", PATIENCE.as_secs())));
            }
            Err(error) => return Err(failed(format!("wandb sync cannot be waited for: {error}"))),
        }
    }
}

/// Whether there is a key that `wandb` will find.
fn is_logged_in() -> bool {
    let host = std::env::var("WANDB_BASE_URL").unwrap_or_else(|_| "https://api.wandb.ai".into());
    let host = host.split("://").last().unwrap_or_default().split(['/', ':']).next().unwrap_or_default().to_owned();
    let has_key = std::env::var_os("WANDB_API_KEY").is_some_and(|key| !key.is_empty());
    let netrc = || netrc_path().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    has_key || netrc().split_whitespace().collect::<Vec<_>>().windows(2).any(|pair| pair == ["machine", &host])
}
