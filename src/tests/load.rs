//! `bellows load` and `bellows batch`, against the real service and against servers that answer wrongly.

mod batch;
mod liar;
mod shells;
mod workload;

use crate::support::images;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bellows(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error of a command that has ended.
fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    ended(&bellows(arguments).output().unwrap())
}

/// Numbered images in a folder, and their labels as a table beside it.
fn pictures(folder: &Path, count: u32) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let mut table = String::from("file,label\n");
    for n in 0..count {
        let (image, label) = images::numbered(n);
        std::fs::write(folder.join(format!("{n}.png")), image).unwrap();
        writeln!(table, "{n}.png,{label}").unwrap();
    }
    table
}
