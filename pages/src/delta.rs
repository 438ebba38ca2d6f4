//! A commit's structured delta as people read it.
//!
//! A delta says what changed in terms of its domain: symbols of code, notes of a piece. Clients make it, so it can be
//! anything. What is not understood is left out, and what has no bound has one here.

use serde_json::Value;

use crate::midi;
use crate::text::cut;

/// The most operations that are shown.
pub const MAX_OPERATIONS: usize = 400;
/// How deep operations lie in one another.
const MAX_DEPTH: usize = 4;
/// The most characters of a name or a sentence.
const MAX_TEXT: usize = 300;

/// What a delta says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// `code`, `midi`, or another domain; may be empty.
    pub domain: String,
    /// A sentence of all; may be empty.
    pub summary: String,
    /// What changed, file by file.
    pub files: Vec<File>,
    /// Whether there is more than that.
    pub is_cut: bool,
}

/// What changed in a file, or that it came, went or moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// What was done.
    pub verb: Verb,
    /// Its path, or another address.
    pub address: String,
    /// Where it was before, if it moved.
    pub from: String,
    /// A sentence; may be empty.
    pub summary: String,
    /// What changed in it.
    pub changes: Vec<Change>,
}

/// A change of a symbol, a note, or something else in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub verb: Verb,
    /// The name of the symbol, or the note; without the file's path.
    pub name: String,
    /// What it is now, or was, as the client says.
    pub detail: String,
    /// Whether the commit says that it breaks something.
    pub is_breaking: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verb {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It is another one than before.
    #[default]
    Changed,
    /// It is somewhere else, or has another name.
    Moved,
}

impl Verb {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Moved => "moved",
        }
    }

    /// The class that it is drawn with.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Added => "ins",
            Self::Removed => "del",
            Self::Changed => "chg",
            Self::Moved => "mov",
        }
    }

    fn of(operation: &Value) -> Self {
        match text_of(operation, "op") {
            "insert" | "add" => Self::Added,
            "delete" | "remove" => Self::Removed,
            "move" | "rename" => Self::Moved,
            _ if !text_of(operation, "from_address").is_empty() => Self::Moved,
            _ => Self::Changed,
        }
    }
}

fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list_of<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Reads a delta. `None` if it says nothing that can be shown.
pub fn read(delta: &Value, breaking: &[String]) -> Option<Delta> {
    let mut reading = Reading { left: MAX_OPERATIONS, is_cut: false, breaking };
    let files: Vec<File> = list_of(delta, "ops").iter().map_while(|operation| reading.file(operation)).collect();
    let summary = cut(text_of(delta, "summary"), MAX_TEXT);
    if files.is_empty() && summary.is_empty() {
        return None;
    }
    Some(Delta { domain: cut(text_of(delta, "domain"), 40), summary, files, is_cut: reading.is_cut })
}

struct Reading<'b> {
    left: usize,
    is_cut: bool,
    breaking: &'b [String],
}

impl Reading<'_> {
    /// Whether one more operation is shown.
    fn take(&mut self) -> Option<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.is_cut = true,
        }
        (!self.is_cut).then_some(())
    }

    fn file(&mut self, operation: &Value) -> Option<File> {
        self.take()?;
        let address = text_of(operation, "address");
        let mut changes = Vec::new();
        self.collect(list_of(operation, "child_ops"), address, &mut changes, MAX_DEPTH);
        let verb = Verb::of(operation);
        Some(File {
            verb,
            address: cut(address, MAX_TEXT),
            from: cut(text_of(operation, "from_address"), MAX_TEXT),
            summary: summary_of(operation, address, verb),
            changes,
        })
    }

    fn collect(&mut self, operations: &[Value], file: &str, changes: &mut Vec<Change>, depth: usize) {
        if depth == 0 {
            return;
        }
        for operation in operations {
            let address = text_of(operation, "address");
            let name = address.strip_prefix(file).unwrap_or(address).trim_start_matches("::");
            let name = name.strip_prefix("import::").unwrap_or(name);
            let children = list_of(operation, "child_ops");
            if self.take().is_none() {
                return;
            }
            let verb = Verb::of(operation);
            let detail = summary_of(operation, address, verb);
            changes.push(match note_of(&detail) {
                Some((note, rest)) => Change { verb, name: note, detail: rest, is_breaking: self.is_breaking(address) },
                None => Change {
                    verb,
                    name: cut(if name.is_empty() { address } else { name }, MAX_TEXT),
                    detail,
                    is_breaking: self.is_breaking(address),
                },
            });
            self.collect(children, file, changes, depth.saturating_sub(1));
        }
    }

    fn is_breaking(&self, address: &str) -> bool {
        !address.is_empty() && self.breaking.iter().any(|broken| broken == address)
    }
}

