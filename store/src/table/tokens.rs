//! Tokens that users have minted: an item for each, and a token is good as long as its item is there.

use futures_util::future::try_join_all;

use crate::table::PutError;
use crate::table::items::{Key, TOKEN_PREFIX, TokenItem, user_pk};
use crate::table::query::Direction;
use crate::{Store, StoreError};
use common::wire::limits::MAX_TOKENS_OF_USER;

impl Store {
    /// Whether a user has a token: it was minted, and it neither was revoked nor has expired. One strongly consistent read.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn has_token(&self, user_id: &str, token: &str) -> Result<bool, StoreError> {
        let item: Option<TokenItem> = self.get_item(&Key::token(user_id, token)).await?;
        Ok(item.is_some_and(|item| item.expires_at > self.ambient.now()))
    }

    /// The tokens of a user by their ids, oldest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn tokens(&self, user_id: &str) -> Result<Vec<(String, TokenItem)>, StoreError> {
        Ok(self.tokens_and_ended(user_id).await?.0)
    }

    /// The same, and tokens that have ended: of many some.
    async fn tokens_and_ended(&self, user_id: &str) -> Result<(Vec<(String, TokenItem)>, Vec<String>), StoreError> {
        let (pk, now) = (user_pk(user_id), self.ambient.now());
        let (mut tokens, mut ended) = (Vec::new(), Vec::new());
        let mut after: Option<String> = None;
        loop {
            let page =
                self.query_page::<TokenItem>(&pk, TOKEN_PREFIX, Direction::Forward, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else {
                return Ok((tokens, ended));
            };
            after = Some(last.clone());
            for (id, token) in page {
                if token.expires_at > now {
                    tokens.push((id, token));
                } else if ended.len() < MAX_TOKENS_OF_USER {
                    ended.push(id);
                }
            }
        }
    }

    /// Notes a token, and so makes it good. DynamoDB deletes an item within days of its end, and many tokens may end in that time. So those
    /// that have ended are deleted first: a user hardly has items of more tokens than may be good at the same time.
    ///
    /// # Errors
    /// When the table does not answer, and for more tokens than a user may have.
    pub async fn put_token(&self, user_id: &str, token: &str, item: &TokenItem) -> Result<(), PutError> {
        let (good, ended) = self.tokens_and_ended(user_id).await?;
        PutError::check_count("tokens of one user", good.len() + 1, MAX_TOKENS_OF_USER)?;
        let delete = async |token: &String| self.delete_item(&Key::token(user_id, token)).await;
        try_join_all(ended.iter().map(delete)).await?;
        Ok(self.put_item(&Key::token(user_id, token), item).await?)
    }

    /// Revokes a token: the next request that shows it is refused. Whether there was such a token.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_token(&self, user_id: &str, token: &str) -> Result<bool, StoreError> {
        let key = Key::token(user_id, token);
        let is_there = self.get_item::<TokenItem>(&key).await?.is_some();
        self.delete_item(&key).await.map(|()| is_there)
    }
}

/// Items that one query asks for.
const PAGE: usize = 1_000;
