//! The `musehub` command as a user runs it: a process, its arguments, what it prints.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const MUSEHUB: &str = env!("CARGO_BIN_EXE_musehub");

/// A hub, or a proxy in front of one, in a process of its own, which ends with this value.
struct Hub {
    process: Child,
    printed: String,
}

impl Hub {
    /// Starts `musehub` and waits for the end of what it prints at its start.
    fn start(arguments: &[&str]) -> Self {
        Self::started(&mut command(arguments))
    }

    fn started(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().unwrap());
        while !printed.contains("Ctrl-C ends ") {
            assert_ne!(output.read_line(&mut printed).unwrap(), 0, "it ended after printing {printed:?}");
        }
        Self { process, printed }
    }

    fn in_folder(folder: &Path) -> Self {
        Self::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder.to_str().unwrap()])
    }

    /// What is printed behind the first `before`, up to the next space.
    fn word_after(&self, before: &str) -> &str {
        let (_, rest) = self.printed.split_once(before).unwrap();
        rest.split_whitespace().next().unwrap().trim_end_matches(',')
    }

    fn get_refs(&self, token: &str) -> String {
        self.request("GET", "/dev/song/refs", token, "")
    }

    fn request(&self, method: &str, path: &str, token: &str, body: &str) -> String {
        let address = self.word_after(" is at http://");
        let mut stream = TcpStream::connect(address).unwrap();
        let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authorization}");
        let length = body.len();
        write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(MUSEHUB);
    command.args(arguments);
    for variable in
        ["ACCESS_TOKEN_SECRET", "RUST_LOG", "MUSEHUB_TABLE", "MUSEHUB_FROM_TOKEN", "MUSEHUB_TO_TOKEN", "MUSEHUB_TOKEN"]
    {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn it_prints_all_that_a_first_push_needs_and_ends_cleanly_at_ctrl_c() {
    let mut hub = Hub::start(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    let url = hub.word_after("The hub is at ").to_owned();
    let token = hub.word_after("--token ").to_owned();
    for command in [
        format!("muse auth login --hub {url} --token {token}\n"),
        format!("muse remote add origin {url}/dev/song\n"),
        "muse push origin main\n".to_owned(),
    ] {
        assert!(hub.printed.contains(&command), "{} lacks {command}", hub.printed);
    }
    assert!(hub.get_refs(&token).starts_with("HTTP/1.1 404 "), "the token is good, the repo not there yet");
    assert!(hub.get_refs("forged").starts_with("HTTP/1.1 401 "));
    hub.signal("-INT");
    assert!(hub.process.wait().unwrap().success());
}

#[test]
fn a_data_folder_serves_one_hub_at_a_time_and_outlives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    let first = Hub::in_folder(&data);
    let token = first.word_after("--token ").to_owned();
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    assert!(complaint(&second).contains("another hub is running on the data folder"), "{}", complaint(&second));
    first.signal("-KILL");
    drop(first);

    let again = Hub::in_folder(&data);
    assert!(again.get_refs(&token).starts_with("HTTP/1.1 404 "), "its tokens are good again");
    let minted = run(&["token", "--user", "user-dev", "--ttl", "15m", "--data", data.to_str().unwrap()]);
    let minted = String::from_utf8(minted.stdout).unwrap();
    assert!(again.get_refs(minted.trim()).starts_with("HTTP/1.1 404 "));
}

#[test]
fn the_secret_of_the_environment_goes_before_that_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let hub = Hub::in_folder(folder.path());
    let mint = |secret: &str| {
        let minted =
            command(&["token", "--user", "user-dev", "--data", data]).env("ACCESS_TOKEN_SECRET", secret).output();
        String::from_utf8(minted.unwrap().stdout).unwrap()
    };
    assert!(hub.get_refs(mint("").trim()).starts_with("HTTP/1.1 404 "), "an empty one is none");
    assert!(hub.get_refs(mint("another secret, and a long enough one").trim()).starts_with("HTTP/1.1 401 "));
}

#[test]
fn a_hub_runs_over_stores_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let (data, env) = (folder.path().join("data"), folder.path().join("env"));
    let (data, env) = (data.to_str().unwrap(), env.to_str().unwrap());
    let _stores = Hub::start(&["backends", "--data", data, "--env", env]);
    let written = fs::read_to_string(env).unwrap();
    let variables: Vec<(&str, &str)> = written.lines().map(|line| line.split_once('=').unwrap()).collect();
    let of = |name: &str| variables.iter().find(|(variable, _)| *variable == name).unwrap().1;
    let asked = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.envs(variables.iter().copied().filter(|(name, _)| name.starts_with("AWS_")));
        command.env("MUSEHUB_TABLE", "another").env("MUSEHUB_BUCKET", "another");
        command
    };
    let serve = ["serve", "--listen", "127.0.0.1:0", "--stores", "env"];

    let unnamed = complaint(&asked(&serve).env_remove("MUSEHUB_BUCKET").output().unwrap());
    assert!(unnamed.contains("the environment variable MUSEHUB_BUCKET is not set"), "{unnamed}");
    let missing = complaint(&asked(&serve).output().unwrap());
    let endpoint = of("AWS_ENDPOINT_URL_DYNAMODB");
    assert!(missing.contains(&format!("there is no table another at {endpoint}: make it, or ")), "{missing}");
    let silent = complaint(&asked(&serve).env("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1").output().unwrap());
    assert!(silent.contains("the table another at http://127.0.0.1:1 cannot be looked at: "), "{silent}");

    let hub = Hub::started(&mut asked(&[&serve[..], &["--make-stores"]].concat()));
    let token = hub.word_after("--token ").to_owned();
    assert!(hub.printed.contains("its data in the table another and the bucket another"), "{}", hub.printed);
    let made = hub.request("POST", "/api/repos", &token, r#"{"name": "song"}"#);
    assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    drop(hub);

    // Of stores that were there, no user is made.
    let mut hub = Hub::started(&mut asked(&serve));
    assert!(hub.printed.contains("musehub token --table another --user USER"), "{}", hub.printed);
    let minted = asked(&["token", "--table", "another", "--user", "user-dev"]).output().unwrap();
    let minted = String::from_utf8(minted.stdout).unwrap();
    for token in ["", &token, minted.trim()] {
        assert!(hub.get_refs(token).starts_with("HTTP/1.1 200 "), "{}", hub.get_refs(token));
    }
    assert!(hub.get_refs("forged").starts_with("HTTP/1.1 401 "));
    hub.signal("-INT");
    assert!(hub.process.wait().unwrap().success());
}

