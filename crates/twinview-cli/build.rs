//! Notes the commit that the program is built from, for run directories and reports.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = output.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = env!("CARGO_PKG_VERSION");
    match commit {
        Some(commit) if !commit.is_empty() => println!("cargo:rustc-env=TWINVIEW_VERSION={version} ({commit})"),
        _ => println!("cargo:rustc-env=TWINVIEW_VERSION={version}"),
    }
}
