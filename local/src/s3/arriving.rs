//! A client's body on its way to the storage's door: it ends in time, or is broken off.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::time;
use http::Uri;
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use s3s::StdError;
use store::ambient::Ambient;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take for the next bytes of a body, and how many have to come in that time.
const PACE: Duration = Duration::from_secs(30);
const LEAST: usize = 64 << 10;
/// How long a body may still come when the URL that it is put to is no longer good.
const GRACE: Duration = Duration::from_secs(60);

/// A body that is an error when it comes too slowly, or is still coming when its URL has long ended.
pub(super) struct Arriving<B> {
    body: B,
    end: Option<Pin<Box<Sleep>>>,
    pace: Pin<Box<Sleep>>,
    /// Bytes since the pace was taken last.
    come: usize,
}

impl<B> Arriving<B> {
    /// A body that is put to `uri`.
    pub(super) fn new(body: B, uri: &Uri, clock: &Ambient) -> Self {
        let left = end_of(uri).map(|end| time::between(clock.now(), end));
        let now = Instant::now();
        // A time that far away is none.
        let end = left.and_then(|left| now.checked_add(left)?.checked_add(GRACE));
        Self { body, end: end.map(sleep_until).map(Box::pin), pace: Box::pin(sleep_until(now + PACE)), come: 0 }
    }
}

/// When a presigned URL ends; none of one that says nothing that can be understood, which
/// has no good signature either.
fn end_of(uri: &Uri) -> Option<Timestamp> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let parameter = |name| form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value);
    let signed = strtime::parse("%Y%m%dT%H%M%SZ", parameter("X-Amz-Date")?.as_bytes()).ok()?.to_datetime().ok()?;
    let signed = signed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    signed.checked_add(Duration::from_secs(parameter("X-Amz-Expires")?.parse().ok()?)).ok()
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        if this.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Some(Err("the URL that it is put to has ended".into())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                this.come = this.come.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        while this.pace.as_mut().poll(context).is_ready() {
            if this.come < LEAST {
                let (least, seconds) = (LEAST >> 10, PACE.as_secs());
                return Poll::Ready(Some(Err(format!("less than {least} KiB came in {seconds} seconds").into())));
            }
            this.come = 0;
            this.pace.as_mut().reset(Instant::now() + PACE);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
