//! Which part of a list is asked for.

use common::wire::WireError;
use common::wire::limits::MAX_LISTED;
use service::Call;

/// Lines of a page, unless the client says how many.
const LISTED: usize = 100;

/// How many lines the client wants at most.
///
/// # Errors
/// [`WireError::Invalid`] when it is no number of lines that a page may have.
pub fn limit(call: &Call) -> Result<usize, WireError> {
    parsed(call.query_parameter("limit").as_deref())
}

fn parsed(given: Option<&str>) -> Result<usize, WireError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(LISTED);
    };
    let limit = given.parse().ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
    limit.ok_or_else(|| WireError::invalid("limit", format_args!("it is a number from 1 to {MAX_LISTED}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_lines_as_are_asked_for_within_bounds() {
        for (given, expected) in [(None, LISTED), (Some(""), LISTED), (Some("1"), 1), (Some("1000"), MAX_LISTED)] {
            assert_eq!(parsed(given).unwrap(), expected, "{given:?}");
        }
        for wrong in ["0", "1001", "-1", "1.5", "many", "99999999999999999999999"] {
            assert!(parsed(Some(wrong)).unwrap_err().to_string().starts_with("limit: "), "{wrong}");
        }
    }
}
