use std::collections::BTreeSet;

use common::wire::Encoding;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn meta() -> MetaItem {
    serde_json::from_value(json!({
        "owner": "ada", "slug": "my-song", "name": "My Song", "owner_user_id": "user-ada", "visibility": "public",
        "domain": "", "description": "old", "default_branch": "main", "created_at": "then",
    }))
    .unwrap()
}

fn heads(names: &[&str]) -> Heads {
    names.iter().map(|name| ((*name).to_owned(), "c".parse().unwrap())).collect()
}

fn change_of(heads: &Heads, changes: &Value) -> Result<(MetaItem, Option<BranchName>), WireError> {
    changed(&meta(), heads, &Encoding::Json.decode(changes.to_string().as_bytes()).unwrap())
}

fn after(changes: &Value) -> MetaItem {
    change_of(&heads(&["main", "dev"]), changes).unwrap().0
}

fn refusal(heads: &Heads, changes: &Value) -> String {
    change_of(heads, changes).unwrap_err().to_string()
}

#[test]
fn what_is_left_out_stays_as_it_is() {
    let (after, branch) = change_of(&heads(&["main"]), &json!({})).unwrap();
    assert!(differences(&meta(), &after).is_empty());
    assert_eq!(branch, None);
}

#[test]
fn each_field_changes_alone_and_is_noted_with_what_it_was() {
    for (changes, field, was, is) in [
        (json!({"default_branch": "dev"}), "default_branch", "main", "dev"),
        (json!({"visibility": "private"}), "visibility", "public", "private"),
        (json!({"is_private": true}), "visibility", "public", "private"),
        (json!({"description": "new"}), "description", "old", "new"),
        (json!({"description": ""}), "description", "old", ""),
        (json!({"name": " my SONG "}), "name", "My Song", "my SONG"),
        (json!({"domain": "midi"}), "domain", "code", "midi"),
        (json!({"slug": "our-song"}), "slug", "my-song", "our-song"),
    ] {
        let noted = differences(&meta(), &after(&changes));
        assert_eq!(noted, BTreeMap::from([(field.to_owned(), (was.to_owned(), is.to_owned()))]), "{changes}");
    }
}

#[test]
fn who_may_know_of_it_is_said_in_one_way_or_in_two_that_agree() {
    assert_eq!(after(&json!({"visibility": "private", "is_private": true})).visibility, Visibility::Private);
    let both = json!({"visibility": "public", "is_private": true});
    assert!(refusal(&heads(&[]), &both).starts_with("visibility: is_private says something else"));
    assert_eq!(refusal(&heads(&[]), &json!({"visibility": "secret"})), "visibility: it is public or private");
}

#[test]
fn a_new_name_leads_to_the_slug_that_the_repo_has() {
    assert!(refusal(&heads(&[]), &json!({"name": "Other"})).contains("the repository's URL stays 'my-song'"));
    assert!(refusal(&heads(&[]), &json!({"name": "!"})).starts_with("name: the name leaves no slug"));
}

#[test]
fn a_new_slug_leaves_the_old_one_behind_and_takes_a_name_along_that_is_only_the_slug() {
    let renamed = after(&json!({"slug": "our-song"}));
    assert_eq!((renamed.slug.as_str(), renamed.name.as_str()), ("our-song", "My Song"));
    assert_eq!(renamed.former_slugs, BTreeSet::from(["my-song".parse().unwrap()]));
    let mut back = renamed;
    rename(&mut back, "my-song".parse().unwrap()).unwrap();
    assert_eq!(back.former_slugs, BTreeSet::from(["our-song".parse().unwrap()]));
    let mut plain = MetaItem { name: "my-song".to_owned(), ..meta() };
    rename(&mut plain, "our-song".parse().unwrap()).unwrap();
    assert_eq!(plain.name, "our-song");
    assert!(after(&json!({"slug": "my-song"})).former_slugs.is_empty(), "it is no other");
}

