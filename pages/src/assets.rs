//! The one style sheet, the one script and the icon, and the headers that pages go with.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// The `Content-Security-Policy` of every page. Nothing inline runs and nothing comes from elsewhere.
pub const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     media-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The `Content-Security-Policy` of raw bytes: whatever they are, they run nothing and load nothing.
pub const RAW_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// What goes with every page and with raw bytes, besides the policies.
pub const HEADERS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// The `Cache-Control` of an asset: its name changes with its content.
pub const CACHE: &str = "public, max-age=31536000, immutable";

/// A file that pages load, under `/-/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name with a hash of its content: `style.0123456789abcdef.css`.
    pub name: String,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, end: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{stem}.{hash}.{end}"), content_type, bytes }
    }

    /// Its path on the hub.
    pub fn url(&self) -> String {
        format!("/-/{}", self.name)
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("style", "css", "text/css; charset=utf-8", include_bytes!("../assets/style.css")),
        Asset::new("app", "js", "text/javascript; charset=utf-8", include_bytes!("../assets/app.js")),
        Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ]
});

/// All of them: the style sheet, the script, the icon.
pub fn assets() -> &'static [Asset] {
    &*ASSETS
}

/// The asset of a name, as the last segment of its path. Pages of before an upgrade, which browsers may have kept, name it with
/// another hash.
pub fn asset(name: &str) -> Option<&'static Asset> {
    let parts = |name: &str| Some((name.split_once('.')?.0.to_owned(), name.rsplit_once('.')?.1.to_owned()));
    ASSETS.iter().find(|asset| asset.name == name).or_else(|| {
        let wanted = parts(name)?;
        ASSETS.iter().find(|asset| parts(&asset.name).as_ref() == Some(&wanted))
    })
}

/// What the frame of a page links to.
pub(crate) fn style_url() -> String {
    let [style, _, _] = &*ASSETS;
    style.url()
}

/// What the frame of a page links to.
pub(crate) fn script_url() -> String {
    let [_, script, _] = &*ASSETS;
    script.url()
}

/// What the frame of a page links to.
pub(crate) fn icon_url() -> String {
    let [_, _, icon] = &*ASSETS;
    icon.url()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_are_small() {
        let bytes: usize = assets().iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes < 30 << 10, "{bytes} bytes");
    }
}
