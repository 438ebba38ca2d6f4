//! Bodies of requests, as they arrive: how much room they may take, whose they may be, and how fast they have to come.
//!
//! A body is held whole until its request is answered. So that one client's bodies do not keep out those of others:
//!
//! - a small body needs no room: its first 64 KiB are free;
//! - a longer body takes of the room that all have together, of which one user has no more than a share. Clients
//!   without a token have a room of their own, and each address a share of that;
//! - before more than a mebibyte is read, its sender has to have the right that the function will ask for;
//! - what comes more slowly than 64 KiB in 30 seconds, and a large body more slowly than eight times that, is broken off.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::wire::WireError;
use http::header::EXPECT;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use service::Hub;
use service::{AnswerBody, Call};
use tokio::time::Instant;

use crate::connections::Peer;
use crate::shares::{Portion, Shares, holder};
use service::routes::Route;

/// Bytes of a request's body. Clients send a whole history in one push.
pub const MAX_BODY: usize = 256 << 20;
/// Mebibytes of all bodies that are held at the same time, unless the operator says otherwise.
pub const BODY_MEMORY: usize = 1_024;
/// What room is counted in, and what of each body is free.
const UNIT: usize = 64 << 10;
/// Bytes of a body that are read before it is looked whether its sender has the right to what is asked.
const UNASKED: usize = 1 << 20;
/// Bytes of a body over the limit that are read and thrown away, because a client that is still sending does not
/// listen. Beyond, the connection is closed on it.
const MAX_DISCARDED: usize = 1 << 30;
/// How long a client may take for the next bytes of a body, if it does not end.
const PACE: Duration = Duration::from_secs(30);
/// Bytes that have to come in that time: of a small body, and of one that keeps room from others.
const LEAST: usize = 64 << 10;
const LEAST_OF_LARGE: usize = 512 << 10;

/// The room for bodies in a process.
pub(crate) struct BodyPermits {
    /// The longest body that there is room for.
    max_body: usize,
    users: Arc<Shares<String>>,
    strangers: Arc<Shares<IpAddr>>,
}

/// The room that a body takes. It goes back with this.
pub(crate) enum BodyPermit {
    OfUser(Portion<String>),
    OfStranger(Portion<IpAddr>),
}

impl BodyPermits {
    /// Permits for bodies of this number of mebibytes together.
    pub(crate) fn new(mebibytes: usize) -> Self {
        let units = mebibytes.saturating_mul((1 << 20) / UNIT).max(16);
        // With the usual memory a user has room for one body of the largest and some small ones.
        let share = (units / 16 * 5).max(1);
        let strangers = units / 4;
        Self {
            max_body: MAX_BODY.min(share.saturating_add(1).saturating_mul(UNIT)),
            users: Shares::new(units, share),
            strangers: Shares::new(strangers, (strangers / 4).max(1)),
        }
    }

    /// The longest body that is taken.
    pub(crate) const fn max_body(&self) -> usize {
        self.max_body
    }
}

impl BodyPermit {
    /// Makes it large enough for a body of this length.
    fn hold(&mut self, length: usize) -> Result<(), WireError> {
        fn hold<K: Eq + Hash + Clone>(portion: &mut Portion<K>, units: usize) -> bool {
            units <= portion.count() || portion.grow(units.saturating_sub(portion.count()))
        }
        let units = length.saturating_sub(UNIT).div_ceil(UNIT);
        let fits = match self {
            Self::OfUser(portion) => hold(portion, units),
            Self::OfStranger(portion) => hold(portion, units),
        };
        fits.then_some(()).ok_or_else(|| WireError::Unavailable("too many large requests at once".into()))
    }
}

/// Who sends a body, and to what.
pub(crate) struct Gate<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) route: &'static Route,
    /// The request without its body.
    pub(crate) head: &'a (dyn Fn() -> lambda_http::Request + Sync),
    pub(crate) peer: Option<Peer>,
    pub(crate) permits: &'a BodyPermits,
}

