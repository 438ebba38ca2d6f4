//! A repository, its folders and its files.

use std::sync::Arc;

use common::id::ObjectId;
use common::location::ObjectLocation;
use common::wire::WireError;
use jiff::Timestamp;
use lambda_http::Response;
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use lambda_http::http::{HeaderValue, StatusCode};
use pages::kind::Kind;
use pages::page::blob::{BlobPage, needs_bytes};
use pages::page::repo::{Readme, RepoPage, readme_of};
use pages::page::tree::TreePage;
use pages::parts::{Entry, EntryKind};
use pages::{assets, kind, urls};
use percent_encoding::percent_decode_str;
use service::conditions::{Asked, is_known, is_same};
use service::{AnswerBody, file};
use store::repo::Load;
use store::table::items::Visibility;

use crate::at::Found;
use crate::content::{Files, size_of};
use crate::respond::{self, Version, page};
use crate::{Opened, Reader};

/// Entries of a folder that a page shows.
const MAX_ENTRIES: usize = 2_000;
/// Bytes of a README that a page shows.
const MAX_README: u64 = 512 << 10;
/// Bytes that are looked at to tell text.
const SNIFFED: usize = 8 << 10;
/// Bytes of a file that is looked at.
const MAX_SNIFFED: u64 = 1 << 20;

/// `/{owner}/{slug}`.
pub(crate) async fn repo(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let size = opened.repo.packs.iter().map(|(_, summary)| summary.size).sum::<u64>();
    let mut version = Version::of_repo(reader, &opened);
    version.add(&size.to_string());
    page(reader, version, || async {
        let branch = opened.frame.default_branch.clone();
        let mut shown = RepoPage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            branches: opened.repo.heads.len() as u64,
            size: Some(size),
            ..RepoPage::default()
        };
        if opened.repo.heads.contains_key(&branch) {
            let found = reader.find(&opened, &branch).await?;
            shown.at = reader.at(&opened, &branch, &found.id);
            let head = [(found.id.clone(), found.commit.clone())];
            let commits = [&found.commit];
            let (lines, files, log) =
                tokio::try_join!(reader.commits(&opened, &head), reader.files(&opened, &commits), async {
                    Ok(reader.hub.store.push_log(&opened.repo.id, None, 1).await?)
                },)?;
            shown.head = lines.into_iter().next().map(|(line, _)| line);
            shown.pushed_at = log.first().and_then(|(_, line)| line.at.parse::<Timestamp>().ok());
            let files = files.into_iter().next().unwrap_or_default();
            let folder = Folder::of(&files, "");
            shown.readme = reader.readme(&opened, &files, &folder, "").await?;
            (shown.entries, shown.has_more_entries) = (folder.entries, folder.has_more);
        }
        Ok(shown)
    })
    .await
}

/// `/{owner}/{slug}/tree/{ref}/{path}`.
pub(crate) async fn tree(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let (name, path) = (reader.ref_in_path(), path_in_path(reader));
    let found = reader.find(&opened, &name).await?;
    let version = Version::of_commits(reader, &opened, &[&found.id]);
    let answer = page(reader, version, || async {
        let files = reader.files_of(&opened, &found).await?;
        let folder = Folder::of(&files, &path);
        if folder.entries.is_empty() && !path.is_empty() {
            return Err(unknown_path(&path));
        }
        let readme = reader.readme(&opened, &files, &folder, &path).await?;
        let page = TreePage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            at: reader.at(&opened, &name, &found.id),
            path: path.clone(),
            entries: folder.entries,
            has_more_entries: folder.has_more,
            readme,
        };
        Ok(page)
    })
    .await;
    match answer {
        Err(WireError::UnknownPath(_)) => reader.elsewhere(&opened, &name, &path).await,
        answer => answer,
    }
}

