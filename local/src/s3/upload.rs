//! A body on its way in.
//!
//! S3 accepts an object only if it has the length and all the checksums that the client claims. Checksums come as
//! headers, or, when the SDK streams a body of which it does not know the checksum yet, as a trailer behind it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName};
use s3s::{
    S3Error, S3Request, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Md5},
    dto::{Checksum, PutObjectInput, StreamingBlob},
    s3_error,
    stream::ByteStream,
};

use super::digest::Digest;

/// The most that S3 takes in one put: 5 GiB, which its documents call 5 GB.
pub(super) const MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// A body that is still to be read, and what its sender claims of it.
///
/// Read it with [`chunk`](Self::chunk) to the end, then [`verify`](Self::verify) it: there is no other way to get the
/// [`Digest`] that an object is stored with.
pub(super) struct Upload {
    stream: StreamingBlob,
    size: u64,
    received: u64,
    md5: Md5,
    crc32: Crc32,
    /// Hashes in the algorithms that `claimed` has a value for, and in no others.
    hasher: ChecksumHasher,
    claimed: Checksum,
    claimed_md5: Option<[u8; 16]>,
    trailers: Option<TrailingHeaders>,
}

impl Upload {
    /// Takes the body out of a put, and what is claimed of it.
    ///
    /// # Errors
    /// `EntityTooLarge`, `MissingContentLength`, `InvalidDigest`; `NotImplemented` for a checksum that is none of the
    /// five that we know, because it would go unchecked.
    pub(super) fn begin(request: &mut S3Request<PutObjectInput>) -> S3Result<Self> {
        let input = &mut request.input;
        let stream = input.body.take().ok_or_else(|| s3_error!(MissingRequestBodyError))?;
        let size = stream.remaining_length().exact().ok_or_else(|| s3_error!(MissingContentLength))?;
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        if size > MAX_BYTES {
            return Err(s3_error!(EntityTooLarge, "{size} bytes are more than the {MAX_BYTES} that one put may have"));
        }

        let mut claimed = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            checksum_type: None,
        };
        let unknown = |name: &str| s3_error!(NotImplemented, "{name}: not implemented by the hub's embedded S3");
        for name in request.headers.keys().map(HeaderName::as_str) {
            let checksum = name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-algorithm";
            if checksum && claim_mut(&mut claimed, name).is_none() {
                return Err(unknown(name));
            }
        }
        // Until its trailer comes, an announced checksum is claimed to be empty. If it never comes, no body meets that.
        for name in announced_trailers(&request.headers) {
            let claim = claim_mut(&mut claimed, name).ok_or_else(|| unknown(name))?;
            *claim = Some(String::new());
        }
        let hasher = ChecksumHasher {
            crc32: claimed.checksum_crc32.is_some().then(Default::default),
            crc32c: claimed.checksum_crc32c.is_some().then(Default::default),
            crc64nvme: claimed.checksum_crc64nvme.is_some().then(Default::default),
            sha1: claimed.checksum_sha1.is_some().then(Default::default),
            sha256: claimed.checksum_sha256.is_some().then(Default::default),
        };
        let claimed_md5 = input.content_md5.take().map(|claim| parse_md5(&claim)).transpose()?;

        Ok(Self {
            stream,
            size,
            received: 0,
            md5: Md5::new(),
            crc32: Crc32::new(),
            hasher,
            claimed,
            claimed_md5,
            trailers: request.trailing_headers.take(),
        })
    }

    /// A body of which nothing is claimed but its size.
    pub(super) fn of(stream: StreamingBlob, size: u64) -> Self {
        Self {
            stream,
            size,
            received: 0,
            md5: Md5::new(),
            crc32: Crc32::new(),
            hasher: ChecksumHasher::default(),
            claimed: Checksum::default(),
            claimed_md5: None,
            trailers: None,
        }
    }

    /// How many bytes the body will have: the client's claim, and at most [`MAX_BYTES`].
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes of the body, `None` at its end.
    ///
    /// # Errors
    /// `IncompleteBody` as soon as there are more bytes than were claimed; `InvalidRequest` for what s3s refuses: a
    /// signed SHA-256 that is wrong, a chunk's signature, the framing.
    pub(super) async fn chunk(&mut self) -> S3Result<Option<Bytes>> {
        let Some(chunk) = self.stream.next().await else {
            return Ok(None);
        };
        let chunk =
            chunk.map_err(|cause| s3_error!(InvalidRequest, "the body did not arrive as announced: {cause}"))?;
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.size {
            return Err(self.wrong_length());
        }
        self.md5.update(&chunk);
        self.crc32.update(&chunk);
        self.hasher.update(&chunk);
        Ok(Some(chunk))
    }

    /// Checks a body that has been read to its end.
    ///
    /// # Errors
    /// `IncompleteBody` or `BadDigest`.
    pub(super) fn verify(mut self) -> S3Result<Digest> {
        if self.received != self.size {
            return Err(self.wrong_length());
        }

        let trailers = self.trailers.as_ref().and_then(TrailingHeaders::take).unwrap_or_default();
        for (name, value) in &trailers {
            if let (Some(claim), Ok(value)) = (claim_mut(&mut self.claimed, name.as_str()), value.to_str()) {
                *claim = Some(value.to_owned());
            }
        }
        let computed = self.hasher.finalize();
        for (name, claimed, computed) in [
            ("CRC32", &self.claimed.checksum_crc32, &computed.checksum_crc32),
            ("CRC32C", &self.claimed.checksum_crc32c, &computed.checksum_crc32c),
            ("CRC64NVME", &self.claimed.checksum_crc64nvme, &computed.checksum_crc64nvme),
            ("SHA1", &self.claimed.checksum_sha1, &computed.checksum_sha1),
            ("SHA256", &self.claimed.checksum_sha256, &computed.checksum_sha256),
        ] {
            if claimed != computed {
                return Err(s3_error!(BadDigest, "the {name} you specified did not match the calculated checksum"));
            }
        }

        let md5 = self.md5.finalize();
        if self.claimed_md5.is_some_and(|claimed| claimed != md5) {
            return Err(s3_error!(BadDigest, "the Content-MD5 you specified did not match what we received"));
        }
        Ok(Digest { size: self.size, md5, crc32: self.crc32.finalize() })
    }

    fn wrong_length(&self) -> S3Error {
        let Self { size, received, .. } = self;
        s3_error!(IncompleteBody, "{size} bytes were announced, {received} came")
    }
}

/// The names in `x-amz-trailer`.
fn announced_trailers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all("x-amz-trailer")
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Where the claim of the checksum header `name` is kept.
fn claim_mut<'a>(claimed: &'a mut Checksum, name: &str) -> Option<&'a mut Option<String>> {
    match name.to_ascii_lowercase().as_str() {
        "x-amz-checksum-crc32" => Some(&mut claimed.checksum_crc32),
        "x-amz-checksum-crc32c" => Some(&mut claimed.checksum_crc32c),
        "x-amz-checksum-crc64nvme" => Some(&mut claimed.checksum_crc64nvme),
        "x-amz-checksum-sha1" => Some(&mut claimed.checksum_sha1),
        "x-amz-checksum-sha256" => Some(&mut claimed.checksum_sha256),
        _ => None,
    }
}

fn parse_md5(claim: &str) -> S3Result<[u8; 16]> {
    let bytes = BASE64_STANDARD.decode(claim).map_err(|_| s3_error!(InvalidDigest))?;
    <[u8; 16]>::try_from(bytes).map_err(|_| s3_error!(InvalidDigest))
}
