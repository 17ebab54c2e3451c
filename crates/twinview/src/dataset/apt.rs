//! Getting a dataset from the distribution's own mirror, for machines that reach no other.
//!
//! `apt-get` works on package lists and a cache of its own in a temporary folder, so it needs neither root nor
//! an earlier `apt-get update`, and changes nothing on the system.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Progress;
use super::catalog::Entry;
use super::load::find_file;

/// Longer than a slow mirror needs for one package list and 30 MB.
const LIMIT: Duration = Duration::from_secs(300);

/// Fetches the package of `entry`, unpacks it and moves its files into `folder`.
///
/// # Errors
/// One line that says which step failed, and why.
pub(super) fn fetch(
    entry: &Entry,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> std::result::Result<(), String> {
    let package = entry.debian_package.ok_or("no Debian package holds it")?;
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    // Inside the target folder, so that the files can be moved there by renaming. One fixed name, so that what a
    // killed run left behind goes too; the caller holds the folder's lock.
    let _ = fs::remove_dir_all(folder.join(".apt"));
    let scratch = tempfile::Builder::new().prefix(".apt").rand_bytes(0).tempdir_in(folder).map_err(failed)?;
    let scratch = scratch.path();
    for needed in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(scratch.join(needed)).map_err(failed)?;
    }
    progress(Progress::Message(&format!("fetching the Debian package {package} with apt-get")));
    // One broken source among several fails the update, yet the others may hold the package.
    let update = run(apt_get(scratch).arg("update"), scratch);
    run(apt_get(scratch).args(["download", package]), scratch).map_err(|why| update.err().unwrap_or(why))?;
    let archive = fs::read_dir(scratch)
        .map_err(failed)?
        .filter_map(|item| Some(item.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get download left no package")?;
    run(Command::new("dpkg-deb").arg("-x").arg(archive).arg("unpacked"), scratch)?;
    let unpacked = scratch.join("unpacked/usr/share/datasets").join(entry.name);
    for (file, ..) in entry.all_files() {
        let from = find_file(&unpacked, file).ok_or_else(|| format!("{package} holds no {}", file.name))?;
        fs::rename(&from, folder.join(from.file_name().unwrap_or_default())).map_err(failed)?;
    }
    Ok(())
}

/// `apt-get` on private folders, and without the lists that only people read.
fn apt_get(scratch: &Path) -> Command {
    let mut command = Command::new("apt-get");
    for (setting, value) in [
        ("Dir::State::Lists", scratch.join("lists").as_os_str()),
        ("Dir::Cache", scratch.join("cache").as_os_str()),
        ("Acquire::Languages", "none".as_ref()),
        ("Acquire::Retries", "1".as_ref()),
        ("Acquire::http::Timeout", "20".as_ref()),
        ("Acquire::https::Timeout", "20".as_ref()),
    ] {
        let mut option = std::ffi::OsString::from(setting);
        option.push("=");
        option.push(value);
        command.arg("-o").arg(option);
    }
    command.arg("-q");
    command
}

/// Runs a command in `scratch` to its end, or to the time limit. The error is what it complained about.
fn run(command: &mut Command, scratch: &Path) -> std::result::Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let log = scratch.join("log");
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name} is not on this machine"),
        _ => format!("{name}: {error}"),
    };
    // Into a file, not a pipe: nobody reads while it runs, and a full pipe would stop it.
    let output = File::create(&log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    command.current_dir(scratch).env("LC_ALL", "C").stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(failed)?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if start.elapsed() > LIMIT {
            // It may have ended since; either way it is gone after `wait`.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name}: stopped after {} seconds", LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let log = fs::read(&log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let complaints: Vec<&str> = log.lines().filter(|line| line.starts_with("E:") || line.contains("error:")).collect();
    Err(format!("{name} failed ({status}): {}", complaints.join("; ")))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_and_a_failing_one_are_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let missing = run(&mut Command::new("no-such-program-here"), scratch.path()).unwrap_err();
        assert_eq!(missing, "no-such-program-here is not on this machine");
        let mut command = Command::new("sh");
        command.args(["-c", "echo fine; echo 'E: no such package' >&2; exit 3"]);
        let failing = run(&mut command, scratch.path()).unwrap_err();
        assert!(failing.starts_with("sh failed (") && failing.ends_with("): E: no such package"), "{failing}");
        run(Command::new("sh").args(["-c", "pwd > here"]), scratch.path()).unwrap();
        assert!(scratch.path().join("here").is_file());
    }

    #[test]
    #[ignore = "needs apt-get and a Debian mirror; run it as an ordinary user too"]
    fn the_debian_package_gives_the_published_files() {
        use super::super::load::{Trust, load};
        let folder = tempfile::tempdir().unwrap();
        let entry = super::super::catalog::find("fashion-mnist").unwrap();
        fs::create_dir_all(folder.path().join(".apt/left/behind")).unwrap();
        fetch(entry, folder.path(), &mut |_| {}).unwrap();
        assert!(load(folder.path(), entry, Trust::Published).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_set_without_a_package_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let entry = super::super::catalog::find("kmnist").unwrap();
        assert_eq!(fetch(entry, folder.path(), &mut |_| {}).unwrap_err(), "no Debian package holds it");
    }
}