/// `/{owner}/{slug}/blob/{ref}/{path}`.
pub(crate) async fn blob(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let (name, path) = (reader.ref_in_path(), path_in_path(reader));
    let found = reader.find(&opened, &name).await?;
    let version = Version::of_commits(reader, &opened, &[&found.id]);
    let is_fixed = found.is_fixed;
    let answer = page(reader, version, || async {
        let (object, place) = reader.file(&opened, &found, &path).await?;
        let size = size_of(&place);
        let bytes = match place {
            ObjectLocation::Packed(place) if needs_bytes(&path, Some(size)) => {
                reader.records(&opened, &[place]).await?.pop()
            }
            _ => None,
        };
        let page = BlobPage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            at: reader.at(&opened, &name, &found.id),
            path: path.clone(),
            object_id: object.to_string(),
            size: Some(size),
            bytes: bytes.map(|bytes| bytes.to_vec()),
            is_plain: reader.query("plain").is_some(),
        };
        Ok(page)
    })
    .await;
    let mut response = match answer {
        Err(WireError::UnknownPath(_)) => return reader.elsewhere(&opened, &name, &path).await,
        answer => answer?,
    };
    if is_fixed {
        respond::set_immutable(response.headers_mut(), reader, &opened);
    }
    Ok(response)
}

