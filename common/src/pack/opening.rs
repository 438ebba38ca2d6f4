//! Opens a data frame piece by piece, so that the one record of a large frame is never in memory as a whole.

use std::hash::Hasher;

use bytes::Bytes;
use twox_hash::XxHash3_64;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::{Frame, PackError, PackId};

/// Bytes of a piece.
const PIECE: usize = 128 << 10;

/// A frame that is being opened. It takes the stored bytes in order and hands out the raw ones.
///
/// The bytes that complete the frame are handed out only when its checksum was seen to hold. So what is damaged never
/// looks whole.
pub struct OpeningFrame {
    pack: PackId,
    number: usize,
    frame: Frame,
    decoder: Decoder<'static>,
    checksum: XxHash3_64,
    /// Stored bytes that were taken and not decompressed yet.
    stored: Bytes,
    /// How many stored bytes were taken.
    taken: u64,
    /// How many raw bytes were made.
    made: u64,
    /// The last piece, made before the checksum was known.
    held: Option<Bytes>,
    /// Whether zstd has seen the end of the frame.
    is_ended: bool,
}

impl OpeningFrame {
    /// Begins with frame `number` of `pack`.
    ///
    /// # Errors
    /// When zstd refuses.
    pub fn new(pack: PackId, number: usize, frame: Frame) -> Result<Self, PackError> {
        let decoder = Decoder::new().map_err(|error| malformed(pack, number, &error))?;
        let checksum = XxHash3_64::new();
        let stored = Bytes::new();
        Ok(Self { pack, number, frame, decoder, checksum, stored, taken: 0, made: 0, held: None, is_ended: false })
    }

    /// Takes the next stored bytes, once [`Self::piece`] has no more to give.
    ///
    /// # Errors
    /// [`PackError::Checksum`] when these are the last and a single bit of all of them is not as it was written.
    pub fn take(&mut self, stored: Bytes) -> Result<(), PackError> {
        self.checksum.write(&stored);
        self.taken += stored.len() as u64;
        self.stored = stored;
        let expected = u64::from(self.frame.stored_length);
        let is_wrong = match self.taken.cmp(&expected) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.checksum.finish() != self.frame.checksum,
            std::cmp::Ordering::Greater => true,
        };
        if is_wrong {
            return Err(PackError::Checksum { pack: self.pack, part: format!("frame {}", self.number) });
        }
        Ok(())
    }

    /// The next raw bytes; none when more stored bytes have to be taken first, and at the end.
    ///
    /// # Errors
    /// [`PackError::Malformed`] when the bytes have their checksum and still are no such frame.
    pub fn piece(&mut self) -> Result<Option<Bytes>, PackError> {
        let is_proved = self.taken == u64::from(self.frame.stored_length);
        let left = u64::from(self.frame.raw_length).saturating_sub(self.made);
        if left > 0 {
            let piece = self.decompress(usize::try_from(left).unwrap_or(PIECE).min(PIECE))?;
            self.made += piece.len() as u64;
            if piece.is_empty() && is_proved {
                return Err(self.another_length());
            }
            if (piece.len() as u64) < left {
                return Ok(Some(piece).filter(|piece| !piece.is_empty()));
            }
            self.held = Some(piece);
        }
        // All raw bytes are made: what is left of the stored ones is the end of the frame, and all of it.
        if !self.decompress(1)?.is_empty() || !self.stored.is_empty() || (is_proved && !self.is_ended) {
            return Err(self.another_length());
        }
        Ok(if is_proved { self.held.take() } else { None })
    }

    /// Decompresses what was taken into at most this many bytes.
    fn decompress(&mut self, most: usize) -> Result<Bytes, PackError> {
        let mut piece = vec![0; most];
        let mut output = OutBuffer::around(&mut piece[..]);
        while output.pos() < output.capacity() && !self.is_ended {
            let before = output.pos();
            let mut input = InBuffer::around(&self.stored);
            let outcome = self.decoder.run(&mut input, &mut output);
            self.is_ended = outcome.map_err(|error| malformed(self.pack, self.number, &error))? == 0;
            let read = input.pos();
            drop(self.stored.split_to(read));
            if read == 0 && output.pos() == before {
                break;
            }
        }
        let made = output.pos();
        piece.truncate(made);
        Ok(piece.into())
    }

    fn another_length(&self) -> PackError {
        let reason = format!("it does not decompress to {} bytes", self.frame.raw_length);
        malformed(self.pack, self.number, &reason)
    }

    /// Whether all raw bytes were handed out.
    pub fn is_complete(&self) -> bool {
        self.taken == u64::from(self.frame.stored_length)
            && self.made == u64::from(self.frame.raw_length)
            && self.held.is_none()
    }
}

