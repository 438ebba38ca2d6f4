//! `POST /tags` gives commits names, `GET /tags` lists them, `DELETE /tags/{tag}` takes one away.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::{BTreeMap, HashSet};

use common::id::{CommitId, Label, MAX_LABEL_LENGTH};
use common::wire::error::Missing;
use common::wire::limits::{MAX_PAGE, MAX_TAGS_OF_REPO};
use common::wire::names::check_tag;
use common::wire::page::Page;
use common::wire::request::{PostedTag, TagDeletedResponse, TagResponse, TagsRequest, TagsResponse};
use common::wire::{Text, WireError};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::ambient::Ambient;
use store::repo::Load;
use store::table::items::TagItem;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::GET => list(hub, &call).await,
            Method::DELETE => delete(hub, &call).await,
            _ => store(hub, &call).await,
        }
    })
    .await
}

async fn store(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let Opened { repo, view, user, .. } =
        hub.open(Some(&token), &call.target()?, Access::Write, Load::RELIABLE_PACKS).await?;
    let request: TagsRequest<'_> = call.decode()?;
    let posted = request.tags.within("tags")?;
    let stored = posted.len();

    let named: HashSet<&CommitId> = posted.iter().map(|tag| &tag.commit_id).collect();
    let present = match hub.settings.ids.are_checked() {
        true => hub.store.commits_to_name(&repo, &view, &named).await?,
        false => HashSet::new(),
    };
    let mut missing = Missing::default();
    let mut labels: Vec<Label> = Vec::with_capacity(stored);
    for tag in &posted {
        let label = check_tag(&tag.tag)?;
        if hub.settings.ids.are_checked() && !present.contains(&tag.commit_id) {
            missing.note(|| format!("commit '{}' of tag '{label}'", tag.commit_id));
        }
        labels.push(label);
    }
    missing.refuse()?;

    let known = hub.store.tags(&repo.id).await?;
    let mut changed = BTreeMap::new();
    for (label, tag) in labels.into_iter().zip(posted) {
        // Of a label that comes twice, the last one counts.
        let item =
            item(hub.store.ambient(), repo.id.as_str(), &tag, changed.get(&label).or_else(|| known.get(&label)))?;
        changed.insert(label, item);
    }
    changed.retain(|label, item| known.get(label) != Some(item));
    let new = changed.keys().filter(|label| !known.contains_key(label)).count();
    WireError::check_count("tags of one repository", known.len() + new, MAX_TAGS_OF_REPO)?;
    hub.store.put_tags(&repo.id, changed, &known, &user.id).await?;
    call.respond(StatusCode::OK, &TagsResponse { stored })
}

/// The tag as it is kept. What the client left out stays as it was, if the tag stays at its commit.
fn item(ambient: &Ambient, repo_id: &str, tag: &PostedTag<'_>, before: Option<&TagItem>) -> Result<TagItem, WireError> {
    let before = before.filter(|before| before.commit_id == tag.commit_id);
    let field = |name, sent: &Option<Text<'_>>, before: Option<&String>, new: &dyn Fn() -> String| {
        let sent = sent.as_deref().filter(|text| !text.is_empty());
        WireError::check_text(name, sent.unwrap_or_default(), MAX_LABEL_LENGTH)?;
        Ok::<_, WireError>(sent.map(str::to_owned).or_else(|| before.cloned()).unwrap_or_else(new))
    };
    Ok(TagItem {
        tag_id: field("tag_id", &tag.tag_id, before.map(|tag| &tag.tag_id), &|| ambient.ulid().to_string())?,
        repo_id: field("repo_id", &tag.repo_id, before.map(|tag| &tag.repo_id), &|| repo_id.to_owned())?,
        commit_id: tag.commit_id.clone(),
        created_at: field("created_at", &tag.created_at, before.map(|tag| &tag.created_at), &|| ambient.now_iso())?,
        // Drawn again when it is written. Until then it shows which tags have changed.
        write_id: before.and_then(|tag| tag.write_id.clone()),
        written_by: before.and_then(|tag| tag.written_by.clone()),
    })
}

