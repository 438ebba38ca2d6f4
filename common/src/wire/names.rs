//! Which names of branches and paths are accepted: those that every client can keep as files, and that stay in its
//! folder.
//!
//! Clients do not keep tags as files, and tags have characters that some files cannot have, such as `emotion:joyful`.
//! So of the table of branches they follow only the row about what people see.
//!
//! There is one table for each, with a sentence in each row. That of branches is Git's `check-ref-format`
//! (<https://git-scm.com/docs/git-check-ref-format>), and what a file of some system cannot be called
//! (<https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>), because a client of any system keeps each
//! branch as a file. That of paths has only what would leave the clone's folder, reach into the client's own, or be a
//! file nowhere: real projects have names that only some systems dislike, `aux.c` for example.

use std::borrow::Cow;
use std::collections::HashSet;

use super::error::WireError;
use super::limits::MAX_PATH_LENGTH;
use crate::id::{BranchName, Label, MAX_BRANCH_LENGTH};

/// Bytes of one part of a path or a branch: the longest name of a file on every system.
pub const MAX_PART_LENGTH: usize = 255;
/// Parts of a branch's name: each of them is claimed when the branch is made.
pub const MAX_BRANCH_PARTS: usize = 32;
/// Characters of a name that a refusal shows.
const SHOWN: usize = 60;