#[test]
fn a_proxy_says_how_to_use_it_passes_requests_on_and_ends_cleanly() {
    let hub = Hub::start(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    let token = hub.word_after("--token ").to_owned();
    let hub_url = hub.word_after("The hub is at ");
    let mut proxy = Hub::start(&["proxy", "--to", hub_url, "--listen", "127.0.0.1:0"]);
    let url = proxy.word_after("The proxy is at ").to_owned();
    assert!(proxy.printed.contains(&format!("in front of the hub at {hub_url}.\n")), "{}", proxy.printed);
    let command = format!("muse remote add origin {url}/<owner>/<slug>\n");
    assert!(proxy.printed.contains(&command), "{} lacks {command}", proxy.printed);
    assert!(proxy.get_refs(&token).contains("\"repo_not_found\""), "the token is good, the repo not there yet");
    assert!(proxy.get_refs("forged").starts_with("HTTP/1.1 401 "));
    drop(hub);
    let answer = proxy.get_refs(&token);
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("is the hub up and its URL right?"), "{answer}");
    proxy.signal("-TERM");
    assert!(proxy.process.wait().unwrap().success());
}

#[test]
fn an_owner_deletes_a_branch_and_changes_a_repository_over_http_and_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut hub = Hub::start(&["serve", "--listen", "127.0.0.1:0", "--data", data, "--ids", "lenient"]);
    let token = hub.word_after("--token ").to_owned();
    let url = format!("{}/dev/song", hub.word_after("The hub is at "));
    for branch in ["main", "feature/x", "old"] {
        let body = format!("{{\"branch\": \"{branch}\", \"bundle\": {{\"commits\": [{{\"commit_id\": \"c\"}}]}}}}");
        let answer = hub.request("POST", "/dev/song/push", &token, &body);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let ask = |arguments: &[&str]| command(arguments).env("MUSEHUB_TOKEN", &token).output().unwrap();
    let said = |output: &Output| {
        assert!(output.status.success(), "{}", complaint(output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(
        said(&ask(&["branch", "delete", &url, "feature/x"])),
        format!("{url}: 'feature/x' is deleted; its head was c.\n")
    );
    assert!(complaint(&ask(&["branch", "delete", &url, "feature/x"])).contains("there is no branch 'feature/x'"));
    assert!(complaint(&ask(&["branch", "delete", &url, "main"])).contains("is the default branch"));
    let set = said(&ask(&["repo", "set", &url, "--visibility", "private", "--default-branch", "old"]));
    assert!(set.contains("Visibility:      private\n") && set.contains("Default branch:  old\n"), "{set}");
    assert!(hub.get_refs("").starts_with("HTTP/1.1 404 "));
    hub.signal("-INT");
    assert!(hub.process.wait().unwrap().success());

    let set = run(&["repo", "set", "dev/song", "--default-branch", "main", "--data", data]);
    let set = said(&set);
    assert!(set.contains("Visibility:      private\n") && set.contains("Default branch:  main\n"), "{set}");
    let deleted = run(&["branch", "delete", "dev/song", "old", "--data", data]);
    assert_eq!(said(&deleted), "dev/song: 'old' is deleted; its head was c.\n");
}

/// A hub with a folder, and two users of it: `dev`, and `ada` who has only a handle.
struct TwoUsers {
    hub: Hub,
    url: String,
    dev: String,
    ada: String,
    folder: tempfile::TempDir,
}

impl TwoUsers {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let hub = Hub::start(&["serve", "--listen", "127.0.0.1:0", "--data", data, "--ids", "lenient"]);
        let ada = printed(&run(&["token", "--user", "user-ada", "--data", data])).trim().to_owned();
        let claimed = hub.request("POST", "/api/identities", &ada, r#"{"handle": "ada"}"#);
        assert!(claimed.starts_with("HTTP/1.1 201 "), "{claimed}");
        let (url, dev) = (hub.word_after("The hub is at ").to_owned(), hub.word_after("--token ").to_owned());
        Self { hub, url, dev, ada, folder }
    }

    /// What the command says to the bearer of a token.
    fn says(&self, token: &str, arguments: &[&str]) -> String {
        printed(&command(arguments).env("MUSEHUB_TOKEN", token).output().unwrap())
    }

    /// The cells of the table that it prints, for `dev`.
    fn table(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let printed = self.says(&self.dev, arguments);
        printed.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&self.dev, &[arguments, &["--json"]].concat())).unwrap()
    }

    /// Its exit code where it fails, and why.
    fn refuses(&self, token: &str, arguments: &[&str]) -> (i32, String) {
        // Where no token is kept.
        let home = self.folder.path();
        let output = command(arguments).env("MUSEHUB_TOKEN", token).env("HOME", home).output().unwrap();
        (output.status.code().unwrap(), complaint(&output))
    }

    fn is_refused(&self, token: &str, arguments: &[&str], code: i32, reason: &str) {
        let (was, said) = self.refuses(token, arguments);
        assert!(was == code && said.contains(reason), "{arguments:?}: {was} {said}");
    }

    fn push(&self, token: &str, branch: &str, commit: &str, parent: Option<&str>, force: bool) {
        let commit = json!({"commit_id": commit, "parent_commit_id": parent});
        let body = json!({"branch": branch, "force": force, "bundle": {"commits": [commit]}}).to_string();
        let answer = self.hub.request("POST", "/dev/song/push", token, &body);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn an_owner_makes_lists_changes_forks_renames_deletes_and_undeletes_repositories() {
    let two = TwoUsers::start();
    let TwoUsers { url, dev, ada, .. } = &two;
    let of = |name: &str| format!("{url}/{name}");
    let (song, other, none) = (&*of("dev/song"), &*of("dev/other"), &*of("dev/none"));
    assert_eq!(two.table(&["repo", "list", "--hub", url]).len(), 1, "only its head");

    let about = ["--name", "Song", "--description", "A \u{1b}[31mplough", "--visibility", "private"];
    assert_eq!(two.says(dev, &[&["repo", "create", song][..], &about].concat()), format!("{song}\n"));
    let made = two.json(&["repo", "create", other, "--domain", "midi"]);
    assert_eq!([&made["slug"], &made["visibility"], &made["domain"]], ["other", "public", "midi"]);
    two.is_refused(dev, &["repo", "create", song], 5, "exists already");
    two.is_refused(ada, &["repo", "create", none], 3, "the token is not that of 'dev'");
    two.is_refused("", &["repo", "create", none], 3, "this needs a token");
    two.is_refused(dev, &["repo", "create", &of("eve/song")], 4, "has the handle 'eve'");
    two.is_refused(dev, &["repo", "create", none, "--name", "Song"], 1, "leads to the slug 'song', and not to 'none'");
    two.is_refused(dev, &["repo", "create", &of("dev/no_slug")], 2, "the URL of a repository is like");

    let list = two.table(&["repo", "list", "--hub", url]);
    assert_eq!(list[0], ["REPOSITORY", "VISIBILITY", "CONTENT", "MADE", "DESCRIPTION"]);
    assert_eq!(list[1][..3], ["dev/other", "public", "midi"]);
    assert_eq!(
        (&list[2][..3], &list[2][4..]),
        (&["dev/song", "private", "code"].map(str::to_owned)[..], &["A", "?[31mplough"].map(str::to_owned)[..])
    );
    let adas = two.says(ada, &["repo", "list", "--hub", url, "--owner", "dev"]);
    assert!(adas.contains("dev/other") && !adas.contains("dev/song"), "{adas}");
    two.is_refused("", &["repo", "list", "--hub", url], 3, "this needs a token");
    two.is_refused(dev, &["repo", "list", "--hub", url, "--owner", "eve"], 4, "has the handle 'eve'");

    let shown = two.table(&["repo", "show", song]);
    assert_eq!(shown[0], ["Repository:", "dev/song"]);
    assert!(shown.contains(&vec!["Visibility:".to_owned(), "private".to_owned()]), "{shown:?}");
    assert_eq!(two.json(&["repo", "show", song])["description"], "A \u{1b}[31mplough");
    two.is_refused(ada, &["repo", "show", song], 4, "there is no such repository");

    assert_eq!(two.json(&["repo", "set", song, "--visibility", "public"])["visibility"], "public");
    assert!(two.says(dev, &["repo", "set", song, "--description", ""]).contains("Visibility:      public\n"));
    two.is_refused(dev, &["repo", "set", song], 2, "required arguments were not provided");
    two.is_refused(dev, &["repo", "set", song, "--name", "Other"], 1, "it leads to the slug 'other'");
    two.is_refused(ada, &["repo", "set", song, "--visibility", "private"], 3, "");
    two.is_refused(dev, &["repo", "set", none, "--description", "x"], 4, "there is no such repository");

    assert_eq!(two.says(ada, &["repo", "fork", song, "--name", "My take"]), format!("{}\n", of("ada/my-take")));
    assert_eq!(
        two.json(&["repo", "fork", song, "--name", "Take 2", "--visibility", "private"])["visibility"],
        "private"
    );
    let shown = two.table(&["repo", "show", &of("dev/take-2")]);
    assert!(shown.contains(&vec!["Fork".to_owned(), "of:".to_owned(), "dev/song".to_owned()]), "{shown:?}");
    two.is_refused(dev, &["repo", "fork", song], 5, "exists already");
    two.is_refused("", &["repo", "fork", song], 3, "");
    two.is_refused(ada, &["repo", "fork", &of("dev/take-2")], 4, "there is no such repository");
    for fork in ["dev/take-2", "ada/my-take"] {
        let owner = if fork.starts_with("dev") { dev } else { ada };
        two.says(owner, &["repo", "delete", &of(fork)]);
    }

    let renamed = two.says(dev, &["repo", "rename", song, "tune"]);
    assert_eq!(renamed, format!("{song}: it is 'dev/tune' now, and its old names lead to it.\n"));
    assert_eq!(two.json(&["repo", "show", song])["slug"], "tune", "by its old name");
    assert_eq!(two.json(&["repo", "rename", song, "song"])["slug"], "song");
    two.is_refused(dev, &["repo", "rename", song, "other"], 5, "exists already");
    two.is_refused(dev, &["repo", "rename", song, "No Slug"], 1, "a slug has 1 to 64 characters");
    two.is_refused(ada, &["repo", "rename", song, "mine"], 3, "");

    two.is_refused(ada, &["repo", "delete", song], 3, "");
    let deleted = two.says(dev, &["repo", "delete", song]);
    assert!(deleted.starts_with(&format!("{song}: it is deleted. 'musehub repo undelete' undeletes it until ")));
    two.is_refused(dev, &["repo", "delete", song], 4, "there is no such repository");
    two.is_refused(dev, &["repo", "create", song], 5, "can be undeleted until");
    let list = two.table(&["repo", "list", "--hub", url, "--deleted"]);
    assert_eq!((list.len(), &*list[1][0]), (3, "dev/song"));
    two.is_refused(ada, &["repo", "undelete", song], 4, "there is no such repository");
    let undeleted = two.says(dev, &["repo", "undelete", song]);
    assert_eq!(undeleted, format!("{song}: it is not deleted, and all that was in it is there.\n"));
    assert_eq!(two.json(&["repo", "delete", song])["deleted"], "dev/song");
    assert_eq!(two.json(&["repo", "undelete", song])["slug"], "song");
}

#[test]
fn a_list_of_repositories_of_several_pages_is_printed_to_its_end() {
    let two = TwoUsers::start();
    for number in 0..101 {
        let made = two.hub.request("POST", "/api/repos", &two.dev, &format!("{{\"name\": \"r{number}\"}}"));
        assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    }
    let list = two.json(&["repo", "list", "--hub", &two.url]);
    let slugs: BTreeSet<&str> =
        list["repos"].as_array().unwrap().iter().filter_map(|repo| repo["slug"].as_str()).collect();
    assert_eq!((slugs.len(), &list["next"]), (101, &Value::Null));
}

#[test]
fn branches_are_listed_protected_deleted_and_restored_and_the_log_says_who_did_it() {
    let two = TwoUsers::start();
    let TwoUsers { url, dev, ada, .. } = &two;
    let (song, none) = (&*format!("{url}/dev/song"), &*format!("{url}/dev/none"));
    let [first, second, third] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    two.push(dev, "main", &first, None, false);
    two.push(dev, "main", &second, Some(&first), false);
    two.push(dev, "main", &third, None, true);
    let agent = ["token", "create", "--hub", url, "--access", "write", "--agent", "composer"];
    let agent = two.says(dev, &agent).trim().to_owned();
    two.push(&agent, "agent/x", &first, None, false);

    let list = two.table(&["branch", "list", song]);
    assert_eq!(list[0].join(" "), "BRANCH HEAD MOVED AT BY PROTECTED FROM DEFAULT");
    assert_eq!([&*list[1][0], &list[1][1], &list[1][3]], ["agent/x", &first[..12], "dev"]);
    assert_eq!([&*list[2][0], &list[2][1], &list[2][4]], ["main", &third[..12], "default"]);
    assert_eq!(two.table(&["branch", "list", song, "--full-ids"])[2][1], third);
    assert_eq!(two.json(&["branch", "list", song])["branches"][1]["head"], *third);
    two.is_refused(dev, &["branch", "list", none], 4, "there is no such repository");

    let protected = two.says(dev, &["branch", "protect", song, "main", "--admins-only"]);
    assert_eq!(protected, format!("{song}: 'main' is protected from force, deletion and all but admins.\n"));
    assert_eq!(two.json(&["branch", "protect", song, "agent/x"])["protected"], true);
    assert_eq!(two.table(&["branch", "list", song])[1][4..].join(" "), "force and deletion");
    two.is_refused(dev, &["branch", "delete", song, "agent/x"], 3, "is protected");
    two.is_refused(&agent, &["branch", "unprotect", song, "agent/x"], 3, "its access is 'write'");
    two.is_refused(ada, &["branch", "protect", song, "main"], 3, "");
    two.is_refused(dev, &["branch", "protect", song, "none"], 4, "there is no branch 'none'");
    let unprotected = two.says(dev, &["branch", "unprotect", song, "agent/x"]);
    assert_eq!(unprotected, format!("{song}: 'agent/x' is not protected.\n"));
    assert_eq!(two.json(&["branch", "unprotect", song, "main"])["protected"], false);

    assert_eq!(two.json(&["branch", "delete", song, "agent/x"])["head"], *first);
    two.is_refused(dev, &["branch", "delete", song, "agent/x"], 4, "there is no branch 'agent/x'");
    two.is_refused(dev, &["branch", "delete", song, "main"], 1, "is the default branch");
    two.is_refused(ada, &["branch", "restore", song, "agent/x"], 3, "");
    let restored = two.says(dev, &["branch", "restore", song, "agent/x"]);
    assert_eq!(restored, format!("{song}: 'agent/x' is there again, at {first}.\n"));
    let again = two.says(dev, &["branch", "restore", song, "agent/x"]);
    assert_eq!(again, format!("{song}: 'agent/x' is at {first} already.\n"));
    assert_eq!(two.json(&["branch", "restore", song, "main"])["head"], *second);
    let restored = two.says(dev, &["branch", "restore", song, "main", "--to", &first]);
    assert_eq!(restored, format!("{song}: 'main' is at {first} again; it was at {second}.\n"));
    two.is_refused(dev, &["branch", "restore", song, "main", "--to", "0"], 1, "does not name commit '0'");
    two.is_refused(dev, &["branch", "restore", song, "none"], 4, "there is no branch 'none'");

    let log = two.table(&["log", song]);
    assert_eq!(log[0], ["AT", "BY", "WITH", "BRANCH", "FROM", "TO", "HOW"]);
    let how: Vec<&str> = log.iter().skip(1).map(|line| line.last().unwrap().as_str()).collect();
    assert_eq!(how, ["restored", "restored", "restored", "deleted", "made", "forced", "pushed", "made"]);
    assert_eq!(log[5][1..3], ["dev", "composer"], "{log:?}");
    assert_eq!(log[6][1..], ["dev", "main", &second[..12], &third[..12], "forced"]);
    assert_eq!(two.table(&["log", song, "--branch", "main", "--full-ids"])[1][3..5], [second.clone(), first]);

    let page = two.json(&["log", song, "--limit", "5"]);
    let next = page["next"].as_str().unwrap();
    let rest = two.json(&["log", song, "--limit", "5", "--after", next]);
    let lines = |page: &Value| page["log"].as_array().unwrap().len();
    assert_eq!((lines(&page), lines(&rest), &rest["next"]), (5, 3, &Value::Null));
    let page = command(&["log", song, "--limit", "5"]).env("MUSEHUB_TOKEN", dev).output().unwrap();
    let said = String::from_utf8_lossy(&page.stderr).into_owned();
    assert_eq!(said, format!("There may be more: --after {next} goes on there.\n"));
    two.is_refused(dev, &["log", none], 4, "there is no such repository");
    two.is_refused("forged", &["log", song], 3, "the token is not one of this hub's");
    two.is_refused(dev, &["log", song, "--after", "x"], 1, "it is the id of no line");
    two.is_refused(dev, &["log", song, "--limit", "0"], 2, "invalid value '0'");
}

#[test]
fn the_same_is_asked_of_stores_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut hub = Hub::in_folder(folder.path());
    hub.signal("-INT");
    assert!(hub.process.wait().unwrap().success());
    let says = |arguments: &[&str]| printed(&run(&[arguments, &["--data", data]].concat()));
    let made: Value = serde_json::from_str(&says(&["repo", "create", "dev/song", "--json"])).unwrap();
    assert_eq!([&made["owner"], &made["slug"]], ["dev", "song"]);
    assert!(says(&["repo", "show", "dev/song"]).starts_with("Repository:      dev/song\n"));
    assert_eq!(says(&["branch", "list", "dev/song"]).lines().count(), 1);
    assert_eq!(says(&["log", "dev/song", "--branch", "main", "--limit", "5"]).lines().count(), 1);
    assert!(says(&["repo", "rename", "dev/song", "tune"]).contains("it is 'dev/tune' now"));
    says(&["repo", "delete", "dev/song"]);
    let gone = run(&["repo", "show", "dev/tune", "--data", data]);
    assert_eq!(gone.status.code(), Some(4));
    says(&["repo", "undelete", "dev/tune"]);
    assert_eq!(run(&["branch", "protect", "dev/tune", "main", "--data", data]).status.code(), Some(4));
}

#[test]
fn the_stores_run_by_themselves_and_say_where_in_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("hub"), folder.path().join("env"));
    let arguments = ["backends", "--data", data.to_str().unwrap(), "--env", file.to_str().unwrap()];
    let mut stores = Hub::start(&arguments);
    let environment = fs::read_to_string(&file).unwrap();
    let value = |name: &str| {
        let line = environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
        assert!(!line.is_empty(), "{name}");
        line
    };
    for url in [value("AWS_ENDPOINT_URL_DYNAMODB"), value("AWS_ENDPOINT_URL_S3")] {
        TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    }
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MUSEHUB_TABLE", "MUSEHUB_BUCKET"] {
        value(name);
    }
    assert_eq!(value("ACCESS_TOKEN_SECRET"), fs::read_to_string(data.join("secret")).unwrap());
    assert!(!stores.printed.contains(value("AWS_SECRET_ACCESS_KEY")), "the terminal does not show it");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // As on AWS: a process that reaches the table has the secret that the hub keeps there.
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let mut token = command(&["token", "--user", "user-ada", "--table", value("MUSEHUB_TABLE")]);
    token.envs(variables.filter(|(name, _)| name.starts_with("AWS_")));
    for _ in ["drawn", "read"] {
        let minted = token.output().unwrap();
        assert!(minted.status.success(), "{}", complaint(&minted));
        assert_eq!(String::from_utf8_lossy(&minted.stdout).split('.').count(), 3, "a JWT has three parts");
    }
    // There are no dead letters, so it is not asked where events go.
    let mut replay = command(&["replay", "--dead-letters", value("MUSEHUB_BUCKET")]);
    replay.envs(environment.lines().filter_map(|line| line.split_once('=')));
    let replayed = replay.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&replayed.stdout), "0 replayed, 0 kept\n", "{replayed:?}");
    assert!(replayed.status.success());
    let lost =
        replay.env("MUSEHUB_DEAD_LETTERS", "").args(["--dry-run"]).env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1");
    let lost = lost.output().unwrap();
    assert!(complaint(&lost).contains("the bucket of dead letters does not answer"), "{}", complaint(&lost));
    stores.signal("-TERM");
    assert!(stores.process.wait().unwrap().success());
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let refused = run(&["token", "--user", "user-dev", "--data", absent.to_str().unwrap()]);
    assert!(complaint(&refused).contains("there is no data folder"), "{}", complaint(&refused));
    let refused = run(&["token", "--user", "user-dev", "--ttl", "soon"]);
    assert!(complaint(&refused).contains("a time is a number and a unit"), "{}", complaint(&refused));

    let refused = run(&["proxy", "--to", "hub.example.com"]);
    assert!(complaint(&refused).contains("beginning with http:// or https://"), "{}", complaint(&refused));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [["serve", "--memory"], ["proxy", "--to=http://hub"]] {
        let refused = command(&arguments).args(["--listen", &address]).output().unwrap();
        assert!(complaint(&refused).contains(&format!("cannot listen on {address}")), "{}", complaint(&refused));
    }
}

