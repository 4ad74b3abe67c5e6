//! Completions.

use super::run;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn completions_are_scripts_of_their_shells() {
    for (shell, word) in
        [("bash", "complete -F _bellows"), ("zsh", "#compdef bellows"), ("fish", "complete -c bellows")]
    {
        let (code, script, err) = run(&["completions", shell]);
        assert!(code == 0 && script.contains(word) && script.contains("check-config"), "{shell}: {err}");
        // only those that are here can say whether they read it
        let checking = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn();
        let Ok(mut checking) = checking else { continue };
        checking.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(checking.wait().unwrap().success(), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).0, 64);
}
