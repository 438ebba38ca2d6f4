//! Object keys, and the names of the files that hold them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::{S3Result, s3_error};

/// The longest file name on the file systems we may meet, in bytes.
const MAX_FILE_NAME: usize = 255;

/// A key that a store can hold.
///
/// Its file name is the percent-encoded key, so all objects of a bucket lie flat in one directory: `a` beside `a/b`
/// is no trouble, and no key can name a path. Upper-case letters are encoded as well, which keeps keys that differ in
/// case apart on a file system that ignores it. A lower-case letter, a digit, `-` or `_` takes one byte of the 255,
/// anything else takes three.
#[derive(Clone, Debug)]
pub(super) struct Key {
    text: String,
    file_name: String,
}

impl Key {
    /// # Errors
    /// `KeyTooLongError` if the file name would not fit; in memory too, so that a test there is a test of the disk.
    pub(super) fn parse(text: String) -> S3Result<Self> {
        let file_name = utf8_percent_encode(&text, ENCODED).to_string();
        if file_name.len() > MAX_FILE_NAME {
            return Err(s3_error!(
                KeyTooLongError,
                "the key takes {} bytes as a file name, at most {MAX_FILE_NAME} are possible",
                file_name.len()
            ));
        }
        Ok(Self { text, file_name })
    }

    /// The key that `file_name` is the name of, unless it is no name of ours.
    pub(super) fn from_file_name(file_name: &str) -> Option<Self> {
        let text = percent_decode_str(file_name).decode_utf8().ok()?;
        let key = Self::parse(text.into_owned()).ok()?;
        (key.file_name == file_name).then_some(key)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn file_name(&self) -> &str {
        &self.file_name
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }
}

const ENCODED: &AsciiSet = &{
    let mut set = NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    let mut letter = b'A';
    while letter <= b'Z' {
        set = set.add(letter);
        letter += 1;
    }
    set
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3s::S3ErrorCode;

    use super::*;

    proptest! {
        #[test]
        fn every_file_name_is_safe_and_leads_back_to_its_key(text in ".{1,80}") {
            if let Ok(key) = Key::parse(text.clone()) {
                prop_assert!(!key.file_name().contains(['/', '\\', '.', '\0']));
                let back = Key::from_file_name(key.file_name()).unwrap();
                prop_assert_eq!(back.as_str(), text);
            }
        }

        #[test]
        fn keys_stay_apart_where_case_is_ignored(one in "[aAbB%/.1]{1,6}", other in "[aAbB%/.1]{1,6}") {
            prop_assume!(one != other);
            let [one, other] = [one, other].map(|text| Key::parse(text).unwrap());
            prop_assert!(!one.file_name().eq_ignore_ascii_case(other.file_name()));
        }
    }

    #[test]
    fn a_key_may_fill_a_file_name_and_no_more() {
        assert!(Key::parse("k".repeat(255)).is_ok());
        for too_long in ["k".repeat(256), "K".repeat(86)] {
            let refused = Key::parse(too_long).unwrap_err();
            assert_eq!(*refused.code(), S3ErrorCode::KeyTooLongError);
        }
    }

    #[test]
    fn names_that_are_not_ours_are_no_keys() {
        for foreign in ["lost+found", ".DS_Store", "%2f", "A", "%FF"] {
            assert!(Key::from_file_name(foreign).is_none(), "{foreign}");
        }
    }
}