#[test]
fn compact_says_why_it_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let hub = Hub::in_folder(folder.path());
    assert!(complaint(&run(&["compact", "dev/song", "--data", data])).contains("another hub is running"));
    hub.signal("-TERM");
    drop(hub);
    assert!(complaint(&run(&["compact", "dev/song", "--data", data])).contains("there is no repository dev/song"));
    assert!(complaint(&run(&["compact", "song", "--data", data])).contains("owner/slug"));
    let nowhere = folder.path().join("nowhere");
    let refused = complaint(&run(&["compact", "dev/song", "--data", nowhere.to_str().unwrap()]));
    assert!(refused.contains("there is no hub in") && !nowhere.exists(), "{refused}");
    let unnamed = command(&["compact", "dev/song"]).env_remove("MUSEHUB_TABLE").output().unwrap();
    assert!(complaint(&unnamed).contains("MUSEHUB_TABLE"), "{}", complaint(&unnamed));
}

/// The requests of the first example in docs/wire-protocol.md.
const FIRST_TAKE: &str = r#"{"branch": "main", "bundle": {
    "commits": [{"commit_id": "9503e775326b43197ba8173d6692cab81f2c1611787702ccb5aa3f20931c1561",
        "snapshot_id": "ad60895cd06089c8bff7ec0d0d57d961fad9d74cc1f271b8958b03235036873d",
        "message": "First take", "committed_at": "2026-01-31T12:00:00+00:00", "author": "dev"}],
    "snapshots": [{"snapshot_id": "ad60895cd06089c8bff7ec0d0d57d961fad9d74cc1f271b8958b03235036873d",
        "manifest": {"melody.txt": "cc803204dc5a58b1a741b95477a6e4e780284da6dc22fb1954dc5830a15cbf16"}}],
    "objects": [{"object_id": "cc803204dc5a58b1a741b95477a6e4e780284da6dc22fb1954dc5830a15cbf16", "content_b64": "ZG8gcmUgbWkK"}]}}"#;

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_clone_is_pushed_and_fetched_into_from_any_folder_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let hub = Hub::start(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    let token = hub.word_after("--token ").to_owned();
    let song = format!("{}/dev/song", hub.word_after("The hub is at "));
    assert!(hub.request("POST", "/dev/song/push", &token, FIRST_TAKE).starts_with("HTTP/1.1 200 "));
    printed(&run(&["clone", &song, &at("song")]));
    fs::create_dir_all(at("song/deep/er")).unwrap();
    let inside = |arguments: &[&str]| {
        let mut command = command(arguments);
        command
            .current_dir(at("song/deep/er"))
            .env("HOME", folder.path())
            .env("MUSEHUB_TOKEN", &token)
            .output()
            .unwrap()
    };
    assert_eq!(printed(&inside(&["push"])), format!("{song} has all of branch main already.\n"));
    assert_eq!(printed(&inside(&["fetch"])), format!("{song} has nothing new.\n"));
    let said = |output: &Output, code: i32, reason: &str| {
        assert!(complaint(output).contains(reason), "{}", complaint(output));
        assert_eq!(output.status.code(), Some(code), "{}", complaint(output));
    };
    said(&inside(&["push", "--remote", "other"]), 1, "has no remote 'other'");
    said(&inside(&["fetch", "--remote", "../origin"]), 2, "clients keep branches as files");
    said(&run(&["push", "--folder", &at("")]), 1, "is in no Muse repository");

    fs::write(at("song/.muse/HEAD"), "commit: 0\n").unwrap();
    said(&inside(&["push"]), 1, "names no branch: name one");
    fs::write(at("song/.muse/config.toml"), "[remotes.origin]\nurl = \"http://127.0.0.1:1/dev/song\"\n").unwrap();
    said(&inside(&["fetch"]), 6, "127.0.0.1:1");
}

