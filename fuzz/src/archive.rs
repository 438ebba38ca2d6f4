//! Files of exports, as `musehub import` and `musehub verify` read them.
//!
//! A file is read whole or called damaged; what is read is all that the tar has; nothing of it is believed that is not sealed;
//! and what `verify` proves, holds.

use std::io::Write;
use std::path::Path;

use common::id::CommitId;
use indicatif::ProgressBar;
use local::transfer::TransferError;
use local::transfer::file::Name;
use local::transfer::file::reader::Entries;
use local::transfer::verify::verify;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

const BLOCK: usize = 512;

/// Panics if these bytes break a promise: as a file, and as a tar that is compressed and sealed. The first byte of a tar says
/// in how large frames.
pub fn check(input: &[u8]) {
    if let Ok(entries) = read(input) {
        assert!(input.len() > BLOCK / 8, "{} entries out of nothing", entries.len());
    }
    let Some((size, tar)) = input.split_first() else {
        return;
    };
    let file = sealed(tar, 64 * usize::from(*size) + 1);
    let Ok(entries) = read(&file) else {
        // It is refused, and a beginning of it is as well.
        assert!(read(&file[..file.len() / 2]).is_err());
        return;
    };
    let padded = |content: &Vec<u8>| content.len().next_multiple_of(BLOCK);
    let total: usize = entries.iter().map(|(_, content)| BLOCK + padded(content)).sum();
    assert_eq!(total + 2 * BLOCK, tar.len(), "the entries are all that the tar has");
    for (name, _) in &entries {
        assert_eq!(Name::parse(&name.path()).as_ref(), Some(name));
    }
    for cut in [1, 32, 33, 56, file.len() / 2] {
        assert!(read(&file[..file.len() - cut]).is_err(), "a file without its last {cut} bytes is not whole");
    }
    let mut changed = file.clone();
    let at = usize::from(*size) * 7_919 % file.len();
    changed[at] ^= 1;
    assert!(read(&changed).is_err(), "a bit of byte {at} is another");
    let again = sealed(&tar_of(&entries), BLOCK);
    assert_eq!(read(&again).expect("what was written is read"), entries);
    is_proved(&file, &entries);
}

/// All entries of a file.
fn read(file: &[u8]) -> Result<Vec<(Name, Vec<u8>)>, TransferError> {
    let outcome = entries_of(file);
    if let Err(error) = &outcome {
        assert!(matches!(error, TransferError::Damaged(_)), "{error}");
        assert!(error.to_string().len() < 1_000, "{error}");
    }
    outcome
}

fn entries_of(file: &[u8]) -> Result<Vec<(Name, Vec<u8>)>, TransferError> {
    let mut entries = Entries::new(file, Path::new("a.muse"));
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        assert!(entries.kept_bytes() <= entries.offset() && entries.offset() <= file.len() as u64);
        let content = if found.len() % 2 == 0 {
            entries.whole()?.to_vec()
        } else {
            let mut content = Vec::new();
            while let Some(piece) = entries.piece()? {
                content.extend_from_slice(&piece);
            }
            content
        };
        assert_eq!(content.len() as u64, entry.size);
        found.push((entry.name, content));
    }
    assert_eq!(entries.offset(), file.len() as u64);
    Ok(found)
}

/// A tar in frames of the given length, with the seal behind it: see the documentation of `local::transfer::file`.
fn sealed(tar: &[u8], frame: usize) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).expect("zstd works");
    compressor.include_checksum(true).expect("zstd works");
    let frames = tar.chunks(frame).map(|raw| compressor.compress(raw).expect("zstd works"));
    let mut file = frames.collect::<Vec<_>>().concat();
    file.extend_from_slice(&0x184D_2A50_u32.to_le_bytes());
    file.extend_from_slice(&48_u32.to_le_bytes());
    file.extend_from_slice(b"MUSEXPRT");
    file.extend_from_slice(&1_u64.to_le_bytes());
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

