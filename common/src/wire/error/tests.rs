//! What every error is answered with: a snapshot that a change of code, status or sentence shows up in. Programs rely on the
//! codes, and people on the sentences; `docs/openapi.json` and the clients know the statuses.

use std::fmt::Write;

use super::*;

/// An error of each variant. A variant that is not named here does not compile.
macro_rules! one_of_each {
    ($($variant:pat => $error:expr,)*) => {
        fn one_of_each() -> Vec<Error> {
            let _ = |error: &Error| match error {
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
    Error::MalformedBody(_) => Error::MalformedBody("at bundle.commits[1].commit_id: invalid type: integer `5`".to_owned()),
    Error::InvalidHost(_) => Error::InvalidHost("the header Host names no host: '/'".to_owned()),
    Error::Unauthorized(_) => Error::unauthorized("the token has expired"),
    Error::NotOwner(_) => Error::NotOwner("change what it is"),
    Error::NotAuthorized => Error::NotAuthorized,
    Error::NotAdmin => Error::NotAdmin,
    Error::RepoNotFound => Error::RepoNotFound,
    Error::RepoNotFoundUnasked(_) => Error::RepoNotFoundUnasked("https://hub.example".to_owned()),
    Error::NoHandle(_) => Error::NoHandle("https://hub.example".to_owned()),
    Error::NoRepoName(_) => Error::NoRepoName("'-x' is no name of a repository".to_owned()),
    Error::UnknownRoute => Error::UnknownRoute,
    Error::NoDomains => Error::NoDomains,
    Error::UnknownCommit(_) => Error::UnknownCommit(id("c0ffee")),
    Error::UnknownObject(_) => Error::UnknownObject(id("0b1ec7")),
    Error::ObjectGone(_) => Error::ObjectGone(id("0b1ec7")),
    Error::ReleaseNotFound(_) => Error::ReleaseNotFound(id("v1.0.0")),
    Error::TagNotFound(_) => Error::TagNotFound(id("v1.0.0")),
    Error::BranchNotFound(_) => Error::BranchNotFound(id("main")),
    Error::WebhookNotFound(_) => Error::WebhookNotFound("01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
    Error::MethodNotAllowed { .. } => {
        Error::MethodNotAllowed { method: http::Method::PUT, allowed: "GET, HEAD".to_owned() }
    },
    Error::NonFastForward(_) => Error::NonFastForward(id("main")),
    Error::StaleHead { .. } => Error::StaleHead { branch: id("main"), head: Some(id("c0ffee")) },
    Error::HandleTaken(_) => Error::HandleTaken("the handle 'ada' is taken".to_owned()),
    Error::RepoExists(_) => Error::RepoExists("ada/song".to_owned()),
    Error::ReleaseExists(_) => Error::ReleaseExists(id("v1.0.0")),
    Error::PreconditionFailed(_) => Error::PreconditionFailed(id("0b1ec7")),
    Error::PayloadTooLarge(_) => Error::PayloadTooLarge("the body has more than 6 MB".to_owned()),
    Error::UnsupportedMediaType(_) => Error::UnsupportedMediaType("text/html".to_owned()),
    Error::RangeNotSatisfiable(_) => Error::RangeNotSatisfiable(10),
    Error::UnknownHost(_) => Error::UnknownHost("hub.lan".to_owned()),
    Error::UnknownUpload(_) => Error::UnknownUpload("there is no such upload"),
    Error::ObjectHashMismatch(_) => Error::ObjectHashMismatch("0b1ec7".to_owned()),
    Error::SnapshotHashMismatch(_) => Error::SnapshotHashMismatch("5a9".to_owned()),
    Error::CommitHashMismatch(_) => Error::CommitHashMismatch("c0ffee".to_owned()),
    Error::ObjectPurged(_) => Error::object_purged(&id("0b1ec7"), Some("a/b.txt")),
    Error::MissingReferences(_) => {
        let mut missing = Missing::default();
        missing.note_parent(|| "parent 'p' of commit 'c'".to_owned());
        (0..6).for_each(|number| missing.note(|| format!("object 'o{number}' at 'a' in snapshot 's'")));
        missing.refuse().unwrap_err()
    },
    Error::TooMany { .. } => Error::check_count("commits", 10_001, 10_000).unwrap_err(),
    Error::Invalid(_) => Error::check_text("name", "xxxx", 3).unwrap_err(),
    Error::Internal(_) => Error::internal("a secret of the hub's"),
    Error::Unavailable(_) => Error::Unavailable("a secret of the hub's".into()),
    Error::Unhealthy(_) => Error::Unhealthy("the table does not answer".to_owned()),
}

#[test]
fn every_error_has_its_status_its_code_and_its_sentence() {
    let more = [
        Error::object_purged(&id("0b1ec7"), None),
        Error::StaleHead { branch: id("main"), head: None },
        Error::check_count("objects", 1_001, 1_000).unwrap_err(),
        Error::check_count("object_ids", 50_001, 50_000).unwrap_err(),
        Error::check_count("tags", 1_001, 1_000).unwrap_err(),
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
