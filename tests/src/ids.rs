//! The contract's three hashes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Lowercase hex SHA-256 of a file's bytes.
pub fn object_id(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// `sha256( NUL.join( sorted( path + NUL + object_id ) ) )`
pub fn snapshot_id(manifest: &BTreeMap<String, String>) -> String {
    let mut entries: Vec<String> = manifest.iter().map(|(path, object)| format!("{path}\0{object}")).collect();
    entries.sort();
    object_id(entries.join("\0").as_bytes())
}

/// `sha256( NUL.join( [ NUL.join(sorted(parents)), snapshot_id, message, last ] ) )`, where `last` is the commit's
/// `committed_at`, or its `author` when it is a raw plumbing commit.
pub fn commit_id(parents: &[&str], snapshot_id: &str, message: &str, last: &str) -> String {
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    object_id([parents.join("\0").as_str(), snapshot_id, message, last].join("\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Printed by Python's hashlib from the contract's formulas.
    #[test]
    fn ids_are_what_another_implementation_computes() {
        let hello = object_id(b"hello");
        assert_eq!(hello, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        let manifest = BTreeMap::from([("b.txt".to_owned(), hello.clone()), ("a/é.txt".to_owned(), object_id(b""))]);
        assert_eq!(snapshot_id(&manifest), "fd3bb04e72df94f9d3a350740fa0f7d4f0caf5b3481547f91db28fb8dbb859f5");
        assert_eq!(snapshot_id(&BTreeMap::new()), object_id(b""));
        assert_eq!(
            commit_id(&["b", "a"], "s", "grüße", "2025-01-01T00:00:00+00:00"),
            "b295d313e919015d935033f403ea5cec6e1d6a21a905dd4a811904f69069c543"
        );
        assert_eq!(commit_id(&[], "s", "", "dev"), "10324b9eb9ff053e016a898988959eea121b629826babc8885a176fb67f84ff7");
    }
}