#[test]
fn a_repo_goes_into_a_file_and_out_of_it_and_a_hub_into_a_folder_and_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let hub = Hub::in_folder(Path::new(&at("hub")));
    let token = hub.word_after("--token ").to_owned();
    let url = hub.word_after("The hub is at ").to_owned();
    assert!(hub.request("POST", "/dev/song/push", &token, FIRST_TAKE).starts_with("HTTP/1.1 200 "));

    // From hub to hub, with a token that no argument shows.
    let (song, copy) = (format!("{url}/dev/song"), format!("{url}/dev/copy"));
    let mut mirror = command(&["mirror", &song, &copy]);
    let first = printed(&mirror.env("MUSEHUB_TO_TOKEN", &token).output().unwrap());
    assert!(first.contains("/dev/copy was made; it is private.\n"), "{first}");
    assert!(first.contains("1 commits, 1 snapshots, 1 objects (9 B) sent; 1 branches moved"), "{first}");
    fs::write(at("token"), &token).unwrap();
    let again = run(&["mirror", &song, &copy, "--from-token-file", &at("token"), "--to-token-file", &at("token")]);
    assert_eq!(printed(&again), format!("{copy} has everything already.\n"));
    drop(mirror);

    let beside = printed(&run(&["backup", &at("beside"), "--data", &at("hub")]));
    assert!(beside.contains(": 2 repositories, "), "{beside}");
    let busy = run(&["export", "dev/song", &at("song.tar.zst"), "--data", &at("hub")]);
    assert!(complaint(&busy).contains("another hub is running on the data folder"), "{}", complaint(&busy));
    drop(hub);
    let exported = run(&["export", "dev/song", &at("song.tar.zst"), "--data", &at("hub")]);
    assert!(printed(&exported).contains("1 commits, 1 snapshots, 1 objects (9 B)"));
    let before = fs::read(at("song.tar.zst")).unwrap();
    let twice = run(&["export", "dev/song", &at("song.tar.zst"), "--data", &at("hub")]);
    assert!(complaint(&twice).contains("is there already") && complaint(&twice).contains("--force"));
    assert_eq!(fs::read(at("song.tar.zst")).unwrap(), before);
    printed(&run(&["export", "dev/song", &at("song.tar.zst"), "--force", "--data", &at("hub")]));
    assert!(printed(&run(&["verify", &at("song.tar.zst")])).contains("is whole: dev/song as of "));
    let imported = run(&["import", &at("song.tar.zst"), "dev/again", "--private", "--data", &at("hub")]);
    assert!(printed(&imported).starts_with("dev/again was made; it is private.\n"));
    let repeated = run(&["import", &at("song.tar.zst"), "dev/again", "--data", &at("hub")]);
    assert_eq!(printed(&repeated), "dev/again has everything already.\n");

    assert!(printed(&run(&["backup", &at("backup"), "--data", &at("hub")])).contains("3 repositories"));
    assert!(printed(&run(&["verify", &at("backup")])).contains("is whole: the backup of "));
    printed(&run(&["restore", &at("backup"), "--data", &at("restored")]));
    let refused = run(&["restore", &at("backup"), "--data", &at("restored")]);
    assert!(complaint(&refused).contains("there is a hub in these stores already"), "{}", complaint(&refused));
    let hub = Hub::in_folder(Path::new(&at("restored")));
    let refs = hub.get_refs(&token);
    assert!(
        refs.contains("9503e775326b43197ba8173d6692cab81f2c1611787702ccb5aa3f20931c1561"),
        "its tokens are good: {refs}"
    );
}

