//! The one commit point: a pack and branches become visible together, in one conditional transaction, or not at all.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update};

use crate::bucket::packs::StoredPack;
use crate::read::view::remember_pack;
use crate::table::account::NewRepo;
use crate::table::claims::PathClaim;
use crate::table::items::{
    ChangeItem, FORMER_SLUGS, Key, LogItem, MetaItem, NameItem, PK, PROTECTION, PackItem, RefItem, Via, encode,
};
use crate::table::members::StillAdministers;
use crate::table::transaction::{Outcome, put, put_new};
use crate::{Store, StoreError};
use common::id::{BranchName, CommitId, RepoId};
use common::push::Protection;
use common::wire::domain::Domain;

/// That the default branch is the one that was read: a repo that has another may not lose it.
const SAME_DEFAULT: &str = "default_branch = :default AND attribute_not_exists(deleted_at)";

/// What a push changes.
#[derive(Debug)]
pub struct Change<'a> {
    /// The repo.
    pub repo: &'a RepoId,
    /// The repo again, if this push makes it.
    pub creates: Option<&'a NewRepo>,
    /// The pack to register; it is in S3 already.
    pub pack: Option<&'a StoredPack>,
    /// The branches to move.
    pub moves: Vec<BranchMove<'a>>,
    /// The claims of the new branches among them, as they were before the branches were listed that they were checked against. None for
    /// a first push.
    pub claims: &'a [PathClaim],
    /// What the repo says of itself from then on, if no branch was ever pushed to it.
    pub first: Option<FirstPush>,
    /// Whether branches are restored to where they were.
    pub restored: bool,
    /// The user that pushes.
    pub by: &'a str,
    /// By which token; none for the user's own.
    pub via: Option<Via>,
}

impl<'a> Change<'a> {
    /// A change that moves no branch.
    pub fn of_pack(repo: &'a RepoId, creates: Option<&'a NewRepo>, pack: Option<&'a StoredPack>, by: &'a str) -> Self {
        Self { repo, creates, pack, moves: Vec::new(), claims: &[], first: None, restored: false, by, via: None }
    }
}

/// What is noted with the first push to a repo, that moves a branch.
#[derive(Debug)]
pub struct FirstPush {
    /// Whether the first of the branches becomes the repo's default branch, because none was chosen.
    pub chooses_default: bool,
    /// What kind of content the repo holds, if the push says it, and none was chosen.
    pub domain: Option<Domain>,
}

/// A branch on its way from one commit to another.
#[derive(Debug)]
pub struct BranchMove<'a> {
    /// The branch.
    pub name: &'a BranchName,
    /// The head that the move was planned against; none for a new branch.
    pub before: Option<&'a CommitId>,
    /// How the branch is protected, as the move was planned.
    pub protection: Option<Protection>,
    /// Its next head. It may be where it was: then it has to be there when the others move.
    pub after: &'a CommitId,
    /// Whether the pusher forced the move.
    pub forced: bool,
}

/// A branch on its way out.
#[derive(Debug)]
pub struct Deletion<'a> {
    /// The branch.
    pub branch: &'a BranchName,
    /// The head that the deletion was planned against.
    pub before: &'a CommitId,
    /// The branch that clients get as the default, which is another.
    pub shown_default: &'a str,
    /// The user that deletes it.
    pub by: &'a str,
    /// By which token; none for the user's own.
    pub via: Option<Via>,
}