fn tar_of(entries: &[(Name, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in entries {
        let mut header = Header::new_ustar();
        header.set_path(name.path()).expect("the path of an entry fits");
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// What `verify` says of a file: what it proves is looked at again.
fn is_proved(file: &[u8], entries: &[(Name, Vec<u8>)]) {
    let mut on_disk = tempfile::NamedTempFile::new().expect("a file can be made");
    on_disk.write_all(file).expect("a file can be written");
    let verified = match verify(on_disk.path(), &ProgressBar::hidden()) {
        Ok(verified) => verified,
        Err(error) => {
            return assert!(matches!(error, TransferError::Damaged(_) | TransferError::Refused(_)), "{error}");
        }
    };
    let commits: Vec<&CommitId> = verified.commits.iter().map(|(id, _)| id).collect();
    assert!(verified.contents.branches.values().all(|head| commits.contains(&head)), "a head is not there");
    let counted = entries.iter().filter(|(name, _)| matches!(name, Name::Commit(_))).count();
    assert_eq!(commits.len(), counted);
    assert_eq!(verified.holds.commits, counted as u64);
    let of_objects = entries.iter().filter(|(name, _)| matches!(name, Name::Object(_)));
    assert_eq!(verified.holds.bytes, of_objects.map(|(_, content)| content.len() as u64).sum::<u64>());
}

/// A small history that is proved, the same with opaque ids, and beginnings of files.
pub fn seeds() -> Vec<Vec<u8>> {
    let object = b"one\n".to_vec();
    let object_id = hex(&Sha256::digest(&object));
    let snapshot_id = hex(&Sha256::digest(format!("a.txt\0{object_id}")));
    let commit_id = hex(&Sha256::digest(format!("\0{snapshot_id}\0first\0now")));
    let history = |ids: &str, object_id: &str, snapshot_id: &str, commit_id: &str| {
        let name = |path: String| Name::parse(&path).expect("it is the path of an entry");
        let folded = |id: &str| if id.len() == 64 { id.to_owned() } else { format!("_{id}") };
        let msgpack = |value| rmp_serde::to_vec(&value).expect("a value can be written");
        let contents = json!({
            "format": "musehub export", "version": 1, "exported_at": "2026-01-01T00:00:00Z", "ids": ids,
            "repo": {
                "repo_id": "r", "owner": "ada", "slug": "song", "name": "Song", "description": "", "domain": "code",
                "visibility": "public", "default_branch": "main", "created_at": "2026-01-01T00:00:00Z",
            },
            "branches": {"main": commit_id}, "releases": 1,
            "tags": [{"tag": "v1", "commit_id": commit_id, "tag_id": "t", "repo_id": "r", "created_at": "now"}],
        });
        tar_of(&[
            (Name::Readme, b"read me\n".to_vec()),
            (Name::Repo, contents.to_string().into_bytes()),
            (Name::Release(1), msgpack(json!({"tag": "v1", "commit_id": commit_id, "channel": "stable"}))),
            (
                name(format!("snapshots/{}.msgpack", folded(snapshot_id))),
                msgpack(json!({"snapshot_id": snapshot_id, "manifest": {"a.txt": object_id}, "created_at": "now"})),
            ),
            (name(format!("objects/{}", folded(object_id))), object.clone()),
            (
                name(format!("commits/{}.msgpack", folded(commit_id))),
                msgpack(json!({
                    "commit_id": commit_id, "snapshot_id": snapshot_id, "message": "first", "committed_at": "now",
                })),
            ),
        ])
    };
    let strict = history("strict", &object_id, &snapshot_id, &commit_id);
    let lenient = history("lenient", "o", "s", "c");
    let file = sealed(&strict, 4_096);
    vec![
        [&[0xff], strict.as_slice()].concat(),
        [&[1], lenient.as_slice()].concat(),
        [&[8], &[0; 2 * BLOCK][..]].concat(),
        file,
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