/// What a name must not be, and the words that say so: they follow the name in a sentence.
type Rule = (fn(&str) -> bool, &'static str);

/// What would show as another name than it is, or do something to a terminal.
const UNSEEN: Rule =
    (|name| name.contains(is_unseen), "has a control character, or one that changes the direction of text");

/// What the name of a branch must not be, all of it or one of its parts.
const BRANCH_RULES: [Rule; 15] = [
    (|name| name.len() > MAX_BRANCH_LENGTH, "has more than 1,020 bytes"),
    (|name| parts(name).any(|part| part.len() > MAX_PART_LENGTH), "has a part of more than 255 bytes"),
    (|name| parts(name).count() > MAX_BRANCH_PARTS, "has more than 32 parts between '/'"),
    (|name| parts(name).any(str::is_empty), "is empty, or has a leading, trailing or doubled '/'"),
    UNSEEN,
    (
        |name| name.contains(['\\', ':', '?', '*', '"', '<', '>', '|']),
        "has one of \\ : ? * \" < > |, which no file on Windows may have",
    ),
    (|name| name.contains(['~', '^', '[']), "has one of ~ ^ [, which name commits in commands"),
    (|name| name.contains("..") || name.contains("@{"), "has '..' or '@{', which name commits in commands"),
    (|name| name == "@" || name == "HEAD", "is a client's own word for the branch that is checked out"),
    (|name| name.starts_with('-'), "begins with '-', as the options of commands do"),
    (|name| parts(name).any(|part| part.starts_with('.')), "has a part that begins with '.'"),
    (|name| parts(name).any(|part| part.ends_with('.')), "has a part that ends with '.', which Windows drops"),
    (
        |name| parts(name).any(|part| part.starts_with(' ') || part.ends_with(' ')),
        "has a part that begins or ends with a space, which Windows drops",
    ),
    (|name| parts(name).any(|part| folded(part).ends_with(".lock")), "has a part that ends with '.lock'"),
    (|name| parts(name).any(is_device), "has a part that is a device on Windows, as con, nul and com1 are"),
];

/// What a path must not be once its parts are between slashes.
const PATH_RULES: [Rule; 6] = [
    (|path| path.starts_with('/') || is_on_a_drive(path), "is absolute: paths begin at the top of the repository"),
    (|path| parts(path).any(str::is_empty), "has an empty part"),
    (
        |path| parts(path).any(|part| matches!(part, "." | "..")),
        "has '.' or '..' as a part, and may leave the repository",
    ),
    (
        |path| parts(path).next().is_some_and(|first| is_folder_of(first, "muse")),
        "is inside .muse, the client's own folder",
    ),
    (
        |path| parts(path).next().is_some_and(|first| is_folder_of(first, "git")),
        "is inside .git, where Git runs what it finds",
    ),
    (|path| parts(path).any(|part| part.len() > MAX_PART_LENGTH), "has a part of more than 255 bytes"),
];

/// Checks that a branch can be made of a name, by the name alone.
///
/// ```
/// use common::wire::names::check_branch;
///
/// assert!(check_branch("branch", "feature/drums").is_ok());
/// assert!(check_branch("branch", "../../etc/passwd").is_err());
/// assert!(check_branch("branch", "drums.lock").is_err(), "clients make such a file while they write a branch");
/// ```
/// # Errors
/// [`WireError::Invalid`] for `field`, with the reason and what to do.
pub fn check_branch(field: &str, name: &str) -> Result<BranchName, WireError> {
    let refuse = |reason: &dyn std::fmt::Display| {
        let shown = shown(name);
        WireError::invalid(
            field,
            format_args!("{shown} {reason}; clients keep branches as files, so choose another name"),
        )
    };
    if let Some((_, reason)) = BRANCH_RULES.iter().find(|(breaks, _)| breaks(name)) {
        return Err(refuse(reason));
    }
    name.parse().map_err(|reason| refuse(&format_args!("is no branch: {reason}")))
}

/// Checks that a tag can have a name.
///
/// # Errors
/// [`WireError::Invalid`] for `tag`, with the reason.
pub fn check_tag(name: &str) -> Result<Label, WireError> {
    let (is_unseen, reason) = UNSEEN;
    if is_unseen(name) {
        return Err(WireError::invalid("tag", format_args!("{} {reason}", shown(name))));
    }
    name.parse().map_err(|reason| WireError::invalid("tag", reason))
}

/// Why a branch cannot be made beside others, if it cannot.
///
/// ```
/// use common::wire::names::check_beside;
///
/// let name = "Main".parse().expect("a name");
/// assert!(check_beside(&name, ["main"].into_iter()).is_err(), "one file on a Mac");
/// ```
/// # Errors
/// [`WireError::Invalid`], naming the other branch.
pub fn check_beside<'h>(name: &BranchName, others: impl Iterator<Item = &'h str>) -> Result<(), WireError> {
    let name = name.as_str();
    let own = folded(name);
    for other in others.filter(|other| *other != name) {
        let theirs = folded(other);
        let reason = if own == theirs {
            "differ only in case"
        } else if is_below(&own, &theirs) || is_below(&theirs, &own) {
            "would be a file and a folder of one name"
        } else if spells_a_folder_otherwise(name, other) {
            "have a folder whose name differs only in case"
        } else {
            continue;
        };
        let (name, other) = (shown(name), shown(other));
        return Err(WireError::invalid(
            "branch",
            format_args!(
                "{name} and the branch {other} {reason}; clients keep branches as files, so push under another name, or delete {other} first"
            ),
        ));
    }
    Ok(())
}

/// The folders that a branch lies in, the outermost first.
pub fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// A name as file systems compare it that ignore the case.
pub fn folded(name: &str) -> String {
    let fold = |character: char| {
        let upper = only(character.to_uppercase(), character);
        only(upper.to_lowercase(), upper)
    };
    name.chars().map(fold).collect()
}

