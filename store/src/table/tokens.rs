//! Tokens that users have minted: an item for each, and a token is good as long as its item is there.

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
        let pk = user_pk(user_id);
        let mut tokens: Vec<(String, TokenItem)> = Vec::new();
        while tokens.len() < MOST_LISTED {
            let after = tokens.last().map(|(token, _)| token.as_str());
            let page = self.query_page(&pk, TOKEN_PREFIX, Direction::Forward, after, MOST_LISTED).await?;
            if page.is_empty() {
                break;
            }
            tokens.extend(page);
        }
        let now = self.ambient.now();
        tokens.retain(|(_, token)| token.expires_at > now);
        Ok(tokens)
    }

    /// Notes a token, and so makes it good.
    ///
    /// # Errors
    /// When the table does not answer, and for more tokens than a user may have.
    pub async fn put_token(&self, user_id: &str, token: &str, item: &TokenItem) -> Result<(), PutError> {
        let count = self.tokens(user_id).await?.len() + 1;
        PutError::check_count("tokens of one user", count, MAX_TOKENS_OF_USER)?;
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

/// DynamoDB deletes an item within days of its end, so there may be more items than tokens that are good.
const MOST_LISTED: usize = 10 * MAX_TOKENS_OF_USER;
