//! A list in an answer, as much of it as fits, and where the next page begins.

use std::ops::ControlFlow;

use rmp::encode::{write_array_len, write_map_len, write_str};
use serde::Serialize;

use super::encoding::Encoding;
use super::error::WireError;
use super::recode;

/// A page of a list: `{<name>: [...]}`, and `next` behind it if the list goes on.
#[derive(Debug)]
pub struct Page {
    encoding: Encoding,
    name: &'static str,
    most: usize,
    items: Vec<u8>,
    count: u32,
    last: String,
    goes_on: bool,
}

impl Page {
    /// An empty page of a list. It takes `most` encoded bytes, and the first item however large it is.
    ///
    /// ```
    /// use common::wire::Encoding;
    /// use common::wire::page::Page;
    ///
    /// let mut page = Page::new(Encoding::Json, "tags", 10);
    /// assert!(page.push(&"a", "a")?.is_continue());
    /// assert!(page.push(&"a long one", "a long one")?.is_break(), "it goes on the next page");
    /// assert_eq!(page.finish()?, br#"{"tags":["a"],"next":"a"}"#);
    /// # Ok::<_, common::wire::WireError>(())
    /// ```
    pub const fn new(encoding: Encoding, name: &'static str, most: usize) -> Self {
        Self { encoding, name, most, items: Vec::new(), count: 0, last: String::new(), goes_on: false }
    }

    /// Takes the next item, if it fits. `cursor` is what the client says to go on behind it.
    ///
    /// # Errors
    /// [`WireError::Internal`] when it cannot be written, which is a fault of the hub's.
    pub fn push(&mut self, item: &impl Serialize, cursor: &str) -> Result<ControlFlow<()>, WireError> {
        self.append(cursor, |encoding, items| match encoding {
            Encoding::Json => serde_json::to_writer(items, item).map_err(WireError::internal),
            Encoding::Msgpack => rmp_serde::encode::write_named(items, item).map_err(WireError::internal),
        })
    }

    /// The same for an item that is stored as msgpack.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_record(&mut self, record: &[u8], cursor: &str) -> Result<ControlFlow<()>, WireError> {
        self.append(cursor, |encoding, items| match encoding {
            Encoding::Json => recode::to_json(record, items),
            Encoding::Msgpack => {
                items.extend_from_slice(record);
                Ok(())
            }
        })
    }

    fn append(
        &mut self,
        cursor: &str,
        write: impl FnOnce(Encoding, &mut Vec<u8>) -> Result<(), WireError>,
    ) -> Result<ControlFlow<()>, WireError> {
        let before = self.items.len();
        if self.encoding == Encoding::Json && self.count > 0 {
            self.items.push(b',');
        }
        write(self.encoding, &mut self.items)?;
        if self.count > 0 && self.items.len() > self.most {
            self.items.truncate(before);
            self.goes_on = true;
            return Ok(ControlFlow::Break(()));
        }
        self.count += 1;
        cursor.clone_into(&mut self.last);
        Ok(ControlFlow::Continue(()))
    }

    /// The answer.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(self) -> Result<Vec<u8>, WireError> {
        let Self { encoding, name, items, count, last, goes_on, .. } = self;
        let next = goes_on.then_some(last);
        let mut out = Vec::with_capacity(items.len() + 1_100);
        match encoding {
            Encoding::Json => {
                out.push(b'{');
                serde_json::to_writer(&mut out, name).map_err(WireError::internal)?;
                out.extend_from_slice(b":[");
                out.extend_from_slice(&items);
                out.push(b']');
                if let Some(next) = next {
                    out.extend_from_slice(b",\"next\":");
                    serde_json::to_writer(&mut out, &next).map_err(WireError::internal)?;
                }
                out.push(b'}');
            }
            Encoding::Msgpack => {
                write_map_len(&mut out, 1 + u32::from(next.is_some())).map_err(WireError::internal)?;
                write_str(&mut out, name).map_err(WireError::internal)?;
                write_array_len(&mut out, count).map_err(WireError::internal)?;
                out.extend_from_slice(&items);
                if let Some(next) = next {
                    write_str(&mut out, "next").map_err(WireError::internal)?;
                    write_str(&mut out, &next).map_err(WireError::internal)?;
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_have_all_items_once_and_each_page_is_bounded(
            items in prop::collection::vec(".{0,60}", 0..40), most in 1_usize..300, as_records in any::<bool>(),
        ) {
            for encoding in [Encoding::Json, Encoding::Msgpack] {
                let mut seen: Vec<String> = Vec::new();
                loop {
                    let mut page = Page::new(encoding, "items", most);
                    for (number, item) in items.iter().enumerate().skip(seen.len()) {
                        let cursor = number.to_string();
                        let taken = if as_records {
                            page.push_record(&rmp_serde::to_vec(item).unwrap(), &cursor)
                        } else {
                            page.push(item, &cursor)
                        };
                        if taken.unwrap().is_break() {
                            break;
                        }
                    }
                    let body = page.finish().unwrap();
                    let answer: serde_json::Value = encoding.decode(&body).unwrap();
                    let listed = answer["items"].as_array().unwrap();
                    let longest = listed.iter().map(|item| item.to_string().len()).max().unwrap_or(0);
                    prop_assert!(body.len() <= most.max(longest) + 40);
                    seen.extend(listed.iter().map(|item| item.as_str().unwrap().to_owned()));
                    match answer.get("next") {
                        Some(next) => prop_assert_eq!(next.as_str().unwrap(), (seen.len() - 1).to_string()),
                        None => break,
                    }
                }
                prop_assert_eq!(&seen, &items);
            }
        }
    }
}
