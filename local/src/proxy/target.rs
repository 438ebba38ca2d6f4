//! The repository that a path is of.

/// The `/{owner}/{slug}` of a path that lies in a repository and takes uploads.
pub(super) fn repository(path: &str) -> Option<&str> {
    let mut segments = path.strip_prefix('/')?.splitn(3, '/');
    let (owner, slug, endpoint) = (segments.next()?, segments.next()?, segments.next()?);
    let of_the_hub_itself = matches!(owner, "api" | "o") || endpoint == "uploads";
    if of_the_hub_itself || owner.is_empty() || slug.is_empty() || endpoint.is_empty() {
        return None;
    }
    path.get(..owner.len() + slug.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn only_the_paths_below_a_repository_are_of_it() {
        assert_eq!(repository("/dev/song/push"), Some("/dev/song"));
        assert_eq!(repository("/dev/song/push/objects"), Some("/dev/song"));
        assert_eq!(repository("/d%C3%A9v/song/fetch"), Some("/d%C3%A9v/song"));
        for path in [
            "/",
            "/dev",
            "/dev/song",
            "/dev/song/",
            "//song/push",
            "/dev//push",
            "/api/repos",
            "/api/repos/x",
            "/o/id/x",
        ] {
            assert_eq!(repository(path), None, "{path}");
        }
        assert_eq!(repository("/dev/song/uploads"), None);
    }
}