impl Gate<'_> {
    /// The permit for a body that is not small: of the user of the token, or else of the address that it comes from.
    async fn permit(&self) -> Result<BodyPermit, WireError> {
        let credential = Call::new((self.head)()).credential(self.hub).await?;
        Ok(match credential.and_then(|credential| credential.says()) {
            Some(user) => BodyPermit::OfUser(self.permits.users.none(user.id)),
            None => {
                let from = self.peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| holder(peer.from));
                BodyPermit::OfStranger(self.permits.strangers.none(from))
            }
        })
    }

    /// Refuses a caller whom the function would refuse for any body.
    async fn check_rights(&self) -> Result<(), WireError> {
        let (hub, call) = (self.hub, Call::new((self.head)()));
        if *call.method() != Method::POST {
            return Ok(());
        }
        hub.check_right(&call, self.route.right).await
    }

    /// The answer that the function would give.
    pub(crate) async fn refuse(&self, error: WireError) -> Response<AnswerBody> {
        self.hub.answer(self.route.function.name(), (self.head)(), |_| std::future::ready(Err(error))).await
    }
}

/// Why a body was not read.
pub(crate) enum Refused {
    /// It is not taken: for its size, or for what its sender may not.
    ByGate(WireError),
    /// It did not come.
    BrokeOff(WireError),
    /// There is more than the limit.
    TooLarge,
}

/// A body that may still be on its way.
pub(crate) struct ArrivingBody<B> {
    body: B,
    /// Whether the client waits to be asked for it, which looking at it does.
    is_waiting: bool,
    /// Since when the pace is taken, and the bytes that have come since.
    since: Instant,
    come: usize,
}

impl<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin> ArrivingBody<B> {
    pub(crate) fn new(headers: &HeaderMap, body: B) -> Self {
        Self { body, is_waiting: headers.contains_key(EXPECT), since: Instant::now(), come: 0 }
    }

    /// The next bytes, or none at the end.
    async fn next(&mut self, least: usize) -> Result<Option<Bytes>, WireError> {
        loop {
            let frame = tokio::time::timeout_at(self.since + PACE, self.body.frame()).await;
            let Ok(frame) = frame else {
                if self.come < least {
                    let least = least >> 10;
                    return Err(broke_off(format!("less than {least} KiB came in {} seconds", PACE.as_secs())));
                }
                (self.since, self.come) = (Instant::now(), 0);
                continue;
            };
            match frame.transpose().map_err(|error| broke_off(error.to_string()))?.map(Frame::into_data) {
                None => return Ok(None),
                Some(Ok(bytes)) => {
                    self.come = self.come.saturating_add(bytes.len());
                    return Ok(Some(bytes));
                }
                // Trailers say nothing here.
                Some(Err(_)) => {}
            }
        }
    }

    /// Reads a body of at most `limit` bytes, for which `gate` has room.
    pub(crate) async fn read(
        &mut self,
        limit: usize,
        gate: &Gate<'_>,
    ) -> Result<(Vec<u8>, Option<BodyPermit>), Refused> {
        let declared = self.body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        if declared.is_some_and(|declared| declared > limit) {
            return Err(Refused::TooLarge);
        }
        let declared = declared.unwrap_or_default();
        let (mut bytes, mut permit, mut has_right) = (Vec::new(), None, false);
        let mut expected = declared;
        loop {
            if expected > UNIT && permit.is_none() {
                permit = Some(gate.permit().await.map_err(Refused::ByGate)?);
            }
            if expected > UNASKED && !has_right {
                gate.check_rights().await.map_err(Refused::ByGate)?;
                has_right = true;
            }
            if let Some(permit) = &mut permit {
                permit.hold(bytes.len()).map_err(Refused::ByGate)?;
            }
            if bytes.is_empty() {
                // Memory is only taken as it is written to, so a length that is declared and never sent costs none.
                bytes.reserve_exact(declared);
            }
            self.is_waiting = false;
            let least = if bytes.len() > UNASKED { LEAST_OF_LARGE } else { LEAST };
            let Some(more) = self.next(least).await.map_err(Refused::BrokeOff)? else {
                return Ok((bytes, permit));
            };
            if bytes.len() + more.len() > limit {
                return Err(Refused::TooLarge);
            }
            bytes.extend_from_slice(&more);
            expected = expected.max(bytes.len());
        }
    }