#[test]
fn what_leaked_is_purged_at_a_hub_and_in_a_folder_and_its_backup() {
    const MELODY: &str = "cc803204dc5a58b1a741b95477a6e4e780284da6dc22fb1954dc5830a15cbf16";
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut hub = Hub::in_folder(Path::new(&at("hub")));
    let token = hub.word_after("--token ").to_owned();
    let url = format!("{}/dev/song", hub.word_after("The hub is at "));
    assert!(hub.request("POST", "/dev/song/push", &token, FIRST_TAKE).starts_with("HTTP/1.1 200 "));
    printed(&run(&["backup", &at("backup"), "--data", &at("hub")]));

    let other = "0".repeat(64);
    let ask = |id: &str| command(&["purge", &url, "--object", id]).env("MUSEHUB_TOKEN", &token).output().unwrap();
    let said = printed(&ask(&other));
    assert!(said.contains(&format!("{url}: {other} is purged since ")), "{said}");
    let nowhere = command(&["purge", &url, "--object", MELODY, "--backup", &at("backup")]).output().unwrap();
    assert!(complaint(&nowhere).contains("owner/slug for --backup"), "{}", complaint(&nowhere));
    hub.signal("-INT");
    assert!(hub.process.wait().unwrap().success());

    let purge = ["purge", "dev/song", "--object", MELODY, "--reason", "a key", "--backup", &at("backup")];
    let said = printed(&run(&[&purge[..], &["--data", &at("hub")]].concat()));
    assert!(said.contains(&format!("dev/song: {MELODY} is purged since ")), "{said}");
    assert!(said.contains("1 packs written again without it, 1 files deleted from the storage\n"), "{said}");
    assert!(said.contains("backed up once more; the 1 files that held it are deleted there.\n"), "{said}");
    let again = printed(&run(&[&purge[..], &["--data", &at("hub")]].concat()));
    assert!(again.contains("0 packs written again without it, 0 files deleted from the storage\n"), "{again}");
    assert!(again.contains("no file of the backup holds it.\n"), "{again}");
    let checked = printed(&run(&["fsck", "dev/song", "--deep", "--data", &at("hub")]));
    assert!(checked.contains(&format!("the object {MELODY} was purged by user-dev at ")), "{checked}");
    assert!(checked.contains(": a key"), "{checked}");

    let hub = Hub::in_folder(Path::new(&at("hub")));
    let refused = hub.request("POST", "/dev/song/push", &token, FIRST_TAKE);
    assert!(refused.starts_with("HTTP/1.1 422 ") && refused.contains("object_purged"), "{refused}");
}