#[test]
fn names_do_not_become_more_without_end() {
    let mut meta = meta();
    for number in 1..MAX_NAMES_OF_REPO {
        rename(&mut meta, format!("n{number}").parse().unwrap()).unwrap();
    }
    rename(&mut meta, "n3".parse().unwrap()).unwrap();
    let refusal = rename(&mut meta, "one-more".parse().unwrap()).unwrap_err();
    assert!(refusal.to_string().contains("the limit is 20"), "{refusal}");
}

#[test]
fn a_text_that_is_too_long_is_refused_by_its_name() {
    for field in ["name", "description"] {
        let limit = MAX_TEXT_LENGTH;
        let long = json!({field: "x".repeat(limit + 1)});
        assert_eq!(refusal(&heads(&[]), &long), format!("{field}: at most {limit} characters"));
    }
    assert!(change_of(&heads(&[]), &json!({"description": "x".repeat(MAX_TEXT_LENGTH)})).is_ok());
}

#[test]
fn only_domains_that_clients_know_are_chosen_and_an_empty_one_chooses_nothing() {
    assert!(refusal(&heads(&[]), &json!({"domain": "music"})).starts_with("domain: "));
    assert_eq!(after(&json!({"domain": ""})).domain, "");
    assert_eq!(after(&json!({"domain": "scaffold"})).domain, "scaffold");
}

#[test]
fn the_default_branch_is_one_that_is_there_and_can_be_checked_out() {
    let (after, branch) = change_of(&heads(&["main", "dev"]), &json!({"default_branch": "dev"})).unwrap();
    assert!(after.default_is_chosen);
    assert_eq!(branch.as_ref().map(BranchName::as_str), Some("dev"), "it has to be there when the change lands");
    let gone = refusal(&heads(&["main"]), &json!({"default_branch": "dev"}));
    assert!(gone.contains("there is no such branch"), "{gone}");
    let below = refusal(&heads(&["main", "a/b"]), &json!({"default_branch": "a/b"}));
    assert!(below.contains("has a '/'"), "{below}");
    assert!(change_of(&heads(&["a/b", "c/d"]), &json!({"default_branch": "a/b"})).is_ok(), "there is no better one");
}

#[test]
fn in_a_repo_without_branches_any_that_can_be_made_is_the_default() {
    let (after, branch) = change_of(&heads(&[]), &json!({"default_branch": "to-come"})).unwrap();
    assert_eq!((after.default_branch.as_str(), branch), ("to-come", None));
    assert!(refusal(&heads(&[]), &json!({"default_branch": "a..b"})).starts_with("default_branch: "));
}

proptest! {
    #[test]
    fn what_is_noted_is_exactly_what_differs(
        description in prop::option::of("old|new|"), is_private in any::<Option<bool>>(),
        branch in prop::option::of(prop::sample::select(vec!["main", "dev"])),
        domain in prop::option::of(prop::sample::select(vec!["", "code", "midi"])),
    ) {
        let changes = json!({
            "description": description, "is_private": is_private, "default_branch": branch, "domain": domain,
        });
        let after = after(&changes);
        let noted = differences(&meta(), &after);
        let undone = noted.iter().fold(after.clone(), |mut meta, (field, (was, is))| {
            assert_ne!(was, is);
            match field.as_str() {
                "description" => meta.description.clone_from(was),
                "default_branch" => meta.default_branch.clone_from(was),
                "visibility" => meta.visibility = was.parse().unwrap(),
                "domain" => meta.domain = String::new(),
                other => panic!("{other}"),
            }
            meta
        });
        // That the owner has chosen what was the case is no difference to readers.
        let before = meta();
        prop_assert_eq!(
            (undone.description, undone.default_branch, undone.visibility),
            (before.description, before.default_branch, before.visibility)
        );
        prop_assert_eq!(Domain::of_stored(&undone.domain), Domain::of_stored(&before.domain));
        prop_assert_eq!(noted.contains_key("domain"), domain == Some("midi"));
    }
}