fn malformed(pack: PackId, number: usize, reason: &dyn std::fmt::Display) -> PackError {
    PackError::Malformed { pack, part: format!("frame {number}"), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pack::Kind;
    use crate::pack::frame::checksum;

    fn frame(raw: &[u8]) -> (Frame, Vec<u8>) {
        let stored = zstd::bulk::compress(raw, 3).unwrap();
        let frame = Frame {
            kind: Kind::Objects,
            offset: 0,
            stored_length: stored.len() as u32,
            raw_length: raw.len() as u32,
            checksum: checksum(&stored),
        };
        (frame, stored)
    }

    /// What comes out when these bytes go in, cut at `cuts`; and whether it looked whole.
    fn opened(frame: Frame, stored: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool), (Vec<u8>, PackError)> {
        let mut opening = OpeningFrame::new(PackId::nil(), 0, frame).unwrap();
        let mut raw = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([stored.len()]) {
            if let Err(error) = opening.take(Bytes::copy_from_slice(&stored[start..end])) {
                return Err((raw, error));
            }
            start = end;
            loop {
                match opening.piece() {
                    Ok(Some(piece)) => {
                        assert!(piece.len() <= PIECE);
                        raw.extend_from_slice(&piece);
                    }
                    Ok(None) => break,
                    Err(error) => return Err((raw, error)),
                }
            }
        }
        Ok((raw, opening.is_complete()))
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3_000),
            (any::<u8>(), 0_usize..1_000_000).prop_map(|(byte, length)| vec![byte; length]),
            (any::<u64>(), 0_usize..600_000).prop_map(|(seed, length)| {
                let next = |state: &mut u64| {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    Some((*state >> 56) as u8)
                };
                std::iter::successors(Some(seed), |_| Some(seed))
                    .scan(seed, |state, _| next(state))
                    .take(length)
                    .collect()
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_comes_out_is_the_content_however_the_stored_bytes_are_cut(
            raw in content(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let (frame, stored) = frame(&raw);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stored.len() + 1)).collect();
            cuts.sort_unstable();
            let (out, is_whole) = opened(frame, &stored, &cuts).unwrap();
            prop_assert!(is_whole);
            prop_assert!(out == raw);
        }

        #[test]
        fn damage_never_looks_whole(
            raw in content(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let (frame, mut stored) = frame(&raw);
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stored.len() + 1)).collect();
            cuts.sort_unstable();
            let (out, _) = opened(frame, &stored, &cuts).unwrap_err();
            prop_assert!(out.len() < raw.len().max(1), "all {} bytes came out", raw.len());
        }
    }

    #[test]
    fn a_frame_with_anything_behind_it_or_without_its_end_is_malformed_however_it_is_opened() {
        let (_, first) = frame(b"one");
        let (_, second) = frame(b"");
        let end = first.len() - 1;
        for (stored, raw_length) in [
            ([first.as_slice(), b"\0"].concat(), 3),
            ([first.as_slice(), &second].concat(), 3),
            ([first.as_slice(), &first].concat(), 6),
            (first[..end].to_vec(), 3),
            (first[..end].to_vec(), 2),
            (second[..second.len() - 1].to_vec(), 0),
        ] {
            let stored_length = stored.len() as u32;
            let frame =
                Frame { kind: Kind::Objects, offset: 0, stored_length, raw_length, checksum: checksum(&stored) };
            for cuts in [&[][..], &[4], &[stored.len() - 1]] {
                let (_, error) = opened(frame, &stored, cuts).unwrap_err();
                assert!(matches!(error, PackError::Malformed { .. }), "{error}");
            }
            let error = frame.open(PackId::nil(), 0, &stored).unwrap_err();
            assert!(matches!(error, PackError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn a_frame_of_another_length_is_malformed() {
        let (frame, stored) = frame(&[7; 300_000]);
        for raw_length in [1, 299_999, 300_001] {
            let (_, error) = opened(Frame { raw_length, ..frame }, &stored, &[]).unwrap_err();
            assert!(matches!(error, PackError::Malformed { .. }), "{error}");
        }
    }
}