/// Deletes a tag, for those who may push to the repo. What only it named is garbage then.
async fn delete(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let repo = hub.open(Some(&token), &call.target()?, Access::Write, Load::NOTHING).await?.repo;
    let label = call.path_parameter("tag").unwrap_or_default();
    let label: Label = label.parse().map_err(|reason| WireError::invalid("tag", reason))?;
    match hub.store.delete_tag(&repo.id, &label).await? {
        Some(tag) => call.respond(StatusCode::OK, &TagDeletedResponse { deleted: label, commit_id: tag.commit_id }),
        None => Err(WireError::TagNotFound(label)),
    }
}

async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    if call.takes_pages() {
        return Ok(call.redirect_to_page("-/tags"));
    }
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::NOTHING).await?.repo;
    let after = call.query_parameter("after").filter(|after| !after.is_empty());
    let after: Option<Label> =
        after.map(|after| after.parse()).transpose().map_err(|reason| WireError::invalid("after", reason))?;
    let mut page = Page::new(call.answer_encoding(), "tags", MAX_PAGE);
    hub.store
        .tags_behind(&repo.id, after.as_ref(), |label, tag| {
            let TagItem { tag_id, repo_id, commit_id, created_at, .. } = tag;
            page.push(&TagResponse { tag_id, repo_id, commit_id, tag: label.clone(), created_at }, label.as_str())
        })
        .await?;
    call.respond_with(page)
}

#[cfg(test)]
mod tests {
    use common::wire::Encoding;
    use serde_json::{Value, json};

    use super::*;

    fn item_of(tag: &Value, before: Option<&TagItem>) -> Result<TagItem, WireError> {
        let ambient = Ambient::replay(1, common::time::of_millis(1_000));
        let body = tag.to_string();
        item(&ambient, "repo", &Encoding::Json.decode(body.as_bytes()).unwrap(), before)
    }

    fn before() -> TagItem {
        let sent = json!({"tag": "v1", "commit_id": "c", "tag_id": "id", "repo_id": "theirs", "created_at": "then"});
        TagItem { write_id: Some("w".to_owned()), ..item_of(&sent, None).unwrap() }
    }

    #[test]
    fn a_tag_is_kept_as_it_was_sent_and_what_was_not_is_filled_in() {
        let TagItem { tag_id, repo_id, created_at, .. } = before();
        assert_eq!([tag_id, repo_id, created_at], ["id", "theirs", "then"]);
        let filled = item_of(&json!({"tag": "v1", "commit_id": "c", "tag_id": "", "created_at": null}), None).unwrap();
        assert_eq!(filled.repo_id, "repo");
        assert!(filled.created_at.starts_with("1970-01-01T00:00:01."), "{}", filled.created_at);
        assert_eq!(filled.tag_id.len(), 26);
    }

    #[test]
    fn a_tag_that_stays_at_its_commit_stays_as_it_was_and_one_that_moves_is_new() {
        let same = item_of(&json!({"tag": "v1", "commit_id": "c"}), Some(&before())).unwrap();
        assert_eq!(same, before());
        let moved = item_of(&json!({"tag": "v1", "commit_id": "d"}), Some(&before())).unwrap();
        assert_ne!(moved.tag_id, "id");
        assert_eq!((moved.repo_id.as_str(), moved.write_id), ("repo", None));
        let renamed = item_of(&json!({"tag": "v1", "commit_id": "c", "tag_id": "other"}), Some(&before())).unwrap();
        assert_eq!((renamed.tag_id.as_str(), renamed.created_at.as_str()), ("other", "then"));
    }

    #[test]
    fn a_field_that_is_too_long_is_refused_by_its_name() {
        for field in ["tag_id", "repo_id", "created_at"] {
            let mut tag = json!({"tag": "v1", "commit_id": "c"});
            tag[field] = "x".repeat(MAX_LABEL_LENGTH + 1).into();
            assert!(item_of(&tag, None).unwrap_err().to_string().starts_with(field));
        }
    }
}
