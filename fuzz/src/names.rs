//! The names of branches, tags, repositories, paths, and ids.
//!
//! What is taken comes back as it was given, is a file below the folder that it belongs to, and is still taken when it is asked
//! again. Whether two branches can be beside each other does not depend on which of them was first.

use std::path::{Component, Path};

use common::id::{BranchName, Id, Label, ObjectId, RepoId, Slug};
use common::wire::names::{check_beside, check_branch, check_path, check_paths, check_tag, folded, folders};

use crate::refusal;

/// Panics if these names, one a line, break a promise.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let names: Vec<&str> = text.split('\n').collect();
    names.iter().for_each(|name| alone(name));
    let branches: Vec<BranchName> = names.iter().filter_map(|name| check_branch("branch", name).ok()).take(8).collect();
    for one in &branches {
        for other in &branches {
            let (forth, back) = (beside(one, other), beside(other, one));
            assert_eq!(forth, back, "{one} and {other}");
            assert!(forth || one != other, "a branch is no trouble to itself");
            let (own, theirs) = (folded(one.as_str()), folded(other.as_str()));
            assert!(!forth || one == other || own != theirs, "{one} and {other} are one file on some systems");
        }
    }
    let mut paths = names.clone();
    paths.sort_unstable();
    paths.dedup();
    if check_paths(&paths).is_ok() {
        paths.iter().filter(|path| check_path(path).is_ok()).for_each(|path| stays_below(path));
        // Any of them are fine without the others.
        assert_eq!(check_paths(paths.get(1..).unwrap_or_default()), Ok(()));
    }
}

fn beside(one: &BranchName, other: &BranchName) -> bool {
    check_beside(one, std::iter::once(other.as_str())).inspect_err(refusal::check).is_ok()
}

fn alone(name: &str) {
    match check_branch("branch", name) {
        Ok(branch) => {
            assert_eq!(branch.as_str(), name);
            assert_eq!(name.parse::<BranchName>().as_ref(), Ok(&branch), "it is read again");
            stays_below(name);
            assert!(folders(name).all(|folder| name.starts_with(&format!("{folder}/"))));
            assert!(!name.contains(char::is_control));
        }
        Err(error) => refusal::check(&error),
    }
    match check_tag(name) {
        Ok(tag) => assert_eq!((tag.as_str(), name.parse::<Label>().as_ref()), (name, Ok(&tag))),
        Err(error) => refusal::check(&error),
    }
    assert_eq!(folded(&folded(name)), folded(name));
    if let Ok(slug) = Slug::from_name(name) {
        assert_eq!(Slug::from_name(slug.as_str()).as_ref(), Ok(&slug), "the slug of a slug is itself");
        assert_eq!(slug.as_str().parse::<Slug>().as_ref(), Ok(&slug));
    }
    if let Ok(slug) = name.parse::<Slug>() {
        assert_eq!(slug.as_str(), name);
    }
    if let Ok(id) = name.parse::<Id>() {
        assert_eq!(id.to_string(), name, "an id is written as it was read");
    }
    if let Ok(id) = name.parse::<ObjectId>() {
        for spelling in [id.key().spelled(false), id.key().spelled(true)] {
            assert_eq!(spelling.key(), id.key(), "two spellings are one object");
        }
    }
    if let Ok(id) = name.parse::<RepoId>() {
        assert_eq!(id.as_str().parse::<RepoId>().as_ref(), Ok(&id));
    }
}

/// Whether a name is a path that goes down and nowhere else, here and where backslashes separate.
fn stays_below(name: &str) {
    for name in [name.to_owned(), name.replace('\\', "/")] {
        let mut parts = Path::new(&name).components();
        assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{name:?} leaves its folder");
    }
}

/// Names that are taken, and some that are not.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "main\nfeature/x\nFeature/y\nfeature\n\u{fc}/\u{e4}\ncon.txt\na.lock\nHEAD\n-rf\na..b",
        "a/b.txt\na/b\na\\c\n../x\n.git/config\nC:/x\n.muse\nGIT~1/x\naux.c",
        "My  Song!\n--A--\nsha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV\nemotion:joyful\nA.b_C:1-\n\u{202e}txt\n\u{1f3b5}",
        "\u{130}\n\u{df}\nSS\n\u{3a3}\n\u{3c2}\n\u{1c5}\nK\n\u{212a}",
    ]
    .map(|names| names.as_bytes().to_vec())
    .into()
}