/// Checks that the paths of one manifest are files that a clone can have side by side. `paths` are in the order of their bytes.
///
/// # Errors
/// Which of them are not, and why not.
pub fn check_paths(paths: &[&str]) -> Result<(), String> {
    let mut has_backslash = false;
    for path in paths {
        let slashed = slashed(path);
        let differs = matches!(slashed, Cow::Owned(_));
        has_backslash |= differs;
        // What is fine with each backslash read as a slash is so without: nothing here becomes right by joining parts, but a
        // part that grows too long.
        let broken = PATH_RULES.iter().find(|(breaks, _)| breaks(&slashed) || (differs && breaks(path)));
        if let Some((_, reason)) = broken {
            return Err(format!("{} {reason}; rename the file", shown(path)));
        }
    }
    let is_sorted = !has_backslash;
    let mut slashed: Vec<Cow<'_, str>> = paths.iter().map(|path| slashed(path)).collect();
    if !is_sorted {
        slashed.sort_unstable();
    }
    // In this order a path comes behind all that it begins with, and those that the next one does not begin with are done.
    let mut begun: Vec<&str> = Vec::new();
    for path in &slashed {
        while begun.last().is_some_and(|before| !path.starts_with(before)) {
            begun.pop();
        }
        let is_folder = |before: &&&str| matches!(path.as_bytes().get(before.len()), None | Some(b'/'));
        if let Some(file) = begun.iter().find(is_folder) {
            let (file, path) = (shown(file), shown(path));
            return Err(format!("{file} would be a file and {path} one inside it, or the same; rename one of them"));
        }
        begun.push(path);
    }
    Ok(())
}

/// Checks a path by itself, without the others.
///
/// # Errors
/// What it is.
pub fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() || path.contains('\0') {
        return Err("it is empty or has a NUL".to_owned());
    }
    if path.len() > MAX_PATH_LENGTH {
        return Err(format!("it has more than {MAX_PATH_LENGTH} bytes"));
    }
    Ok(())
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('/')
}

/// A name in quotes, with what does not show escaped, and not all of a long one.
fn shown(name: &str) -> String {
    let mut shown = String::from("'");
    for character in name.chars() {
        if shown.len() > SHOWN {
            shown.push('…');
            break;
        }
        match character {
            '\'' | '"' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown + "'"
}

/// Whether a character is invisible and has an effect: on a terminal, or on the text around it.
/// <https://www.unicode.org/reports/tr9/>
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
        )
}

/// Whether Windows takes a file of this name for a device, with any extension.
fn is_device(part: &str) -> bool {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
    let stem = folded(part.split('.').next().unwrap_or_default());
    let stem = stem.trim_end_matches(' ');
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let is_port = port.is_some_and(|number| {
        let mut digits = number.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    });
    is_port || DEVICES.contains(&stem)
}

/// Whether a path is absolute on Windows: `C:/x`.
fn is_on_a_drive(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next().is_some_and(|letter| letter.is_ascii_alphabetic())
        && bytes.next() == Some(b':')
        && bytes.next() == Some(b'/')
}

/// Whether some system takes a part of a path for the folder `.<name>`: in any case, with characters that macOS passes over,
/// with dots and spaces at the end and a stream's name, which Windows drops, or in the short form of Windows. So it is with Git:
/// <https://git-scm.com/docs/git-fsck#_fsck_messages>
fn is_folder_of(part: &str, name: &str) -> bool {
    let is_passed_over = |character: char| matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let part: String = folded(part).chars().filter(|character| !is_passed_over(*character)).collect();
    let part = part.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']);
    part.strip_prefix('.') == Some(name) || part.strip_prefix(name) == Some("~1")
}

/// A path with a slash for each backslash.
fn slashed(path: &str) -> Cow<'_, str> {
    if path.contains('\\') { Cow::Owned(path.replace('\\', "/")) } else { Cow::Borrowed(path) }
}

/// Whether a name lies in the folder of another.
fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn spells_a_folder_otherwise(name: &str, other: &str) -> bool {
    let theirs: HashSet<&str> = folders(other).collect();
    let mut own = folders(name).filter(|folder| !theirs.contains(folder));
    own.any(|folder| theirs.iter().any(|their| folded(their) == folded(folder)))
}

