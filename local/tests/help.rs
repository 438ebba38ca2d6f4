//! What `musehub` says of itself, and of each of its commands: snapshots, so that a change of an option shows up in a review.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::process::Command;

/// What a command prints when it is asked for help, with no variable of the environment set that it would show.
fn help(path: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_musehub")).args(path).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn check(path: &[&str]) -> usize {
    let help = help(path);
    let name = [&["musehub"], path].concat().join("-");
    insta::assert_snapshot!(name, help);
    let below = commands(&help);
    below.iter().map(|command| check(&[path, &[command.as_str()]].concat())).sum::<usize>() + 1
}

#[test]
fn the_help_of_every_command_is_as_it_was_reviewed() {
    assert!(check(&[]) > 15, "the commands are found in the help");
}
