//! How much a repo and a user may hold: what the deployment allows, unless an operator has said otherwise of that one.

use std::collections::HashSet;

use common::id::{ObjectKey, Slug};
use common::pack::PackSummary;
use common::wire::WireError;
use store::repo::Repo;

use crate::hub::Hub;

impl Hub {
    /// Refuses `more` bytes that would be too many for a repo, or for its owner. What a repo holds is in its list of packs, which was
    /// read with it; what its owner holds was counted behind the pushes before.
    ///
    /// # Errors
    /// [`WireError::QuotaExceeded`].
    pub async fn check_quota(&self, repo: &Repo, more: u64) -> Result<(), WireError> {
        let quotas = self.settings.quotas;
        if let Some(allowed) = repo.meta.quota_bytes.or(quotas.repo_bytes) {
            let used = PackSummary::stored_bytes(repo.packs.iter().map(|(_, summary)| summary));
            check("the repository", used, more, allowed)?;
        }
        if let Some(of_all) = quotas.user_bytes {
            let usage = self.store.usage(&repo.meta.owner).await?;
            check("its owner", usage.bytes, more, usage.quota_bytes.unwrap_or(of_all))?;
        }
        Ok(())
    }

    /// Refuses to take in uploads that would be too many bytes for a repo, or for its owner. Where there is no bound, none is looked at.
    ///
    /// # Errors
    /// [`WireError::QuotaExceeded`].
    pub async fn check_uploads(&self, repo: &Repo, wanted: &HashSet<ObjectKey>) -> Result<(), WireError> {
        let quotas = self.settings.quotas;
        if repo.meta.quota_bytes.is_none() && quotas.repo_bytes.is_none() && quotas.user_bytes.is_none() {
            return Ok(());
        }
        let bytes = self.store.uploaded_bytes(&repo.id, wanted).await?;
        self.check_quota(repo, bytes).await
    }

    /// Refuses a user one more repo than they may have.
    ///
    /// # Errors
    /// [`WireError::QuotaExceeded`].
    pub async fn check_repos(&self, user_id: &str, handle: &Slug) -> Result<(), WireError> {
        let Some(of_all) = self.settings.quotas.user_repos else {
            return Ok(());
        };
        let allowed = self.store.usage(handle).await?.quota_repos.unwrap_or(of_all);
        if allowed == 0 || self.store.has_repos(user_id, allowed).await? {
            return Err(WireError::QuotaExceeded {
                of: "the user",
                what: "repositories",
                used: allowed,
                more: 1,
                allowed,
            });
        }
        Ok(())
    }
}

const fn check(of: &'static str, used: u64, more: u64, allowed: u64) -> Result<(), WireError> {
    if used.saturating_add(more) > allowed {
        return Err(WireError::QuotaExceeded { of, what: "bytes", used, more, allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_fits_and_a_byte_more_does_not() {
        assert!(check("the repository", 60, 40, 100).is_ok());
        let refused = check("the repository", 60, 41, 100).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (413, "quota_exceeded"));
        assert!(check("the repository", u64::MAX, 1, u64::MAX).is_ok(), "there is no more than that");
        assert!(check("the repository", 101, 0, 100).is_err(), "what is lowered refuses what brings nothing too");
    }
}
