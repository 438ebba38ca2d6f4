//! Webhooks: URLs that get the events of a repo, as the [Standard Webhooks](https://www.standardwebhooks.com)
//! specification has it.
//!
//! [`store::hooks`](crate::table::hooks) keeps them. For each event and each webhook of its repo there is a
//! [`Message`], which waits in a queue until it is delivered. The function `deliver` delivers it, to what `Reach` in the service
//! allows.

pub mod secret;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::table::events::Event;
use common::id::{RepoId, Slug};
use secret::HookId;

/// Groups of a queue that the deliveries of one owner go through, each of which one invocation at a time works from. One owner's
/// receivers can hold this many of the `MaximumConcurrency` of `deliver` in template.yaml.
const LANES: u8 = 2;

/// One event on its way to one webhook: what goes through the queue, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The repo that it happened in.
    pub repo: RepoId,
    /// The handle of its owner.
    pub owner: Slug,
    /// The webhook of that repo.
    #[serde(with = "hook_id")]
    pub hook: HookId,
    /// The event's id. It is the same each time that the event is published, so receivers recognize duplicates by it.
    pub id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event as JSON: the body of the delivery, to the byte, so that each attempt signs the same.
    pub body: String,
}

/// As text: what `ulid` has of this itself does not compile without its source of random numbers.
mod hook_id {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::HookId;

    pub(crate) fn serialize<S: Serializer>(id: &HookId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HookId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("the id of a webhook is a ULID"))
    }
}

impl Message {
    /// An event for a webhook of its repo.
    ///
    /// # Errors
    /// Never, as far as is known: an event can be written as JSON.
    pub fn new(hook: HookId, event: &Event) -> Result<Self, serde_json::Error> {
        Ok(Self {
            repo: event.repo.id.clone(),
            owner: event.repo.owner.clone(),
            hook,
            id: event.id.clone(),
            kind: event.kind().to_owned(),
            body: serde_json::to_string(event)?,
        })
    }

    /// The `MessageGroupId` in the queue of first attempts: one of the few lanes of the owner, always the same for a webhook. So its
    /// deliveries stay in order, and those of one owner hold few invocations.
    pub fn lane(&self) -> String {
        let lane = Sha256::digest(self.hook.to_bytes()).first().map_or(0, |byte| byte % LANES);
        format!("{}/{lane}", self.owner)
    }

    /// The `MessageGroupId` in the queue of further attempts: deliveries to one webhook stay in order, and wait for no other.
    pub fn hook_group(&self) -> String {
        self.hook.to_string()
    }

    /// The `MessageDeduplicationId` in a FIFO queue, which takes 128 characters of ASCII.
    pub fn deduplication(&self) -> String {
        hex::encode(Sha256::digest(format!("{}\n{}", self.hook, self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_message_is_one_json_object() {
        let message = Message {
            repo: ulid::Ulid::from_parts(1, 2).into(),
            owner: "dev".parse().unwrap(),
            hook: HookId::from_parts(3, 4),
            id: "01JD".to_owned(),
            kind: "RefUpdated".to_owned(),
            body: r#"{"type":"RefUpdated"}"#.to_owned(),
        };
        let sent = serde_json::to_value(&message).unwrap();
        assert_eq!(
            sent,
            json!({
                "repo": "00000000010000000000000002", "owner": "dev", "hook": "00000000030000000000000004", "id": "01JD",
                "type": "RefUpdated", "body": r#"{"type":"RefUpdated"}"#,
            })
        );
        assert_eq!(serde_json::from_value::<Message>(sent).unwrap(), message);
        assert_eq!(message.hook_group(), "00000000030000000000000004");
    }

    proptest! {
        #[test]
        fn whatever_the_id_is_a_queue_takes_what_tells_duplicates(id in ".{0,300}", hook in any::<u128>()) {
            let message = |id: &str| Message {
                repo: ulid::Ulid::nil().into(),
                owner: "o".repeat(common::id::MAX_SLUG_LENGTH).parse().unwrap(),
                hook: HookId::from(hook),
                id: id.to_owned(),
                kind: String::new(),
                body: String::new(),
            };
            let deduplication = message(&id).deduplication();
            prop_assert_eq!(deduplication.len(), 64);
            prop_assert!(deduplication.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_ne!(&deduplication, &message(&format!("{id}x")).deduplication());
            let lane = message(&id).lane();
            prop_assert!(lane.len() <= 128 && lane.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_punctuation()));
            let lanes: Vec<String> = (0..LANES).map(|lane| format!("{}/{lane}", message(&id).owner)).collect();
            prop_assert!(lanes.contains(&lane));
        }
    }
}