#[test]
fn what_cannot_be_moved_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let said = |arguments: &[&str], sentence: &str| {
        let complaint = complaint(&run(arguments));
        assert!(complaint.contains(sentence), "{arguments:?}: {complaint}");
    };
    said(&["export", "dev/song", &at("file"), "--data", &at("absent")], "there is no hub in");
    assert!(!Path::new(&at("absent")).exists(), "nothing was made");
    said(&["export", "song", &at("file")], "a repository is named owner/slug");
    said(
        &["mirror", "http://hub/song", "dev/song"],
        "the URL of a repository is like https://hub.example.com/owner/slug",
    );
    said(&["mirror", "http://127.0.0.1:1/dev/song", "http://me:secret@hub/dev/song"], "without a user or password");
    fs::write(at("file"), "no export").unwrap();
    said(&["verify", &at("file")], "is damaged near byte 0");
    said(&["verify", folder.path().to_str().unwrap()], "there is no complete backup in");
    said(&["restore", &at("absent"), "--data", &at("new")], "there is no complete backup in");
}

/// A hub that may have this many files open, by `ulimit`, its token, and where it keeps its data.
fn with_open_files(limits: &str) -> (Hub, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("ulimit {limits} && exec \"$0\" serve --listen 127.0.0.1:0 --ids lenient --data \"$1\"");
    let hub = Hub::started(Command::new("sh").args(["-c", &script, MUSEHUB]).arg(folder.path().join("hub")));
    let token = hub.word_after("--token ").to_owned();
    (hub, token, folder)
}

