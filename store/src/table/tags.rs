//! Tags: names for commits, one item each.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::{TryStreamExt, stream};
use serde::Deserialize;

use crate::read::view::View;
use crate::repo::Repo;
use crate::table::items::{Key, PK, RELEASE_PREFIX, TAG_PREFIX, TagItem, encode};
use crate::table::query::Items;
use crate::table::transaction::{Outcome, outcome_of};
use crate::{Store, StoreError};
use common::id::{CommitId, Label, RepoId};
use common::wire::limits::{MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};

/// Writes under way. One partition takes 1,000 writes a second, so more would only be throttled.
const PARALLEL_PUTS: usize = 64;
/// How often a tag may be written while it is about to be deleted.
const DELETE_ATTEMPTS: usize = 20;
/// The attribute that distinguishes one write of a tag from another.
const WRITE_ID: &str = "write_id";

impl Store {
    /// A tag of a repo, if it is there.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn tag(&self, repo: &RepoId, label: &Label) -> Result<Option<TagItem>, StoreError> {
        self.get_item(&Key::tag(repo, label)).await
    }

    /// The tags of a repo.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn tags(&self, repo: &RepoId) -> Result<BTreeMap<Label, TagItem>, StoreError> {
        let listed = self.query::<TagItem>(repo, TAG_PREFIX, MAX_TAGS_OF_REPO).await?;
        listed.into_iter().map(|(name, item)| Ok((label(repo, &name)?, item))).collect()
    }

    /// Hands out the tags of a repo one by one, in the order of their labels, those behind `after`, for as long as more are
    /// wanted.
    ///
    /// # Errors
    /// When the table cannot be read, and those of `each`.
    pub async fn tags_behind<E: From<StoreError>>(
        &self,
        repo: &RepoId,
        after: Option<&Label>,
        mut each: impl FnMut(Label, TagItem) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let first = after.map_or("", Label::as_str);
        self.query_while(repo, Items { prefix: TAG_PREFIX, first, ..Items::default() }, |name, item| {
            let label = label(repo, &name)?;
            if after == Some(&label) { Ok(ControlFlow::Continue(())) } else { each(label, item) }
        })
        .await
    }

    /// The commits that the tags and releases of a repo name.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn labeled_commits(&self, repo: &RepoId) -> Result<Vec<CommitId>, StoreError> {
        #[derive(Deserialize)]
        struct Labeled {
            commit_id: CommitId,
        }
        let labeled = |prefix, limit| self.query_for::<Labeled>(repo, prefix, limit, Some(&["commit_id"]));
        let tags = labeled(TAG_PREFIX, MAX_TAGS_OF_REPO);
        let (tags, releases) = tokio::try_join!(tags, labeled(RELEASE_PREFIX, MAX_RELEASES_OF_REPO))?;
        Ok(tags.into_iter().chain(releases).map(|(_, labeled)| labeled.commit_id).collect())
    }

    /// Those of these commits that the repo has, so that a tag or a release may name them.
    ///
    /// One that is only where packs are condemned is there too: a branch may have been moved to it while it was condemned.
    /// Those packs are kept then, as for a push that needs them. And a list of several pages may have missed a pack, so nothing
    /// is missing by the first list.
    ///
    /// # Errors
    /// When the stores do not answer, or a table is damaged.
    pub async fn commits_to_name(
        &self,
        repo: &Repo,
        view: &View,
        commits: &HashSet<&CommitId>,
    ) -> Result<HashSet<CommitId>, StoreError> {
        let present = view.present_commits(commits.iter().copied()).await?;
        if present.len() == commits.len() {
            return Ok(present);
        }
        let again = self.view_listed_again(&repo.id, &[], &repo.purged).await?;
        let found = again.present_commits(commits.iter().copied()).await?;
        if found.len() == present.len() || repo.condemned.is_empty() {
            return Ok(found);
        }
        self.revive(&repo.id, &repo.condemned).await?;
        // They may have been dropped first.
        let again = self.view_listed_again(&repo.id, &[], &repo.purged).await?;
        again.present_commits(commits.iter().copied()).await
    }

    /// Writes tags in the place of those that were `seen`. If it fails, some of them may be written; writing them all
    /// again is harmless. Each gets a `write_id`, and is `written_by` this user.
    ///
    /// If another request has written a tag since it was seen, that write stays: both wrote at the same time, and the
    /// result is as if this one had come first. Without the condition, an attempt that arrives late, long after another
    /// was answered, would take back a later write.
    ///
    /// # Errors
    /// When the table does not take them.
    pub async fn put_tags(
        &self,
        repo: &RepoId,
        tags: BTreeMap<Label, TagItem>,
        seen: &BTreeMap<Label, TagItem>,
        by: &str,
    ) -> Result<(), StoreError> {
        let put = |(label, mut tag): (Label, TagItem)| async move {
            tag.write_id = Some(self.ambient.ulid().to_string());
            tag.written_by = Some(by.to_owned());
            let key = Key::tag(repo, &label);
            let item = encode(&key, &tag)?;
            let to_publish = self.to_publish(&item);
            let put = self.dynamodb.put_item().table_name(&self.location.table).set_item(Some(item));
            let put = match seen.get(&label) {
                None => put.condition_expression("attribute_not_exists(#pk)").expression_attribute_names("#pk", PK),
                Some(TagItem { write_id: Some(write_id), .. }) => put
                    .condition_expression("#write_id = :seen")
                    .expression_attribute_names("#write_id", WRITE_ID)
                    .expression_attribute_values(":seen", AttributeValue::S(write_id.clone())),
                Some(TagItem { commit_id, .. }) => put
                    .condition_expression("attribute_not_exists(#write_id) AND #commit = :seen")
                    .expression_attribute_names("#write_id", WRITE_ID)
                    .expression_attribute_names("#commit", "commit_id")
                    .expression_attribute_values(":seen", AttributeValue::S(commit_id.to_string())),
            };
            let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let is_ours = match put.send().await {
                Ok(_) => true,
                Err(error) => match error.as_service_error() {
                    // What is there may be from an attempt of this whose answer was lost.
                    Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                        let found = failed.item.as_ref().and_then(|item| item.get(WRITE_ID)?.as_s().ok());
                        found.is_some() && found == tag.write_id.as_ref()
                    }
                    _ => return Err(StoreError::at(&key)(error)),
                },
            };
            if is_ours {
                self.publish(to_publish);
            }
            Ok(())
        };
        stream::iter(tags.into_iter().map(Ok)).try_for_each_concurrent(PARALLEL_PUTS, put).await
    }

    /// Deletes a tag, and returns what it was; none if there is none. It deletes the tag only as it was seen, so an
    /// attempt that arrives late deletes no later write.
    ///
    /// # Errors
    /// When the table does not answer, or the tag is written all the time.
    pub async fn delete_tag(&self, repo: &RepoId, label: &Label) -> Result<Option<TagItem>, StoreError> {
        let key = Key::tag(repo, label);
        let mut before: Option<TagItem> = None;
        for _ in 0..DELETE_ATTEMPTS {
            // That it is gone may be what an attempt has done whose answer was lost.
            let Some(seen) = self.get_item::<TagItem>(&key).await? else {
                return Ok(before);
            };
            let delete = self.dynamodb.delete_item().table_name(&self.location.table).set_key(Some(key.item()));
            let delete = match &seen.write_id {
                Some(write_id) => delete
                    .condition_expression("#write_id = :seen")
                    .expression_attribute_names("#write_id", WRITE_ID)
                    .expression_attribute_values(":seen", AttributeValue::S(write_id.clone())),
                None => delete
                    .condition_expression("attribute_not_exists(#write_id) AND #commit = :seen")
                    .expression_attribute_names("#write_id", WRITE_ID)
                    .expression_attribute_names("#commit", "commit_id")
                    .expression_attribute_values(":seen", AttributeValue::S(seen.commit_id.to_string())),
            };
            match outcome_of(delete.send().await, &key)? {
                Outcome::Landed => return Ok(Some(seen)),
                Outcome::Conflict => before = Some(seen),
            }
        }
        Err(StoreError::Unavailable("others write the tag all the time".into()))
    }
}

fn label(repo: &RepoId, name: &str) -> Result<Label, StoreError> {
    name.parse().map_err(|reason| StoreError::Damaged(format!("repo {repo}: tag {name:?}: {reason}")))
}
