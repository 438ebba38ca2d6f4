//! Requests whose body was uploaded to S3, because no front door of Lambda takes more than 6 MB.

use ulid::Ulid;

use crate::access::{Access, Opened};
use crate::call::Call;
use crate::hub::Hub;
use crate::routes::Right;
use common::wire::limits::MAX_REFERENCED_BODY;
use common::wire::{Encoding, WireError};
use store::repo::Load;
use store::uploads::{ReferencedBody, TakenBody, UsedBody};

/// The header that names the upload which is the body of a request.
pub const BODY_UPLOAD: &str = "muse-body-upload";

impl Hub {
    /// The body of a request that is sent by reference: it was uploaded to S3, because no front door of Lambda takes more
    /// than 6 MB.
    /// `used` says what has to be dropped or given back when the request is answered.
    pub(crate) async fn referenced_body(
        &self,
        call: &Call,
        used: &mut Option<UsedBody>,
    ) -> Result<Option<ReferencedBody>, WireError> {
        let mut references = call.headers().get_all(BODY_UPLOAD).iter();
        let may_refer = call.route.is_some_and(|route| route.by_reference);
        let Some(reference) = references.next().filter(|_| may_refer) else {
            return Ok(None);
        };
        if references.next().is_some() {
            return Err(WireError::MalformedBody("the body: more than one Muse-Body-Upload header".to_owned()));
        }
        // Before it is used.
        Encoding::of_request(call.headers())?;
        let token = call.token(self).await?;
        let target = call.target()?;
        // A repo that is not there yet is for what would make it.
        let makes = call.route.is_some_and(|route| matches!(route.right, Right::Push | Right::ReadOrAsk));
        let access = if makes { Access::Ask } else { Access::Read };
        let Opened { repo, user, .. } = self.open(Some(&token), &target, access, Load::NOTHING).await?;
        if !call.body_bytes().is_empty() {
            return Err(WireError::MalformedBody("the body: a request by reference has an empty one".to_owned()));
        }
        let unknown = WireError::UnknownUpload(
            "there is no such upload for you and this repository, or it is used, or older than an hour: POST /uploads",
        );
        let id = reference.to_str().ok().and_then(|id| Ulid::from_string(id).ok());
        let Some(id) = id else {
            return Err(unknown);
        };
        let (id, user_id) = (id.to_string(), &user.id);
        match self.store.take_body(&id, user_id, &repo.meta, MAX_REFERENCED_BODY, used).await? {
            TakenBody::Taken(body) => Ok(Some(body)),
            TakenBody::Unknown => Err(unknown),
            TakenBody::NotThere => Err(WireError::UnknownUpload("nothing was PUT to the URL of this upload yet")),
            TakenBody::TooLarge(size) => Err(WireError::PayloadTooLarge(format!(
                "the body has {size} bytes: by reference it may have {MAX_REFERENCED_BODY}; push in smaller parts"
            ))),
        }
    }
}