/// The limit of open files of a process.
fn open_files(hub: &Hub) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{}/limits", hub.process.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_lets_it_be() {
    let (hub, ..) = with_open_files("-Sn 200");
    assert!(open_files(&hub) > 1_000, "{}", open_files(&hub));
    let (hub, ..) = with_open_files("-n 600");
    assert_eq!(open_files(&hub), 600);
}

/// Opens connections to a hub from this address.
fn connect(hub: &Hub, from: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    let to: SocketAddr = hub.word_after(" is at http://").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = runtime.block_on(socket.connect(to)).unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    };
    (0..count).map(|_| connect()).collect()
}

/// What comes on a connection that has asked for this, up to its end.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> String {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    );
    let asked = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    assert!(asked.is_ok() && read.is_ok(), "{asked:?} {read:?} {answer}");
    answer
}

fn stocked(hub: &Hub, token: &str) {
    let bundle = r#"{"bundle": {"commits": [{"commit_id": "c1", "snapshot_id": "s1", "message": "one", "committed_at": "2026-01-01T00:00:00Z"}],
        "snapshots": [{"snapshot_id": "s1", "manifest": {"take.wav": "o1"}, "created_at": "2026-01-01T00:00:00Z"}],
        "objects": [{"object_id": "o1", "path": "take.wav", "content_b64": "dGFrZQ=="}]}, "branch": "main", "force": false}"#;
    let pushed = hub.request("POST", "/dev/song/push", token, bundle);
    assert!(pushed.starts_with("HTTP/1.1 200 "), "{pushed}");
}