    /// Reads on to the end of an unwanted body, because a client that is still sending does not listen.
    pub(crate) async fn discard(&mut self) {
        if self.is_waiting {
            return;
        }
        let mut discarded = 0;
        while let Ok(Some(bytes)) = self.next(LEAST_OF_LARGE).await {
            discarded += bytes.len();
            if discarded > MAX_DISCARDED {
                return;
            }
        }
    }
}

fn broke_off(why: String) -> WireError {
    WireError::MalformedBody(format!("the body: it broke off: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;

    /// A body that never ends, of which some bytes come at each pause.
    fn trickle(bytes: usize, seconds: u64) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let pieces = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Frame::data(Bytes::from(vec![0; bytes])))
        });
        StreamBody::new(Box::pin(pieces))
    }

    use futures_util::StreamExt;

    /// How many bytes of a body come before it is broken off; all that is asked for, if it is not.
    async fn come(body: impl Body<Data = Bytes, Error = Infallible> + Unpin, least: usize, asked: usize) -> usize {
        let mut body = ArrivingBody::new(&HeaderMap::new(), body);
        let mut come = 0;
        while come < asked {
            match body.next(least).await {
                Ok(Some(bytes)) => come += bytes.len(),
                Ok(None) => return come,
                Err(WireError::MalformedBody(_)) => return come,
                Err(error) => panic!("{error}"),
            }
        }
        come
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_slowly_is_broken_off_soon_and_what_is_only_slow_is_not() {
        let began = Instant::now();
        assert_eq!(come(trickle(1, 20), LEAST, 100).await, 1, "one byte every 20 seconds");
        assert!(began.elapsed() < PACE + Duration::from_secs(1));
        assert_eq!(come(trickle(0, 100), LEAST, 100).await, 0, "nothing");
        assert_eq!(come(trickle(25 << 10, 7), LEAST, 1 << 20).await.min(1 << 20), 1 << 20, "3 KiB a second");
        assert!(
            come(trickle(25 << 10, 7), LEAST_OF_LARGE, 1 << 20).await <= 100 << 10,
            "which is little for a large one"
        );
        assert!(come(trickle(200 << 10, 7), LEAST_OF_LARGE, 4 << 20).await >= 4 << 20, "28 KiB a second");
    }

    #[test]
    fn a_user_has_room_for_the_largest_body_and_strangers_take_none_of_it() {
        let permits = BodyPermits::new(BODY_MEMORY);
        assert_eq!(permits.max_body(), MAX_BODY);
        let user = |name: &str| BodyPermit::OfUser(permits.users.none(name.to_owned()));
        let stranger = |last| BodyPermit::OfStranger(permits.strangers.none(IpAddr::from([192, 0, 2, last])));
        let mut one: Vec<BodyPermit> = (0..8).map(|_| user("one")).collect();
        assert_eq!(one.iter_mut().filter_map(|permit| permit.hold(MAX_BODY).ok()).count(), 1);
        let mut strangers: Vec<BodyPermit> = (0..200).map(stranger).collect();
        assert_eq!(strangers.iter_mut().filter_map(|permit| permit.hold(100 << 20).ok()).count(), 0);
        assert_eq!(strangers.iter_mut().filter_map(|permit| permit.hold(64 << 20).ok()).count(), 4);
        let mut other = user("other");
        other.hold(MAX_BODY).unwrap();
        other.hold(MAX_BODY).unwrap();
        // What is small never lacks room.
        stranger(250).hold(UNIT).unwrap();
        drop(one);
        user("one").hold(MAX_BODY).unwrap();
    }

    #[test]
    fn with_little_memory_bodies_are_shorter() {
        for mebibytes in [0, 1, 8, 64, 512] {
            let permits = BodyPermits::new(mebibytes);
            let mut permit = BodyPermit::OfUser(permits.users.none("one".to_owned()));
            permit.hold(permits.max_body()).unwrap();
            assert!(permits.max_body() <= (mebibytes.max(1) << 20) / 2, "{mebibytes}");
        }
    }
}