impl Store {
    /// Makes a change visible.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it may not have been made; the marker was read back, so it most probably was not.
    pub async fn commit(&self, change: &Change<'_>) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let now = self.ambient.now_iso();
        let mut items = Vec::new();
        let mut marker = None;
        let mut published = Vec::new();

        if let Some(StoredPack { id, written, .. }) = change.pack {
            let key = Key::pack(change.repo, *id);
            items.push(put_new(table, encode(&key, &PackItem::new(&written.summary, &now, change.by))?)?);
            marker = Some(key);
        }
        for branch in &change.moves {
            let ref_key = Key::branch(change.repo, branch.name);
            if branch.before == Some(branch.after) {
                items.push(AsRead::of(branch.after, branch.protection).check(table, &ref_key)?);
                continue;
            }
            let head = RefItem {
                head: branch.after.clone(),
                updated_at: now.clone(),
                updated_by: change.by.to_owned(),
                protection: None,
            };
            items.push(match branch.before {
                None => put_new(table, encode(&ref_key, &head)?)?,
                Some(before) => move_branch(table, &ref_key, &head, &AsRead::of(before, branch.protection))?,
            });
            let log_key = Key::log(change.repo, self.ambient.ulid());
            let moved = LogItem {
                branch: branch.name.clone(),
                before: branch.before.cloned(),
                after: branch.after.clone(),
                deleted: false,
                forced: branch.forced,
                restored: change.restored,
                by: change.by.to_owned(),
                via: change.via.clone(),
                at: now.clone(),
            };
            let moved = encode(&log_key, &moved)?;
            published.extend(self.to_publish(&moved));
            items.push(put_new(table, moved)?);
            marker.get_or_insert(log_key);
        }
        if !change.claims.is_empty() {
            let mark = self.ambient.ulid().to_string();
            for claim in change.claims {
                items.push(claim.take(table, &mark, self.ambient.now())?);
            }
        }
        if change.creates.is_none() && !items.is_empty() {
            let branch = change.moves.first();
            let spread = branch.map_or_else(|| self.ambient.ulid().to_string(), |branch| branch.name.to_string());
            items.push(self.is_not_deleted(change.repo, &spread)?);
        }
        let first = change.first.as_ref().zip(change.moves.first());
        match (change.creates, first) {
            (Some(repo), first) => {
                let mut repo = repo.clone();
                if let Some((push, branch)) = first {
                    push.note(&mut repo.meta, branch, now);
                }
                items.extend(repo.items(self)?);
                published.insert(0, encode(&Key::meta(&repo.id), &repo.meta)?);
            }
            (None, Some((push, branch))) => items.push(push.update(table, change.repo, branch, now)?),
            (None, None) => {}
        }

        let Some(marker) = marker else {
            // Nothing but perhaps a repo that is still empty.
            return match change.creates {
                Some(repo) => self.create_repo(repo).await,
                None => Ok(Outcome::Landed),
            };
        };
        // The marker's name was drawn for this change, so that it is there says that the change is.
        let outcome = self.transact(items, &marker, |_: serde::de::IgnoredAny| true).await?;
        if outcome == Outcome::Landed {
            if let Some(repo) = change.creates {
                self.names.insert(format!("{}/{}", repo.meta.owner, repo.meta.slug), repo.id.clone());
            }
            if let Some(StoredPack { id, written, .. }) = change.pack {
                remember_pack(&self.bucket, *id, &written.summary, &written.bytes);
                // There may be no receiver.
                let _ = self.landed.send(change.repo.clone());
            }
            self.publish(published);
        }
        Ok(outcome)
    }