/// Four hundred clients that clone at the same moment, of a hub that may have 1,024 files open.
#[test]
fn with_few_open_files_many_clients_are_all_served() {
    let (hub, token, _folder) = with_open_files("-n 1024");
    stocked(&hub, &token);
    let clients: Vec<_> = connect(&hub, Ipv4Addr::LOCALHOST, 400)
        .into_iter()
        .map(|mut stream| {
            std::thread::spawn(move || ask(&mut stream, "POST", "/dev/song/fetch", r#"{"want": ["c1"], "have": []}"#))
        })
        .collect();
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("dGFrZQ=="), "{answer}");
    }
}

#[test]
fn a_client_that_finds_no_place_hears_when_to_come_again_and_another_address_has_one() {
    let (hub, token, _folder) = with_open_files("-n 300");
    stocked(&hub, &token);
    let refs = |stream: &mut TcpStream| ask(stream, "GET", "/dev/song/refs", "");
    // More than there is a place for, none of which asks for anything.
    let mut idle = connect(&hub, Ipv4Addr::LOCALHOST, 80);
    let refused = refs(idle.last_mut().unwrap());
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: "), "{refused}");
    assert!(refused.contains(r#""error":"unavailable""#), "{refused}");

    let [other] = connect(&hub, Ipv4Addr::new(127, 0, 0, 2), 1).try_into().unwrap();
    let mut other = other;
    assert!(refs(&mut other).starts_with("HTTP/1.1 200 "));
    // The first of them were let in, and are served.
    assert!(refs(&mut idle[0]).starts_with("HTTP/1.1 200 "));
    drop(idle);
}
