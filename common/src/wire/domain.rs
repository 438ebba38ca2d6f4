//! What kind of content a repo holds. Clients write a clone's files by it: they know these three and break on any other word,
//! and without one they leave every dotfile out.

use std::str::FromStr;

use super::commit::Commit;
use super::fields::Fields;
use super::value::Value;

/// The file in which a working tree says what kind of content it is, in the table `[meta]` of a TOML document.
pub const ATTRIBUTES_PATH: &str = ".museattributes";
/// Bytes of that file; a larger one is not looked into.
pub const MAX_ATTRIBUTES: usize = 64 << 10;

/// A kind of content that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Domain {
    /// Files of any kind, dotfiles too.
    #[default]
    Code,
    /// Music.
    Midi,
    /// What the client makes new domains from.
    Scaffold,
}

/// A word that is none of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("clients know `code`, `midi` and `scaffold`")]
pub struct UnknownDomain;

impl FromStr for Domain {
    type Err = UnknownDomain;

    fn from_str(text: &str) -> Result<Self, UnknownDomain> {
        [Self::Code, Self::Midi, Self::Scaffold].into_iter().find(|known| known.as_str() == text).ok_or(UnknownDomain)
    }
}

impl Domain {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Midi => "midi",
            Self::Scaffold => "scaffold",
        }
    }

    /// What clients get for what is stored: `code` if no domain was chosen, or one that clients do not know.
    pub fn of_stored(stored: &str) -> Self {
        stored.parse().unwrap_or_default()
    }

    /// What the `structured_delta` of a commit names.
    pub fn of_commit(commit: &Commit) -> Option<Self> {
        let fields = Fields::from_record(commit.record()).ok()?;
        let Value::Map(delta) = fields.get("structured_delta")? else {
            return None;
        };
        let (_, domain) = delta.iter().find(|(name, _)| name.as_text() == Some("domain"))?;
        domain.as_text()?.parse().ok()
    }

    /// What a `.museattributes` names. It is read line by line, and what is not understood is passed over: the file is the
    /// client's, and no fault in it is a reason to refuse a push.
    pub fn of_attributes(content: &[u8]) -> Option<Self> {
        if content.len() > MAX_ATTRIBUTES {
            return None;
        }
        let text = std::str::from_utf8(content).ok()?;
        let mut table = "";
        for line in text.trim_start_matches('\u{feff}').lines() {
            // No `#` is in any word that is looked for.
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(header) = line.strip_prefix('[') {
                table = header.strip_suffix(']').unwrap_or_default().trim();
            } else if let Some((key, value)) = line.split_once('=') {
                let (key, value) = (key.trim(), value.trim());
                if matches!((table, key), ("meta", "domain") | ("", "meta.domain")) {
                    let quotes = ['"', '\''];
                    let bare = quotes.iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
                    return bare.unwrap_or(value).parse().ok();
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::Encoding;

    fn of_delta(delta: &serde_json::Value) -> Option<Domain> {
        let body = json!({"commit_id": "c", "structured_delta": delta}).to_string();
        Domain::of_commit(&Encoding::Json.decode(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_domain_is_one_of_the_three_words() {
        for (text, domain) in [("code", Domain::Code), ("midi", Domain::Midi), ("scaffold", Domain::Scaffold)] {
            assert_eq!(text.parse(), Ok(domain));
            assert_eq!(domain.as_str(), text);
        }
        for text in ["", "music", "Code", " code", "code\n"] {
            assert_eq!(text.parse::<Domain>(), Err(UnknownDomain), "{text:?}");
            assert_eq!(Domain::of_stored(text), Domain::Code, "{text:?}");
        }
    }

    #[test]
    fn a_delta_names_a_domain_or_none() {
        assert_eq!(of_delta(&json!({"ops": [{"child_domain": "code_symbols"}], "domain": "midi"})), Some(Domain::Midi));
        for none in [
            json!(null),
            json!("midi"),
            json!(["midi"]),
            json!({}),
            json!({"domain": null}),
            json!({"domain": "music"}),
            json!({"domain": {"domain": "midi"}}),
            json!({"ops": {"domain": "midi"}}),
        ] {
            assert_eq!(of_delta(&none), None, "{none}");
        }
    }

    #[test]
    fn the_attributes_that_clients_write_name_their_domain() {
        let written = "# .museattributes — merge strategy overrides for this repository.\n\n[meta]\ndomain = \"code\"\n\n\
                       # [[rules]]\n# path      = \"*\"\n# dimension = \"*\"\n# strategy  = \"auto\"\n";
        assert_eq!(Domain::of_attributes(written.as_bytes()), Some(Domain::Code));
    }

    #[test]
    fn attributes_are_read_however_they_are_written() {
        for text in [
            "[meta]\r\ndomain = \"midi\"\r\n",
            "\u{feff}[ meta ] # of it\n\n\tother = [1]\n  domain='midi' # of music",
            "[[rules]]\ndomain = \"code\"\n[rules.meta]\ndomain = \"code\"\n[meta]\nmy_domain = \"code\"\ndomain = \"midi\"",
            "version = 1\nmeta.domain = \"midi\"\n",
            "[meta]\ndomain = midi",
            "[meta\n]]]]\n=\n===\n[\n[meta]\ndomain = \"midi\"",
        ] {
            assert_eq!(Domain::of_attributes(text.as_bytes()), Some(Domain::Midi), "{text:?}");
        }
    }

    #[test]
    fn attributes_that_name_none_name_none() {
        let long = format!("[meta]\ndomain = \"midi\"\n#{}", " ".repeat(MAX_ATTRIBUTES));
        for text in [
            "",
            "[meta]",
            "domain = \"midi\"",
            "[rules]\ndomain = \"midi\"",
            "[[meta]]\ndomain = \"midi\"",
            "#[meta]\ndomain = \"midi\"",
            "[meta]\n# domain = \"midi\"",
            "[meta]\ndomain = \"music\"",
            "[meta]\ndomain = \"midi",
            "[meta]\ndomain",
            "[meta]\ndomain = ",
            &long,
        ] {
            assert_eq!(Domain::of_attributes(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Domain::of_attributes(b"[meta]\ndomain = \"midi\"\n\xff"), None);
    }
}