/// `/{owner}/{slug}/raw/{ref}/{path}`: the bytes, of a type that no browser runs.
pub(crate) async fn raw(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let (name, path) = (reader.ref_in_path(), path_in_path(reader));
    let found = reader.find(&opened, &name).await?;
    let (object, place) = {
        let _permit = reader.hub.store.page_permit().await?;
        reader.file(&opened, &found, &path).await?
    };
    let size = size_of(&place);
    reader.hub.settings.anonymous_reads.check(reader.credential.as_ref(), size)?;
    // Only of a name that says nothing are the bytes looked at.
    let is_text = match place {
        ObjectLocation::Packed(place) if size <= MAX_SNIFFED && kind::of_path(&path) == Kind::Other => {
            looks_like_text(&reader.records(&opened, &[place]).await?.pop().unwrap_or_default())
        }
        _ => false,
    };
    let headers = reader.call.headers();
    let mut response = if headers.get_all(IF_NONE_MATCH).iter().any(|known| is_known(known, &object)) {
        let mut response = Response::new(AnswerBody::whole(Vec::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        // A part of one file is not to be put together with a part of another: a branch moves.
        let is_of_this = headers.get(IF_RANGE).is_none_or(|known| is_same(known, &object));
        let asked = Asked::of(headers.get(RANGE).filter(|_| is_of_this), size)?;
        file::respond(reader.hub, &opened.repo, &opened.view, &object.key(), place, &asked).await?
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&format!("\"{object}\"")).map_err(WireError::internal)?);
    headers.insert(VARY, HeaderValue::from_static("cookie"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind::raw_type(&path, is_text)));
    let cache = match opened.repo.meta.visibility {
        Visibility::Public => "private, no-cache",
        Visibility::Private => "private, no-store",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if matches!(kind::of_path(&path), Kind::Audio | Kind::Midi | Kind::Binary) {
        // By itself no browser plays it in the sandbox, so it is saved. A page that plays it is not asked.
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    respond::set_policy(headers, assets::RAW_POLICY);
    if found.is_fixed {
        respond::set_immutable(headers, reader, &opened);
    }
    Ok(response)
}

impl Reader<'_> {
    /// The files at a commit.
    pub(crate) async fn files_of(&self, opened: &Opened, found: &Found) -> Result<Arc<Files>, WireError> {
        Ok(self.files(opened, &[&found.commit]).await?.into_iter().next().unwrap_or_default())
    }

    /// Leads from the URL of a file to the folder of that path, and from that of a folder to the file.
    async fn elsewhere(&self, opened: &Opened, name: &str, path: &str) -> Result<Response<AnswerBody>, WireError> {
        let found = self.find(opened, name).await?;
        let files = self.files_of(opened, &found).await?;
        let to = if files.get(path).is_some() {
            urls::blob(&opened.frame, name, path)
        } else if Folder::of(&files, path).entries.is_empty() {
            return Err(unknown_path(path));
        } else {
            urls::tree(&opened.frame, name, path)
        };
        respond::redirect(self.hub, self.call, &to)
    }

    /// A file of a commit that a reader may see.
    async fn file(&self, opened: &Opened, found: &Found, path: &str) -> Result<(ObjectId, ObjectLocation), WireError> {
        let files = self.files_of(opened, found).await?;
        let object = files.get(path).cloned().ok_or_else(|| unknown_path(path))?;
        if opened.repo.purged.has(&object.key()) {
            return Err(WireError::ObjectGone(object));
        }
        let known = self.objects(opened, &[&object]).await?;
        let place = known.get(&object.key()).copied().ok_or_else(|| WireError::UnknownObject(object.clone()))?;
        Ok((object, place))
    }

    /// The README of a folder, if it has one that is not too large.
    async fn readme(
        &self,
        opened: &Opened,
        files: &Files,
        folder: &Folder,
        path: &str,
    ) -> Result<Option<Readme>, WireError> {
        let names =
            folder.entries.iter().filter(|entry| entry.kind != EntryKind::Folder).map(|entry| entry.name.as_str());
        let Some(name) = readme_of(names) else {
            return Ok(None);
        };
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let Some(object) = files.get(&path) else {
            return Ok(None);
        };
        let known = self.objects(opened, &[object]).await?;
        match known.get(&object.key()) {
            Some(ObjectLocation::Packed(place)) if u64::from(place.length) <= MAX_README => {
                let bytes = self.records(opened, &[*place]).await?.pop().unwrap_or_default();
                Ok(Some(Readme { path, bytes: bytes.to_vec() }))
            }
            _ => Ok(None),
        }
    }
}

/// What lies in a folder.
struct Folder {
    entries: Vec<Entry>,
    has_more: bool,
}

impl Folder {
    /// The folders in it, and then the files, each by name.
    fn of(files: &Files, path: &str) -> Self {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let first = files.0.partition_point(|(known, _)| known.as_str() < prefix.as_str());
        let inside = files.0.iter().skip(first).map_while(|(known, _)| known.strip_prefix(&prefix));
        let (mut folders, mut here): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for rest in inside {
            match rest.split_once('/') {
                // What lies in one folder comes together, but for names that sort between: `a`, `a.b`, `a/c`.
                Some((folder, _)) if folders.last() != Some(&folder) => folders.push(folder),
                Some(_) => {}
                None => here.push(rest),
            }
        }
        folders.dedup();
        let has_more = folders.len() + here.len() > MAX_ENTRIES;
        let folders = folders.into_iter().map(|name| Entry { name: name.to_owned(), kind: EntryKind::Folder });
        let here = here.into_iter().map(|name| Entry { name: name.to_owned(), kind: EntryKind::File { size: None } });
        Self { entries: folders.chain(here).take(MAX_ENTRIES).collect(), has_more }
    }
}

/// The path in the path: its names, each decoded, with slashes between.
fn path_in_path(reader: &Reader<'_>) -> String {
    let encoded = reader.call.raw_path_parameter("path").unwrap_or_default();
    let names = encoded.split('/').filter(|name| !name.is_empty());
    names.map(|name| percent_decode_str(name).decode_utf8_lossy()).collect::<Vec<_>>().join("/")
}

fn unknown_path(path: &str) -> WireError {
    WireError::UnknownPath(path.chars().take(200).collect())
}

fn looks_like_text(bytes: &[u8]) -> bool {
    let first = bytes.get(..SNIFFED.min(bytes.len())).unwrap_or_default();
    let is_cut = |error: std::str::Utf8Error| error.error_len().is_none();
    !first.contains(&0) && std::str::from_utf8(first).map_or_else(is_cut, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        let mut files: Vec<(String, ObjectId)> =
            paths.iter().map(|path| ((*path).to_owned(), ObjectId::of(path.as_bytes()))).collect();
        files.sort_unstable();
        Files(files)
    }

    #[test]
    fn a_folder_has_its_folders_first_and_each_name_once() {
        let files = files(&["a", "b/c", "b.txt", "b/d/e", "b/d/f", "bb/g", "z"]);
        let names = |path| Folder::of(&files, path).entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        assert_eq!(names(""), ["b", "bb", "a", "b.txt", "z"]);
        assert_eq!(names("b"), ["d", "c"]);
        assert_eq!(names("b/d"), ["e", "f"]);
        assert_eq!(names("nowhere"), Vec::<String>::new());
        assert_eq!(names("a"), Vec::<String>::new(), "a file is no folder");
    }

    #[test]
    fn text_is_told_by_its_bytes() {
        assert!(looks_like_text("do re mi \u{e9}".as_bytes()) && looks_like_text(b""));
        assert!(!looks_like_text(b"MThd\0\0\0\x06") && !looks_like_text(&[0xFF, 0xFE, b'a']));
        let mut cut = vec![b'a'; SNIFFED - 1];
        cut.extend("\u{e9}".as_bytes());
        assert!(looks_like_text(&cut), "a character may be cut where sniffing ends");
    }
}
