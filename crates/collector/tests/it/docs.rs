//! The examples in docs/http.md are what a user sees.

use std::fmt::Write;

use tokio::process::Command;

use crate::support::Fixture;
use crate::tcp::Server;

const DOCUMENT: &str = include_str!("../../../../docs/http.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_the_documentation_are_real_outputs() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let mut wrong = String::new();
    let mut count = 0;
    for (command, shown) in examples() {
        let printed = run(command, &server).await;
        if printed.trim_end() != shown.trim_end() {
            writeln!(wrong, "$ {command}\n{printed}").unwrap();
        }
        count += 1;
    }
    server.stop().await;
    assert!(count >= 7, "only {count} examples were found");
    assert!(wrong.is_empty(), "docs/http.md does not show what these print:\n{wrong}");
}

/// Each command of a `console` block, and the lines below it.
fn examples() -> impl Iterator<Item = (&'static str, &'static str)> {
    let blocks = DOCUMENT.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let examples = blocks.flat_map(|block| block.split("$ ").skip(1));
    examples.map(|example| example.split_once('\n').unwrap())
}

/// What the command prints when it talks to the server of this test.
async fn run(command: &str, server: &Server) -> String {
    let here = command.replace("127.0.0.1:7777", &server.address().to_string()).replace("curl ", "curl -s ");
    let output = Command::new("sh").arg("-c").arg(here).output().await.expect("sh starts");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.is_empty(), "{command} printed nothing; is curl installed?");
    printed
}