/// The character that a mapping gives, if it is one.
fn only(mut mapped: impl Iterator<Item = char>, otherwise: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(character), None) => character,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_branch_that_is_no_file_somewhere_is_refused_with_its_reason() {
        for (name, reason) in [
            ("", "empty"),
            ("/a", "'/'"),
            ("a/", "'/'"),
            ("a//b", "'/'"),
            ("fix:12", "Windows"),
            ("what?", "Windows"),
            ("a*", "Windows"),
            ("a\\b", "Windows"),
            ("<b>", "Windows"),
            ("a|b", "Windows"),
            ("\"", "Windows"),
            ("a~1", "commits"),
            ("a^", "commits"),
            ("a[b", "commits"),
            ("a..b", "commits"),
            ("a@{b", "commits"),
            ("@", "word"),
            ("HEAD", "word"),
            ("-", "'-'"),
            ("-rf", "'-'"),
            (".a", "'.'"),
            ("a/.b", "'.'"),
            ("a.", "'.'"),
            ("a./b", "'.'"),
            (" a", "space"),
            ("a ", "space"),
            ("a /b", "space"),
            ("a.lock", ".lock"),
            ("a.LOCK/b", ".lock"),
            ("con", "device"),
            ("Aux.txt", "device"),
            ("x/NUL", "device"),
            ("com1", "device"),
            ("lpt¹.x", "device"),
            ("a\nb", "control"),
            ("a\u{1b}[2J", "control"),
            ("a\u{7f}", "control"),
            ("a\u{85}b", "control"),
            ("a\u{202e}b", "direction"),
            ("a\u{2066}b", "direction"),
        ] {
            let refusal = check_branch("branch", name).unwrap_err().to_string();
            assert!(refusal.starts_with("branch: '") && refusal.contains(reason), "{name:?}: {refusal}");
            assert!(!refusal.contains(is_unseen) && refusal.chars().count() < 300, "{name:?}: {refusal}");
        }
        for name in [
            "main",
            "feature/x",
            "a.b",
            "ü/ä",
            "x y",
            "größe 🎵",
            "a-b",
            "@a",
            "a@b",
            "head",
            "HEAD/x",
            "console",
            "com",
            "com10",
            "null",
            "%",
            "#",
            "'",
            "👩\u{200d}🎤",
            "lock",
            "日本語",
            "1.0",
            "a{b}",
            "a;b,c=d+e!f(g)$h&i",
        ] {
            assert_eq!(check_branch("branch", name).map(|branch| branch.to_string()).ok().as_deref(), Some(name));
        }
    }

    #[test]
    fn the_limits_of_a_branch_are_in_bytes_a_part_at_a_time() {
        let taken = |name: &str| check_branch("branch", name).is_ok();
        for letter in ["x", "é", "🎵"] {
            let most = letter.repeat(MAX_PART_LENGTH / letter.len());
            assert!(taken(&most) && taken(&format!("{most}/{most}")), "{letter}");
            assert!(!taken(&format!("{most}{letter}")) && !taken(&format!("a/{most}{letter}/b")), "{letter}");
        }
        let longest = [&"x".repeat(254)[..]; 4].join("/");
        assert_eq!(longest.len(), MAX_BRANCH_LENGTH - 1);
        assert!(taken(&longest) && taken(&format!("{longest}y")) && !taken(&format!("{longest}yy")));
        assert!(taken(&["a"; MAX_BRANCH_PARTS].join("/")) && !taken(&["a"; MAX_BRANCH_PARTS + 1].join("/")));
    }

    #[test]
    fn branches_that_would_be_one_file_are_not_side_by_side() {
        let beside = |name: &str, other: &str| {
            check_beside(&name.parse().unwrap(), [other].into_iter()).map_err(|error| error.to_string())
        };
        for (a, b, reason) in [
            ("feature", "feature/x", "a file and a folder"),
            ("feature", "Feature/x/y", "a file and a folder"),
            ("main", "Main", "only in case"),
            ("straſe/ς", "STRASE/σ", "only in case"),
            ("a/b", "A/c", "only in case"),
            ("x/Y/1", "x/y/z/2", "only in case"),
        ] {
            for (name, other) in [(a, b), (b, a)] {
                let refusal = beside(name, other).unwrap_err();
                assert!(refusal.contains(reason) && refusal.contains(name) && refusal.contains(other), "{refusal}");
            }
        }
        for (a, b) in [
            ("feature", "feature-x/y"),
            ("a/b", "a/c"),
            ("a/b", "a-b"),
            ("main", "main2"),
            ("é", "e\u{301}"),
            ("a", "a"),
        ] {
            assert!(beside(a, b).is_ok() && beside(b, a).is_ok(), "{a} {b}");
        }
    }

    #[test]
    fn a_path_that_leaves_the_folder_or_is_in_a_clients_own_is_refused() {
        for path in [
            "..",
            ".",
            "../x",
            "a/../b",
            "a/./b",
            "a/..",
            "/etc/passwd",
            "/",
            "a//b",
            "a/",
            ".muse",
            ".muse/config.toml",
            ".MUSE/x",
            ".git",
            ".Git/hooks/x",
            ".git./x",
            ".git /x",
            ".g\u{200c}it/x",
            "git~1/x",
            "GIT~1",
            ".git::$INDEX_ALLOCATION/x",
            "a\\..\\b",
            "..\\x",
            "\\x",
            "C:\\x",
            "c:/x",
            "a\\\\b",
            ".git\\config",
            ".\\.muse\\x",
            "a/..\\b",
        ] {
            assert!(check_paths(&[path]).is_err(), "{path:?}");
        }
        let long = "é".repeat(128);
        assert!(check_paths(&[&long]).is_err() && check_paths(&[&format!("a/{long}/b")]).is_err());
        assert!(check_paths(&[&"é".repeat(127)]).is_ok());
        // Two parts where a backslash separates and one that is too long for a file where it is a letter.
        assert!(check_paths(&[&format!("{}\\{}", "x".repeat(200), "y".repeat(200))]).is_err());
        for path in [
            "a",
            "...",
            "a...",
            ".gitignore",
            ".museattributes",
            ".github/x",
            "sub/.git/config",
            "a/.muse",
            "git",
            "muse/x",
            "aux.c",
            "con",
            "a.",
            "a b ",
            "a:b",
            "C:x",
            "*?<>|",
            "-rf",
            "a\tb",
            "a\nb",
            "back\\slash",
            "tilde~",
            "é",
            "e\u{301}",
            "\u{202e}txt.exe",
        ] {
            assert_eq!(check_paths(&[path]), Ok(()), "{path:?}");
        }
    }

    fn tree() -> impl Strategy<Value = HashSet<String>> {
        let part = || prop::sample::select(vec!["a", "b", "a-", "a.c", "-", "ab"]);
        let path = (prop::collection::vec(part(), 1..4), prop::sample::select(vec!["/", "/", "/", "\\"]));
        prop::collection::hash_set(path.prop_map(|(parts, separator)| parts.join(separator)), 1..12)
    }

    proptest! {
        #[test]
        fn a_path_is_file_and_folder_exactly_if_another_lies_in_it(tree in tree()) {
            let mut paths: Vec<&str> = tree.iter().map(String::as_str).collect();
            paths.sort_unstable();
            let slashed: Vec<String> = paths.iter().map(|path| path.replace('\\', "/")).collect();
            let clash = slashed.iter().enumerate().any(|(at, path)| {
                slashed.iter().enumerate().any(|(other_at, other)| at != other_at && (path == other || is_below(path, other)))
            });
            prop_assert_eq!(check_paths(&paths).is_err(), clash, "{:?}", paths);
        }

        #[test]
        fn whatever_is_taken_is_a_branch(name in "\\PC{0,20}|[a-zA-Z./ -]{0,12}") {
            if let Ok(branch) = check_branch("branch", &name) {
                prop_assert_eq!(branch.as_str(), name.as_str());
                prop_assert_eq!(folded(&folded(&name)), folded(&name));
            }
        }
    }
}
