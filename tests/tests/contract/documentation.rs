//! `docs/wire-protocol.md` is true: its examples run and print what they show, and it has every route, error and limit.
//! How an example shows its output is said at the head of the page.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use common::wire::limits;
use local::serve::Storage;
use serde_json::{Value, json};
use service::routes::{Function, ROUTES, Route};
use tests::hub::Hub;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire-protocol.md"));
const DESCRIPTION: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json"));

/// What is printed after each example.
const END: &str = "=== the example ends here ===";

/// What stands for anything in an output that is shown.
const ANYTHING: &str = "…";

/// A fenced block of the page.
struct Block {
    language: &'static str,
    text: String,
    /// The number of its first line.
    line: usize,
    /// Whether nothing but blank lines is between it and the block before.
    follows: bool,
}

/// A script, and what it is said to print.
struct Example {
    script: Block,
    shown: Option<Block>,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut follows = false;
    for (index, line) in PAGE.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block { language, text: String::new(), line: index + 1, follows });
            }
            (Some(_), Some(block)) => {
                blocks.push(block);
                follows = true;
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => follows &= line.trim().is_empty(),
        }
    }
    assert!(open.is_none(), "the last block has no end");
    blocks
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut may_show = false;
    for block in blocks() {
        let is_script = block.language == "sh";
        if is_script {
            examples.push(Example { script: block, shown: None });
        } else if may_show && block.follows && ["json", "text"].contains(&block.language) {
            examples.last_mut().expect("a script").shown = Some(block);
        }
        may_show = is_script;
    }
    examples
}

/// The lines below a heading of the second level.
fn section(heading: &'static str) -> impl Iterator<Item = &'static str> {
    PAGE.lines().skip_while(move |line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "))
}

fn run(script: &str, url: &str, token: &str) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-eu", "-c", script]).env("HUB", url).env("TOKEN", token).env("no_proxy", "*").stdin(Stdio::null());
    bash.output().expect("bash runs")
}

/// What is wrong with what an example printed.
fn difference(shown: &Block, printed: &str, url: &str) -> Option<String> {
    let (line, text) = (shown.line, shown.text.replace("$HUB", url));
    let is_same = if shown.language == "json" {
        let shown: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("line {line}: {error}"));
        serde_json::from_str(printed).is_ok_and(|printed| is_same_json(&shown, &printed))
    } else {
        is_same_text(&text, printed)
    };
    (!is_same).then(|| format!("line {line} shows\n{text}and the example prints\n{printed}\n"))
}

fn is_same_json(shown: &Value, printed: &Value) -> bool {
    match (shown, printed) {
        (Value::String(text), _) if text == ANYTHING => true,
        (Value::Object(shown), Value::Object(printed)) => {
            shown.len() == printed.len()
                && shown
                    .iter()
                    .all(|(name, shown)| printed.get(name).is_some_and(|printed| is_same_json(shown, printed)))
        }
        (Value::Array(shown), Value::Array(printed)) => {
            shown.len() == printed.len()
                && shown.iter().zip(printed).all(|(shown, printed)| is_same_json(shown, printed))
        }
        _ => shown == printed,
    }
}

fn is_same_text(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (trimmed_lines(shown), trimmed_lines(printed));
    shown.len() == printed.len() && shown.iter().zip(printed).all(|(shown, printed)| is_same_line(shown, printed))
}

/// HTTP ends its lines with a carriage return.
fn trimmed_lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