    /// Deletes a branch whose head is still `before`, that is not protected, and that is not the `shown_default`, with a line in the push log, as long as
    /// what the repo's item about itself says of the default branch is what was read.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn delete_branch(
        &self,
        repo: &RepoId,
        meta: &MetaItem,
        deletion: Deletion<'_>,
    ) -> Result<Outcome, StoreError> {
        let Deletion { branch, before, shown_default, by, via } = deletion;
        let table = &self.location.table;
        let as_read = AsRead::of(before, None);
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(Key::branch(repo, branch).item()))
            .condition_expression(&as_read.condition)
            .set_expression_attribute_names(Some(as_read.names))
            .set_expression_attribute_values(Some(as_read.values))
            .build()
            .map_err(StoreError::fault)?;
        let marker = Key::log(repo, self.ambient.ulid());
        let line = LogItem {
            branch: branch.clone(),
            before: Some(before.clone()),
            after: before.clone(),
            deleted: true,
            forced: false,
            restored: false,
            by: by.to_owned(),
            via,
            at: self.ambient.now_iso(),
        };
        let line = encode(&marker, &line)?;
        let to_publish = self.to_publish(&line);
        let default = AttributeValue::S(meta.default_branch.clone());
        let same_default = if meta.default_branch == branch.as_str() {
            // It is stored as the default branch, although clients get another. The stored one has to be there, so it
            // becomes the one that clients get.
            let update = Update::builder()
                .table_name(table)
                .set_key(Some(Key::meta(repo).item()))
                .condition_expression(SAME_DEFAULT)
                .update_expression("SET default_branch = :shown")
                .expression_attribute_values(":default", default)
                .expression_attribute_values(":shown", AttributeValue::S(shown_default.to_owned()))
                .build()
                .map_err(StoreError::fault)?;
            TransactWriteItem::builder().update(update).build()
        } else {
            let check = ConditionCheck::builder()
                .table_name(table)
                .set_key(Some(Key::meta(repo).item()))
                .condition_expression(SAME_DEFAULT)
                .expression_attribute_values(":default", default)
                .build()
                .map_err(StoreError::fault)?;
            TransactWriteItem::builder().condition_check(check).build()
        };
        let items = vec![TransactWriteItem::builder().delete(delete).build(), put_new(table, line)?, same_default];
        let outcome = self.transact(items, &marker, |_: serde::de::IgnoredAny| true).await?;
        if outcome == Outcome::Landed {
            self.publish(to_publish);
        }
        Ok(outcome)
    }

    /// Puts a repo's item about itself in the place of the one that was read, with a line that says what has changed. Its default
    /// branch has to be there, if it `has_to_be_there`. A new slug is claimed, unless it is one that the repo had before; the one that
    /// it had leads to it still.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn change_repo(
        &self,
        repo: &RepoId,
        before: &MetaItem,
        after: &MetaItem,
        has_to_be_there: Option<&BranchName>,
        change: &ChangeItem,
        still: StillAdministers,
    ) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let mut update = Update::builder().table_name(table).set_key(Some(Key::meta(repo).item()));
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let fields = [
            ("default_branch", text(&before.default_branch), text(&after.default_branch)),
            ("visibility", text(before.visibility.as_str()), text(after.visibility.as_str())),
            ("description", text(&before.description), text(&after.description)),
            ("name", text(&before.name), text(&after.name)),
            ("domain", text(&before.domain), text(&after.domain)),
            ("slug", text(before.slug.as_str()), text(after.slug.as_str())),
        ];
        // What others have changed meanwhile is not put back.
        let mut conditions = vec!["attribute_not_exists(deleted_at)".to_owned()];
        let mut sets = Vec::new();
        for (name, was, is) in fields {
            conditions.push(format!("#{name} = :was_{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":was_{name}"), was.clone());
            if is != was {
                sets.push(format!("#{name} = :{name}"));
                update = update.expression_attribute_values(format!(":{name}"), is);
            }
        }
        if after.default_is_chosen && !before.default_is_chosen {
            sets.push("default_is_chosen = :true".to_owned());
            update = update.expression_attribute_values(":true", AttributeValue::Bool(true));
        }
        if sets.is_empty() {
            return Ok(Outcome::Landed);
        }
        let mut items = Vec::new();
        if after.slug != before.slug {
            items = self.rename(repo, before, after)?;
            let names =
                |meta: &MetaItem| AttributeValue::L(meta.former_slugs.iter().map(|slug| text(slug.as_str())).collect());
            conditions.push(match before.former_slugs.is_empty() {
                true => "attribute_not_exists(#former)".to_owned(),
                false => "#former = :was_former".to_owned(),
            });
            if !before.former_slugs.is_empty() {
                update = update.expression_attribute_values(":was_former", names(before));
            }
            sets.push("#former = :former".to_owned());
            update = update
                .expression_attribute_names("#former", FORMER_SLUGS)
                .expression_attribute_values(":former", names(after));
        }
        let update = update
            .condition_expression(conditions.join(" AND "))
            .update_expression(format!("SET {}", sets.join(", ")))
            .build()
            .map_err(StoreError::fault)?;
        items.push(TransactWriteItem::builder().update(update).build());
        if let Some(branch) = has_to_be_there {
            let check = ConditionCheck::builder()
                .table_name(table)
                .set_key(Some(Key::branch(repo, branch).item()))
                .condition_expression("attribute_exists(#pk)")
                .expression_attribute_names("#pk", PK)
                .build()
                .map_err(StoreError::fault)?;
            items.push(TransactWriteItem::builder().condition_check(check).build());
        }
        items.extend(still.0);
        self.transact_with_line(items, repo, change).await
    }

    /// What else is written when a repo gets another slug: the name, which only one repo can have, and its place in the list of its
    /// owner.
    fn rename(&self, repo: &RepoId, before: &MetaItem, after: &MetaItem) -> Result<Vec<TransactWriteItem>, StoreError> {
        let table = &self.location.table;
        let name = NameItem { repo_id: repo.clone() };
        let unlisted = Delete::builder()
            .table_name(table)
            .set_key(Some(Key::owned(&before.owner_user_id, &before.slug).item()))
            .build()
            .map_err(StoreError::fault)?;
        let mut items = vec![
            TransactWriteItem::builder().delete(unlisted).build(),
            put(table, encode(&Key::owned(&after.owner_user_id, &after.slug), &name)?)?,
        ];
        if !before.former_slugs.contains(&after.slug) {
            items.push(put_new(table, encode(&Key::name(&after.owner, &after.slug), &name)?)?);
        }
        Ok(items)
    }
}