/// What the client says of an operation, without the verb and the address that are shown anyway.
fn summary_of(operation: &Value, address: &str, verb: Verb) -> String {
    let names = ["new_summary", "content_summary", "child_summary", "summary", "old_summary"];
    let said = names.map(|name| text_of(operation, name)).into_iter().find(|said| !said.is_empty()).unwrap_or_default();
    let said = said.strip_prefix(verb.word()).unwrap_or(said).trim();
    let said = said.strip_prefix("new file:").map_or(said, str::trim);
    let said = if said == address { "" } else { said };
    cut(&said.split_whitespace().collect::<Vec<_>>().join(" "), MAX_TEXT)
}

/// A note's name and the rest, of `C5 vel=96 @beat=4.00 dur=1.00`.
fn note_of(detail: &str) -> Option<(String, String)> {
    let (name, rest) = detail.split_once(' ')?;
    let velocity = rest.split(' ').find_map(|word| word.strip_prefix("vel="))?;
    let beat = rest.split(' ').find_map(|word| word.strip_prefix("@beat="))?;
    let length = rest.split(' ').find_map(|word| word.strip_prefix("dur="))?;
    let is_note = (0..=127).any(|key| midi::key_name(key) == name);
    is_note.then(|| (name.to_owned(), format!("beat {beat}, {length} long, velocity {velocity}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn symbols_and_notes_are_named() {
        let delta = json!({"domain": "code", "summary": "s", "ops": [
            {"op": "patch", "address": "a.py", "child_summary": "1 symbol added", "child_ops": [
                {"op": "insert", "address": "a.py::import::Voice", "content_summary": "added import Voice  L1–1"},
                {"op": "insert", "address": "note:4", "content_summary": "C5 vel=96 @beat=4.00 dur=1.00"},
            ]},
            {"op": "patch", "address": "b.py", "from_address": "c.py", "child_ops": [], "child_summary": "moved from c.py"},
            {"op": "insert", "address": "d.mid", "content_summary": "new file: d.mid"},
        ]});
        let delta = read(&delta, &["note:4".to_owned()]).unwrap();
        let [a, b, d] = &delta.files[..] else { panic!("{delta:?}") };
        assert_eq!((a.changes[0].name.as_str(), a.changes[0].detail.as_str()), ("Voice", "import Voice L1–1"));
        assert_eq!((a.changes[1].name.as_str(), a.changes[1].is_breaking), ("C5", true));
        assert_eq!(a.changes[1].detail, "beat 4.00, 1.00 long, velocity 96");
        assert_eq!((b.verb, b.from.as_str(), b.summary.as_str()), (Verb::Moved, "c.py", "from c.py"));
        assert_eq!((d.verb, d.summary.as_str()), (Verb::Added, ""));
    }

    #[test]
    fn a_delta_of_too_many_operations_is_cut() {
        let operations: Vec<Value> =
            (0..MAX_OPERATIONS + 1).map(|n| json!({"op": "insert", "address": n.to_string()})).collect();
        let delta = read(&json!({"ops": operations}), &[]).unwrap();
        assert_eq!((delta.files.len(), delta.is_cut), (MAX_OPERATIONS, true));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec![
            "ops",
            "op",
            "address",
            "child_ops",
            "summary",
            "content_summary",
            "from_address",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            Just(json!("insert")),
            Just(json!("note:1"))
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_can_be_read(value in any_json(), operations in prop::collection::vec(any_json(), 0..5)) {
            read(&value, &[]);
            if let Some(delta) = read(&json!({"ops": operations}), &[]) {
                prop_assert!(delta.files.len() <= operations.len());
            }
        }
    }
}