fn is_same_line(shown: &str, printed: &str) -> bool {
    match shown.split_once(ANYTHING) {
        None => shown == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_run_and_print_what_they_show() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let examples = examples();
    let shown = examples.iter().filter(|example| example.shown.is_some()).count();
    assert!(shown >= 20, "only {shown} outputs are shown: are the blocks found?");

    let script: String =
        examples.iter().map(|example| format!("{}printf '\\n%s\\n' '{END}'\n", example.script.text)).collect();
    let (url, token) = (hub.url().to_owned(), hub.dev().token);
    let output = tokio::task::spawn_blocking(move || run(&script, &url, &token)).await.unwrap();

    let printed = String::from_utf8(output.stdout).expect("the examples print text");
    let end = format!("\n{END}\n");
    let printed: Vec<&str> = printed.split(end.as_str()).collect();
    let complete = printed.len() - 1;
    if let Some(failed) = examples.get(complete) {
        let (line, said) = (failed.script.line, String::from_utf8_lossy(&output.stderr));
        panic!("the example at line {line} failed: {}\n{said}\n{}", output.status, printed[complete]);
    }
    let differences: Vec<String> = examples
        .iter()
        .zip(printed)
        .filter_map(|(example, printed)| difference(example.shown.as_ref()?, printed, hub.url()))
        .collect();
    assert!(differences.is_empty(), "docs/wire-protocol.md:\n{}", differences.join("\n"));
    hub.stop().await;
}

#[test]
fn a_changed_output_is_noticed() {
    let shown = json!({"ok": true, "id": "…", "list": [1, {"a": null}], "text": "before …"});
    let with = |pointer: &str, value: Value| {
        let mut printed = shown.clone();
        *printed.pointer_mut(pointer).expect("a place") = value;
        printed
    };
    assert!(is_same_json(&shown, &with("/id", json!("any"))));
    assert!(is_same_json(&shown, &with("/id", json!({"a": 1}))));
    for (pointer, value) in [
        ("/ok", json!(false)),
        ("/list", json!([1])),
        ("/list", json!([{"a": null}, 1])),
        ("/list/0", json!("1")),
        ("/list/1", json!({})),
        ("/list/1", json!({"a": null, "b": null})),
        ("/text", json!("before and after")),
    ] {
        let printed = with(pointer, value);
        assert!(!is_same_json(&shown, &printed), "{printed}");
    }

    assert!(is_same_text("HTTP/1.1 200 OK\ndate: …\n\nbody\n", "HTTP/1.1 200 OK\r\ndate: today\r\n\r\nbody"));
    for (shown, printed) in
        [("a\nb", "a"), ("a", "a\nb"), ("a", "b"), ("date: …", "age: 1"), ("<…>", "<a"), ("ab…bc", "abc")]
    {
        assert!(!is_same_text(shown, printed), "{shown:?} {printed:?}");
    }
}

#[test]
fn every_route_is_described_under_its_heading() {
    let lines: Vec<&str> = PAGE.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut described: Vec<String> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(route) = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')) else { continue };
        assert!(lines.get(index + 1).is_some_and(|next| !next.starts_with('#')), "nothing is said of {route}");
        described.push(route.to_owned());
    }
    described.sort_unstable();
    let of_clients = ROUTES.iter().filter(|route| route.function != Function::Web);
    let mut routes: Vec<String> = of_clients.map(|Route { method, path, .. }| format!("{method} {path}")).collect();
    routes.sort_unstable();
    assert_eq!(described, routes);
}

#[test]
fn every_page_is_in_the_table() {
    let pages =
        include_str!("../../../docs/web.md").lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut listed: Vec<&str> = pages.map(|(route, _)| route).filter(|route| route.contains(" /")).collect();
    listed.sort_unstable();
    let pages = ROUTES.iter().filter(|route| route.function == Function::Web);
    let mut routes: Vec<String> = pages.map(|Route { method, path, .. }| format!("{method} {path}")).collect();
    routes.sort_unstable();
    assert_eq!(listed, routes);
}

#[test]
fn every_error_code_is_in_the_table() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let codes = &description["components"]["schemas"]["Error"]["properties"]["error"]["enum"];
    let mut codes: Vec<&str> = codes.as_array().expect("codes").iter().map(|code| code.as_str().unwrap()).collect();
    codes.sort_unstable();
    let rows = section("## Errors").filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut listed: Vec<&str> = rows.map(|(code, _)| code).collect();
    listed.sort_unstable();
    assert_eq!(listed, codes);
}

#[test]
fn every_limit_is_in_the_table() {
    let table: String = section("## Limits").collect();
    let numbers: BTreeSet<&str> = table
        .split(|character: char| !character.is_ascii_digit() && character != ',')
        .map(|number| number.trim_matches(','))
        .collect();
    for limit in [
        limits::MAX_COMMITS,
        limits::MAX_SNAPSHOTS,
        limits::MAX_OBJECTS,
        limits::MAX_FETCH_WANT,
        limits::MAX_FETCH_HAVE,
        limits::MAX_FETCH_DEPTH,
        limits::STOCK_ANSWER,
        limits::MAX_NEGOTIATE,
        limits::MAX_FILTER_OBJECTS,
        limits::MAX_PRESIGN,
        limits::MAX_TAGS,
        limits::MAX_TAGS_OF_REPO,
        limits::MAX_RELEASES_OF_REPO,
        limits::MAX_RELEASE,
        limits::MAX_RELEASES_BYTES,
        limits::MAX_PURGED_AT_ONCE,
        limits::MAX_PURGED,
        limits::MAX_PURGE_REASON,
        limits::MAX_REPOS_LISTED,
        limits::MAX_HOOKS_OF_REPO,
        limits::MAX_EVENT_TYPES,
        limits::MAX_HOOK_URL,
        limits::MAX_MANIFEST_ENTRIES,
        limits::MAX_INLINE_OBJECT,
        limits::MAX_PATH_LENGTH,
        limits::MAX_BRANCHES,
        limits::MAX_PACKS,
        limits::MAX_RECORD_VALUES,
        limits::MAX_DEPTH,
        limits::MAX_TEXT_LENGTH,
        limits::MAX_AUTHORIZATION,
        limits::MAX_REFERENCED_BODY >> 20,
        limits::LAMBDA_PAYLOAD,
    ] {
        assert!(numbers.contains(grouped(limit).as_str()), "{limit} is not in the table of limits");
    }
}

/// A number as people write it: 6,291,456.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
