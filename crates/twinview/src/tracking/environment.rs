//! What a run is made by and on.

use std::fs;

/// The machine and the program. Neither its name nor its user's is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The operating system and the architecture: `Debian GNU/Linux 13 (trixie), x86_64`.
    pub os: String,
    /// The processor, where the system tells.
    pub cpu: Option<String>,
    /// Threads that compute.
    pub threads: usize,
    /// The program's version.
    pub version: String,
    /// The commit that the program was built from, with `-dirty` behind it where there were changes.
    pub commit: Option<String>,
}

impl Environment {
    /// Where this program runs; `version` is its own: `0.1.0 (commit)`.
    pub fn here(version: &str) -> Self {
        let system = line_with("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned());
        let system = system.unwrap_or_else(|| std::env::consts::OS.to_owned());
        let cpu = line_with("/proc/cpuinfo", "model name");
        let (number, commit) = match version.split_once(" (") {
            Some((number, commit)) => (number, Some(commit.trim_end_matches(')').to_owned())),
            None => (version, None),
        };
        Self {
            os: format!("{system}, {}", std::env::consts::ARCH),
            cpu: cpu.map(|model| model.trim_start_matches([' ', '\t', ':']).to_owned()),
            threads: rayon::current_num_threads(),
            version: number.to_owned(),
            commit,
        }
    }

    /// All of it, by name; what is unknown is left out.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let known = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let mut entries = vec![("os", self.os.clone())];
        entries.extend(known("cpu", &self.cpu));
        entries.push(("threads", self.threads.to_string()));
        entries.push(("twinview", self.version.clone()));
        entries.extend(known("git_commit", &self.commit));
        entries
    }
}

/// What follows `start` in the first line of `file` that begins with it.
fn line_with(file: &str, start: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_told_from_the_version() {
        let entries = Environment::here("0.1.0 (05b36b9-dirty)").entries();
        assert!(
            entries.contains(&("twinview", "0.1.0".into()))
                && entries.contains(&("git_commit", "05b36b9-dirty".into()))
        );
        assert_eq!(Environment::here("0.1.0").commit, None);
    }
}
