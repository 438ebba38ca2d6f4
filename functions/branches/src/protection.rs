//! `PUT /api/repos/{owner}/{slug}/branches/{branch}/protection`

use common::push::Protection;
use common::wire::WireError;
use common::wire::branches::{ProtectionRequest, ProtectionResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::repo::Load;
use store::table::transaction::Outcome;

use crate::{ATTEMPTS, branch_of};

/// Protects a branch, or takes its protection away, for admins. It holds for every write of the branch that lands later,
/// because each has the protection that it goes by among its conditions.
pub async fn protect(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let access = Access::Administer("protect a branch");
        let Opened { repo, user, .. } = hub.open(Some(&token), &target, access, Load::NOTHING).await?;
        let branch = branch_of(call)?;
        let ProtectionRequest { protected, admins_only } = call.decode()?;
        let wanted = match (protected, admins_only) {
            (true, true) => Some(Protection::Admins),
            (true, false) => Some(Protection::Writers),
            (false, false) => None,
            (false, true) => {
                return Err(WireError::invalid("admins_only", "it is true only of a branch that is protected"));
            }
        };
        let Some(item) = hub.store.branch(&repo.id, &branch).await? else {
            return Err(WireError::BranchNotFound(branch));
        };
        let (before, by, still) = (item.protection, &user.id, hub.store.still_administers(&repo, &user.id)?);
        if before == wanted
            || hub.store.protect_branch(&repo.id, &branch, before, wanted, by, still).await? == Outcome::Landed
        {
            return call.respond(StatusCode::OK, &ProtectionResponse { branch, protected, admins_only });
        }
    }
    Err(WireError::Unavailable("the protection of the branch was being changed by others".into()))
}
