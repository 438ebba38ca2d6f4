//! `musehub fsck` and `musehub stats` over a data folder, as a user runs them: what they print, and their exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MUSEHUB: &str = env!("CARGO_BIN_EXE_musehub");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(MUSEHUB);
    command.args(arguments);
    for variable in ["ACCESS_TOKEN_SECRET", "RUST_LOG", "MUSEHUB_TABLE", "MUSEHUB_BUCKET", "MUSEHUB_IDS"] {
        command.env_remove(variable);
    }
    command
}

/// A hub on a data folder, which ends with this value.
struct Hub {
    process: Child,
    address: String,
    token: String,
}

impl Hub {
    fn start(folder: &Path) -> Hub {
        let mut process = command(&["serve", "--listen", "127.0.0.1:0", "--data", folder.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().unwrap());
        while !printed.contains("Ctrl-C ends ") {
            assert_ne!(output.read_line(&mut printed).unwrap(), 0, "it ended after printing {printed:?}");
        }
        let word_after = |before: &str| {
            let (_, rest) = printed.split_once(before).unwrap();
            rest.split_whitespace().next().unwrap().trim_end_matches(',').to_owned()
        };
        let (address, token) = (word_after("The hub is at http://"), word_after("--token "));
        Hub { process, address, token }
    }

    /// The status and the body of the answer.
    fn request(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, token, length) = (&self.address, &self.token, body.len());
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sha256(text: impl AsRef<[u8]>) -> String {
    Sha256::digest(text.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two commits, of which the second adds a file that is too large for a repair to hold in memory.
fn push(hub: &Hub) {
    // Hashes, because they do not compress.
    let large: Vec<u8> = (0..280_000_u32).flat_map(|number| Sha256::digest(number.to_le_bytes()).to_vec()).collect();
    let mut parent: Option<String> = None;
    for (name, content) in [("melody.txt", b"do re mi\n".to_vec()), ("take.flac", large)] {
        let object = sha256(&content);
        let snapshot = sha256(format!("{name}\0{object}"));
        let (time, parents) = ("2026-01-31T12:00:00+00:00", parent.clone().unwrap_or_default());
        let commit = sha256(format!("{parents}\0{snapshot}\0{name}\0{time}"));
        let body = json!({"branch": "main", "bundle": {
            "commits": [{"commit_id": commit, "snapshot_id": snapshot, "message": name, "committed_at": time,
                         "author": "dev", "branch": "main", "parent_commit_id": parent}],
            "snapshots": [{"snapshot_id": snapshot, "manifest": {name: object}, "created_at": time}],
            "objects": [{"object_id": object, "content_b64": BASE64_STANDARD.encode(&content)}],
        }});
        let (status, answer) = hub.request("POST /dev/song/push", &body.to_string());
        assert_eq!(status, 200, "{answer}");
        parent = Some(commit);
    }
}

fn fsck(folder: &Path, options: &[&str]) -> (i32, String, Output) {
    let output = command(&["fsck", "dev/song", "--data", folder.to_str().unwrap()]).args(options).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap(), output)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Alters a byte in the beginning of each pack, where its commits are.
fn damage_all_commits(folder: &Path) {
    let mut damaged = 0;
    for pack in files(&folder.join("s3")).into_iter().filter(|path| is_pack(path)) {
        let mut content = fs::read(&pack).unwrap();
        content[5] ^= 1;
        fs::write(&pack, content).unwrap();
        damaged += 1;
    }
    assert!(damaged >= 2);
}

fn is_pack(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("packs%2F")
}

/// Alters a byte in the middle of the file that holds the large object.
fn damage(folder: &Path) {
    let pack = files(&folder.join("s3")).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut content = fs::read(&pack).unwrap();
    assert!(content.len() > 4_000_000, "{}", pack.display());
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&pack, content).unwrap();
}

#[test]
fn a_repo_is_checked_and_repaired_from_a_backup_and_from_another_hub() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("hub"), folder.path().join("backup"));
    let hub = Hub::start(&data);
    push(&hub);
    let (status, answer) = hub.request("GET /api/repos/dev/song/stats", "");
    assert_eq!(status, 200, "{answer}");
    let served: Value = serde_json::from_str(&answer).unwrap();
    let (code, _, output) = fsck(&data, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(code, 2, "a hub runs on the folder: {said}");
    assert!(said.contains("another hub is running on the data folder"), "{said}");
    drop(hub);
    copy(&data, &backup);

    let (code, printed, output) = fsck(&data, &["--deep"]);
    assert_eq!(code, 0, "{printed} {}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.ends_with("dev/song: whole\n"), "{printed}");
    let stats = command(&["stats", "dev/song", "--json", "--data", data.to_str().unwrap()]).output().unwrap();
    let counted: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(counted, served, "the command counts what the endpoint does");
    assert_eq!((&counted["commits"], &counted["objects"]), (&json!(2), &json!(2)));

    for from in ["folder", "hub"] {
        damage(&data);
        if from == "folder" {
            assert_eq!(fsck(&data, &[]).0, 0, "its size is right");
        } else {
            damage_all_commits(&data);
        }
        let (code, printed, _) = fsck(&data, &["--deep", "--json"]);
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((code, &report["status"]), (1, &json!("damaged")), "{printed}");
        let finding = &report["findings"][0];
        assert_eq!((&finding["problem"], &finding["mend"]), (&json!("pack_damaged"), &json!("clone")), "{printed}");
        let depends = &finding["depends"];
        assert!(depends["branches"] == json!(["main"]) || depends["everything"] == json!(true), "{printed}");
        assert_eq!(fsck(&data, &["--repair"]).0, 1, "nothing here has it");

        let running = (from == "hub").then(|| Hub::start(&backup));
        let source = match &running {
            Some(hub) => format!("http://{}/dev/song", hub.address),
            None => backup.to_str().unwrap().to_owned(),
        };
        let (code, printed, output) = fsck(&data, &["--repair", "--json", "--from", &source]);
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(code, 3, "{printed} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(report["actions"][0]["action"], "brought", "{printed}");
        assert_eq!(report["actions"][1]["action"], "pack_set_aside", "{printed}");
        drop(running);
        let (code, printed, _) = fsck(&data, &["--deep"]);
        assert_eq!(code, 0, "{printed}");
        assert!(printed.contains("note: the damaged pack"), "{printed}");
        let (code, printed, _) = fsck(&data, &["--repair", "--prune-damaged"]);
        assert_eq!(code, 0, "{printed}");
        assert!(printed.contains("repair: deleted the damaged pack"), "{printed}");
        // The second time the object is a file of its own.
        assert!(!fsck(&data, &[]).1.contains("note:"));
    }

    // What was repaired is what was pushed.
    let hub = Hub::start(&data);
    let (status, answer) = hub.request("GET /api/repos/dev/song/stats", "");
    let repaired: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &repaired["commits"], &repaired["objects"]), (200, &json!(2), &json!(2)));
}

#[test]
fn what_cannot_be_checked_is_said_with_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, sentence) in [
        (vec!["fsck", "dev/song", "--data", path], "there is no hub in"),
        (vec!["fsck", "dev/song"], "there is no hub in .musehub"),
        (vec!["fsck", "dev/song", "--prune-damaged"], "--repair"),
        (vec!["fsck"], "OWNER/SLUG"),
    ] {
        let (code, said) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    }
    let data = folder.path().join("hub");
    drop(Hub::start(&data));
    let data = data.to_str().unwrap();
    for (repo, sentence) in [("dev/song", "there is no repository dev/song"), ("song", "neither owner/slug nor the id")]
    {
        let (code, said) = run(&["fsck", repo, "--data", data]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
}
