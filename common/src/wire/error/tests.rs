//! What every error is answered with: a snapshot that a change of code, status or sentence shows up in. Programs rely on the
//! codes, and people on the sentences; `docs/openapi.json` and the clients know the statuses.

use std::fmt::Write;

use super::*;

/// An error of each variant. A variant that is not named here does not compile.
macro_rules! one_of_each {
    ($($variant:pat => $error:expr,)*) => {
        fn one_of_each() -> Vec<WireError> {
            let _ = |error: &WireError| match error {
                $($variant => {})*
            };
            vec![$($error),*]
        }
    };
}

fn id<I: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> I {
    text.parse().unwrap()
}

one_of_each! {
    WireError::MalformedBody(_) => WireError::MalformedBody("at bundle.commits[1].commit_id: invalid type: integer `5`".to_owned()),
    WireError::InvalidHost(_) => WireError::InvalidHost("the header Host names no host: '/'".to_owned()),
    WireError::Unauthorized(_) => WireError::unauthorized("the token has expired"),
    WireError::NotOwner(_) => WireError::NotOwner("change what it is"),
    WireError::NotAdministrator(_) => WireError::NotAdministrator("see its members"),
    WireError::TokenTooNarrow(_) => WireError::TokenTooNarrow("it may force no branch".to_owned()),
    WireError::MemberNotFound(_) => WireError::MemberNotFound("'ada' is no member of this repository".to_owned()),
    WireError::LinkNotFound(_) => WireError::LinkNotFound("01JXT21Q2PYJYZGM06QYMWFQRX".to_owned()),
    WireError::TokenNotFound(_) => WireError::TokenNotFound("01JXT21Q2PYJYZGM06QYMWFQRX".to_owned()),
    WireError::NotAuthorized => WireError::NotAuthorized,
    WireError::BranchProtected { .. } => {
        WireError::BranchProtected { branch: id("main"), lacking: "and is not deleted: ask the owner" }
    },
    WireError::NotAdmin => WireError::NotAdmin,
    WireError::RepoNotFound => WireError::RepoNotFound,
    WireError::RepoNotFoundUnasked(_) => WireError::RepoNotFoundUnasked("https://hub.example".to_owned()),
    WireError::NoHandle(_) => WireError::NoHandle("https://hub.example".to_owned()),
    WireError::NoRepoName(_) => WireError::NoRepoName("'-x' is no name of a repository".to_owned()),
    WireError::OwnerNotFound(_) => WireError::OwnerNotFound("ada".to_owned()),
    WireError::UnknownRoute => WireError::UnknownRoute,
    WireError::NoDomains => WireError::NoDomains,
    WireError::UnknownRef(_) => WireError::UnknownRef("tempo".to_owned()),
    WireError::UnknownPath(_) => WireError::UnknownPath("song/voices.py".to_owned()),
    WireError::TooLargeToShow(_) => WireError::TooLargeToShow("70000000 bytes".to_owned()),
    WireError::UnknownCommit(_) => WireError::UnknownCommit(id("c0ffee")),
    WireError::UnknownObject(_) => WireError::UnknownObject(id("0b1ec7")),
    WireError::ObjectGone(_) => WireError::ObjectGone(id("0b1ec7")),
    WireError::ReleaseNotFound(_) => WireError::ReleaseNotFound(id("v1.0.0")),
    WireError::TagNotFound(_) => WireError::TagNotFound(id("v1.0.0")),
    WireError::BranchNotFound(_) => WireError::BranchNotFound(id("main")),
    WireError::WebhookNotFound(_) => WireError::WebhookNotFound("01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
    WireError::MethodNotAllowed { .. } => {
        WireError::MethodNotAllowed { method: http::Method::PUT, allowed: "GET, HEAD".to_owned() }
    },
    WireError::NonFastForward(_) => WireError::NonFastForward(id("main")),
    WireError::StaleHead { .. } => WireError::StaleHead { branch: id("main"), head: Some(id("c0ffee")) },
    WireError::HandleTaken(_) => WireError::HandleTaken("the handle 'ada' is taken".to_owned()),
    WireError::RepoExists(_) => WireError::RepoExists("ada/song".to_owned()),
    WireError::NameTaken(_) => WireError::NameTaken("'ada/song' is what the repository 'ada/tune' was called before".to_owned()),
    WireError::ReleaseExists(_) => WireError::ReleaseExists(id("v1.0.0")),
    WireError::PreconditionFailed(_) => WireError::PreconditionFailed(id("0b1ec7")),
    WireError::PayloadTooLarge(_) => WireError::PayloadTooLarge("the body has more than 6 MB".to_owned()),
    WireError::QuotaExceeded { .. } => WireError::QuotaExceeded { of: "the repository", what: "bytes", used: 60, more: 41, allowed: 100 },
    WireError::AnswerTooLarge { .. } => WireError::AnswerTooLarge { bytes: 2, most: 1, way_round: "ask for less" },
    WireError::UnsupportedMediaType(_) => WireError::UnsupportedMediaType("text/html".to_owned()),
    WireError::RangeNotSatisfiable(_) => WireError::RangeNotSatisfiable(10),
    WireError::UnknownHost(_) => WireError::UnknownHost("hub.lan".to_owned()),
    WireError::UnknownUpload(_) => WireError::UnknownUpload("there is no such upload"),
    WireError::ObjectHashMismatch(_) => WireError::ObjectHashMismatch("0b1ec7".to_owned()),
    WireError::SnapshotHashMismatch(_) => WireError::SnapshotHashMismatch("5a9".to_owned()),
    WireError::CommitHashMismatch(_) => WireError::CommitHashMismatch("c0ffee".to_owned()),
    WireError::ObjectPurged(_) => WireError::object_purged(&id("0b1ec7"), Some("a/b.txt")),
    WireError::MissingReferences(_) => {
        let mut missing = Missing::default();
        missing.note_parent(|| "parent 'p' of commit 'c'".to_owned());
        (0..6).for_each(|number| missing.note(|| format!("object 'o{number}' at 'a' in snapshot 's'")));
        missing.refuse().unwrap_err()
    },
    WireError::TooMany { .. } => WireError::check_count("commits", 10_001, 10_000).unwrap_err(),
    WireError::Invalid(_) => WireError::check_text("name", "xxxx", 3).unwrap_err(),
    WireError::Internal(_) => WireError::internal("a secret of the hub's"),
    WireError::Unavailable(_) => WireError::Unavailable("a secret of the hub's".into()),
    WireError::IssuerAway(_) => WireError::IssuerAway("a secret of the hub's".into()),
    WireError::GivenUp(_) => WireError::GivenUp(285),
    WireError::Unhealthy(_) => WireError::Unhealthy("the table does not answer".to_owned()),
}

#[test]
fn every_error_has_its_status_its_code_and_its_sentence() {
    let more = [
        WireError::object_purged(&id("0b1ec7"), None),
        WireError::StaleHead { branch: id("main"), head: None },
        WireError::check_count("objects", 1_001, 1_000).unwrap_err(),
        WireError::check_count("object_ids", 50_001, 50_000).unwrap_err(),
        WireError::check_count("tags", 1_001, 1_000).unwrap_err(),
    ];
    let mut shown = String::new();
    for error in one_of_each().into_iter().chain(more) {
        let body = String::from_utf8(error.body("REQUEST")).unwrap();
        writeln!(shown, "{} {body}", error.status().as_u16()).unwrap();
    }
    insta::assert_snapshot!("errors", shown);
}

#[test]
fn a_fault_of_the_hub_tells_nothing_of_its_cause_and_names_the_request() {
    for error in one_of_each() {
        let body = String::from_utf8(error.body("REQUEST")).unwrap();
        assert!(!body.contains("secret"), "{body}");
        assert_eq!(body.contains("REQUEST"), error.status().is_server_error(), "{body}");
    }
}
