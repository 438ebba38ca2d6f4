//! The crates are the floors of a house. Each stands on lower ones, and in none do files import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// From the ground up. Functions know nothing of each other, and neither do crates of one floor.
const FLOORS: [&[&str]; 6] = [
    &["common", "crc-fast", "pages"],
    &["store"],
    &["fsck", "service"],
    &["client", "functions/*"],
    &["local"],
    &["benches", "fuzz", "simulation", "tests"],
];
/// Those that stand on a crate of their own floor all the same: they measure and simulate with the client kit.
const BESIDE: [(&str, &str); 2] = [("benches", "tests"), ("simulation", "tests")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder of each crate, as [`FLOORS`] has it, with the names of the crates of the project that it is linked with.
fn crates() -> Vec<(String, PathBuf, Vec<String>)> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folder = |path: &str| Path::new(path).strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    packages
        .iter()
        .map(|package| {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let ours = dependencies.filter(|dependency| dependency["kind"] != "dev");
            let ours = ours.filter_map(|dependency| dependency["path"].as_str()).map(folder);
            (
                folder(manifest.parent().unwrap().to_str().unwrap()),
                manifest.parent().unwrap().to_owned(),
                ours.collect(),
            )
        })
        .collect()
}

fn floor(folder: &str) -> usize {
    let is_of = |name: &&str| *name == folder || name.strip_suffix('*').is_some_and(|names| folder.starts_with(names));
    let floor = FLOORS.iter().position(|floor| floor.iter().any(is_of));
    floor.unwrap_or_else(|| panic!("{folder} has no floor"))
}

#[test]
fn each_crate_stands_on_lower_floors_only() {
    for (folder, _, dependencies) in crates() {
        for below in dependencies {
            let is_beside = BESIDE.contains(&(&folder, &below));
            assert!(floor(&below) < floor(&folder) || is_beside, "{folder} is linked with {below}");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for (folder, path, _) in crates() {
        let files = Files::of(&path.join("src"));
        let mut imports: BTreeMap<_, _> =
            files.0.iter().map(|(module, file)| (module, files.imports(module, file))).collect();
        // What imports nothing that is left is in no circle.
        while let Some(module) = imports.iter().find(|(_, imports)| imports.is_empty()).map(|(module, _)| *module) {
            imports.remove(module);
            for imports in imports.values_mut() {
                imports.remove(module);
            }
        }
        let name = |module: &Vec<String>| module.join("::");
        circles.extend(imports.iter().map(|(module, imports)| {
            format!(
                "{folder} {} -> {}",
                name(module),
                imports.iter().map(|module| name(module)).collect::<Vec<_>>().join(", ")
            )
        }));
    }
    assert!(circles.is_empty(), "in circles, or above one:\n{}", circles.join("\n"));
}

/// The files of a crate but for its tests: the path of each module, without comments and tests.
struct Files(BTreeMap<Vec<String>, String>);

impl Files {
    fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![(folder.to_owned(), Vec::new())];
        while let Some((folder, parents)) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let mut module: Vec<String> = parents.clone();
                if name == "tests" {
                    continue;
                }
                if !matches!(name.as_str(), "mod" | "lib" | "main") {
                    module.push(name);
                }
                if path.is_dir() {
                    folders.push((path, module));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.entry(module).or_insert_with(String::new).push_str(&code(&path));
                }
            }
        }
        Self(files)
    }

    /// The modules that a file takes something from, but for those that it is a part of: a folder's own file has what the others
    /// in it share, and says what there is.
    fn imports(&self, module: &[String], file: &str) -> BTreeSet<&Vec<String>> {
        let mut found = BTreeSet::new();
        for mut path in paths(file) {
            let mut from = module.to_vec();
            match path[0].as_str() {
                "crate" => from.clear(),
                "super" => drop(from.pop()),
                "self" => {}
                // A child, which is named without a word before it.
                child if self.0.contains_key(&[module, &[child.to_owned()]].concat()) => path.insert(0, String::new()),
                _ => continue,
            }
            from.extend(path.drain(1..));
            while !from.is_empty() && !self.0.contains_key(&from) {
                from.pop();
            }
            if let Some((imported, _)) = self.0.get_key_value(&from)
                && !module.starts_with(imported)
            {
                found.insert(imported);
            }
        }
        found
    }
}

/// A file without its tests and comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// All paths in a text, those in braces each by itself: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let word: &str = &rest[..rest.find(|character| !is_word(character)).unwrap_or(rest.len())];
        if !word.is_empty() {
            path.push(word.to_owned());
            rest = &rest[word.len()..];
            if !rest.starts_with("::") {
                found.push(std::mem::replace(&mut path, open.last().cloned().unwrap_or_default()));
            }
        } else if let Some(after) = rest.strip_prefix("::{") {
            open.push(path.clone());
            rest = after;
        } else if let Some(after) = rest.strip_prefix("::") {
            rest = after;
        } else {
            if first == '}' {
                open.pop();
                path = open.last().cloned().unwrap_or_default();
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found.retain(|path| path.len() > 1);
    found
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let read = |text| paths(text).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(read("use crate::{a::{b, c::D}, e::f};"), ["crate::a::b", "crate::a::c::D", "crate::e::f"]);
    assert_eq!(read("let x = super::y::z(1) + one; fn f() { a::b }"), ["super::y::z", "a::b"]);
}

#[test]
fn every_link_of_a_page_leads_to_a_file_that_is_there() {
    let root = root();
    let mut pages = vec![root.clone()];
    let mut links = 0;
    while let Some(path) = pages.pop() {
        if path.is_dir() {
            let hidden = |path: &Path| path.file_name().is_some_and(|name| name == "target" || name == ".git");
            let inside = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            pages
                .extend(inside.filter(|path| {
                    !hidden(path) && (path.is_dir() || path.extension().is_some_and(|end| end == "md"))
                }));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            assert!(path.with_file_name(link).exists(), "{}: {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 100, "{links} links were found");
}