/// The condition that a branch is still as it was read: no write of a branch goes by what another has changed meanwhile.
struct AsRead {
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl AsRead {
    fn of(head: &CommitId, protection: Option<Protection>) -> Self {
        let text = |text: &dyn ToString| AttributeValue::S(text.to_string());
        let names = [("#head", "head"), ("#protection", PROTECTION)];
        let mut values = HashMap::from([(":before".to_owned(), text(head))]);
        let is_protected = match protection {
            None => "attribute_not_exists(#protection)",
            Some(_) => {
                values.insert(":protection".to_owned(), text(&Protection::word(protection)));
                "#protection = :protection"
            }
        };
        Self {
            condition: format!("#head = :before AND {is_protected}"),
            names: names.map(|(name, attribute)| (name.to_owned(), attribute.to_owned())).into(),
            values,
        }
    }

    /// The condition by itself.
    fn check(self, table: &str, key: &Key) -> Result<TransactWriteItem, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key.item()))
            .condition_expression(self.condition)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(Some(self.values))
            .build()
            .map_err(StoreError::fault)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

/// A move of a branch that is as it was read. What else its item says stays.
fn move_branch(table: &str, key: &Key, to: &RefItem, as_read: &AsRead) -> Result<TransactWriteItem, StoreError> {
    let text = |text: &dyn ToString| AttributeValue::S(text.to_string());
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key.item()))
        .condition_expression(&as_read.condition)
        .update_expression("SET #head = :after, updated_at = :at, updated_by = :by")
        .set_expression_attribute_names(Some(as_read.names.clone()))
        .set_expression_attribute_values(Some(as_read.values.clone()))
        .expression_attribute_values(":after", text(&to.head))
        .expression_attribute_values(":at", text(&to.updated_at))
        .expression_attribute_values(":by", text(&to.updated_by))
        .build()
        .map_err(StoreError::fault)?;
    Ok(TransactWriteItem::builder().update(update).build())
}

impl FirstPush {
    /// What the item of a repo about itself says, if the push makes the repo.
    fn note(&self, meta: &mut MetaItem, branch: &BranchMove<'_>, now: String) {
        if self.chooses_default {
            meta.default_branch = branch.name.to_string();
        }
        if let Some(domain) = self.domain {
            meta.domain = domain.as_str().to_owned();
        }
        meta.first_pushed_at = Some(now);
        meta.first_head = Some(branch.after.clone());
    }

    /// The same, of a repo that is there.
    fn update(
        &self,
        table: &str,
        repo: &RepoId,
        branch: &BranchMove<'_>,
        now: String,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":head", AttributeValue::S(branch.after.to_string()))
            .expression_attribute_values(":now", AttributeValue::S(now));
        let mut condition = "attribute_exists(#pk) AND attribute_not_exists(first_pushed_at)".to_owned();
        let mut set = "SET first_pushed_at = :now, first_head = :head".to_owned();
        if self.chooses_default {
            condition.push_str(" AND attribute_not_exists(default_is_chosen)");
            set.push_str(", default_branch = :branch");
            update = update.expression_attribute_values(":branch", AttributeValue::S(branch.name.to_string()));
        }
        if let Some(domain) = self.domain {
            // DynamoDB keeps the name for itself.
            set.push_str(", #domain = :domain");
            update = update
                .expression_attribute_names("#domain", "domain")
                .expression_attribute_values(":domain", AttributeValue::S(domain.as_str().to_owned()));
        }
        let update =
            update.condition_expression(condition).update_expression(set).build().map_err(StoreError::fault)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
