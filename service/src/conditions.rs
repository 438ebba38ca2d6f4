//! What the headers of the request make of the answer: `Range`, `If-Range`, `If-Match` and `If-None-Match`.

use std::ops::Range;

use common::id::ObjectId;
use common::wire::WireError;
use http::HeaderValue;

/// How much of an object is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it, and its length in bytes.
    Whole(u64),
    /// This part of it, which is not empty.
    Part(Range<u64>),
}

impl Asked {
    /// Reads the header `Range` of a request for an object of `size` bytes. A header that cannot be read, or asks for
    /// several parts, is ignored: [RFC 9110, section 14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2).
    ///
    /// # Errors
    /// [`WireError::RangeNotSatisfiable`] for a part that the object does not have.
    pub fn of(header: Option<&HeaderValue>, size: u64) -> Result<Self, WireError> {
        let spec = header.and_then(|value| value.to_str().ok()?.trim().strip_prefix("bytes="));
        let Some((first, last)) = spec.filter(|spec| !spec.contains(',')).and_then(|spec| spec.trim().split_once('-'))
        else {
            return Ok(Self::Whole(size));
        };
        let part = match (number(first), number(last)) {
            // The last bytes.
            (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..size,
            (Some(first), None) if last.is_empty() => first..size,
            (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
            _ => return Ok(Self::Whole(size)),
        };
        if part.is_empty() { Err(WireError::RangeNotSatisfiable(size)) } else { Ok(Self::Part(part)) }
    }

    /// The bytes that are asked for.
    pub fn range(&self) -> Range<u64> {
        match self {
            Self::Whole(size) => 0..*size,
            Self::Part(part) => part.clone(),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    // What has too many digits for a number is beyond the end of everything.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Whether a header `If-None-Match` names the object, which is there. The object never changes, so its id is its ETag,
/// and a weak ETag counts too. `*` names any object.
pub fn is_known(header: &HeaderValue, id: &ObjectId) -> bool {
    tags(header).any(|tag| tag == "*" || is_strong(tag.strip_prefix("W/").unwrap_or(tag), id))
}

/// Whether a header `If-Match` names the object, which is there. A weak ETag matches nothing there:
/// [RFC 9110, section 13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1).
pub fn is_matched(header: &HeaderValue, id: &ObjectId) -> bool {
    tags(header).any(|tag| tag == "*" || is_strong(tag, id))
}

/// Whether a header `If-Range` lets a range be a range: it names the object by its ETag. A date never does, for objects have
/// none: [RFC 9110, section 13.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5).
pub fn is_same(header: &HeaderValue, id: &ObjectId) -> bool {
    header.to_str().is_ok_and(|tag| is_strong(tag.trim(), id))
}

fn tags(header: &HeaderValue) -> impl Iterator<Item = &str> {
    header.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// Whether an ETag that is not weak is the object's.
fn is_strong(tag: &str, id: &ObjectId) -> bool {
    let opaque = tag.strip_prefix('"').and_then(|opaque| opaque.strip_suffix('"'));
    opaque.is_some_and(|opaque| opaque.parse::<ObjectId>().is_ok_and(|known| known == *id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Byte by byte, as RFC 9110 has it: a byte is asked for if its number is in the range, counted from the front or the end.
        #[test]
        fn a_range_has_the_bytes_that_it_names(
            first in prop::option::of(0_u64..30), last in prop::option::of(0_u64..30), size in 0_u64..20,
        ) {
            let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
            let header = format!("bytes={}-{}", text(first), text(last));
            let is_in = |byte: u64| match (first, last) {
                (Some(first), Some(last)) => (first..=last).contains(&byte),
                (Some(first), None) => byte >= first,
                (None, Some(count)) => byte + count >= size,
                (None, None) => true,
            };
            let bytes: Vec<u64> = (0..size).filter(|byte| is_in(*byte)).collect();
            let is_none = first.is_none() && last.is_none() || first > last && last.is_some();
            match asked(&header, size) {
                Some(Asked::Whole(whole)) => prop_assert!(is_none && whole == size, "{}", header),
                Some(Asked::Part(part)) => prop_assert_eq!(part.collect::<Vec<u64>>(), bytes, "{}", header),
                None => prop_assert!(!is_none && bytes.is_empty(), "{}", header),
            }
        }

        #[test]
        fn any_header_is_read_as_a_part_of_the_object_or_as_all_of_it(text in "(bytes=)?[-0-9, a]{0,24}", size in any::<u64>()) {
            if let Some(asked) = asked(&text, size) {
                let range = asked.range();
                prop_assert!(range.start <= range.end && range.end <= size);
                prop_assert!(asked == Asked::Whole(size) || range.start < range.end);
            }
        }
    }

    fn asked(header: &str, size: u64) -> Option<Asked> {
        Asked::of(Some(&HeaderValue::from_str(header).unwrap()), size).ok()
    }

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        let part = |range| Some(Asked::Part(range));
        for (header, expected) in [
            ("bytes=0-0", part(0..1)),
            ("bytes=2-", part(2..10)),
            ("bytes=-3", part(7..10)),
            ("bytes=-30", part(0..10)),
            ("bytes=8-99999999999999999999999", part(8..10)),
            ("bytes=10-", None),
            ("bytes=99999999999999999999999-", None),
            ("bytes=-0", None),
            ("bytes=3-2", Some(Asked::Whole(10))),
            ("bytes=0-1,4-5", Some(Asked::Whole(10))),
            ("bytes=-", Some(Asked::Whole(10))),
            ("bytes=+1-2", Some(Asked::Whole(10))),
            ("lines=0-1", Some(Asked::Whole(10))),
        ] {
            assert_eq!(asked(header, 10), expected, "{header}");
        }
        assert_eq!(asked("bytes=0-", 0), None, "an empty object has no parts");
        assert_eq!(asked("bytes=-5", 0), None);
    }

    #[test]
    fn if_match_and_if_range_take_strong_etags_alone() {
        let id = ObjectId::of(b"x");
        let header = |text: &str| HeaderValue::from_str(&text.replace("ID", &id.to_string())).unwrap();
        for (text, matched, same) in [
            ("\"ID\"", true, true),
            ("*", true, false),
            ("\"other\", \"ID\"", true, false),
            ("W/\"ID\"", false, false),
            ("ID", false, false),
            ("\"other\"", false, false),
            ("Sat, 29 Oct 1994 19:43:31 GMT", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_matched(&header(text), &id), is_same(&header(text), &id)), (matched, same), "{text}");
        }
    }

    #[test]
    fn an_etag_is_known_in_each_of_its_forms() {
        let id = ObjectId::of(b"x");
        let known = |header: String| is_known(&HeaderValue::from_str(&header).unwrap(), &id);
        assert!(known(format!("\"{id}\"")));
        assert!(known(format!("W/\"{id}\"")));
        assert!(known(format!("\"other\", \"{id}\"")));
        assert!(known("*".to_owned()));
        assert!(!known("\"other\"".to_owned()));
        assert!(!known("\"*\"".to_owned()), "an ETag that is no object's");
        assert!(!known(id.to_string()), "no ETag at all");
        assert!(!known(format!("\"{id}0\"")));
    }
}
