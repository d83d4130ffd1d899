//! The request of a log line, and what counts as a page view.

/// Extensions of files that belong to a page or are fetched by programs: getting one is no page view.
pub const ASSET_EXTENSIONS: &[&str] = &[
    // Styles, scripts and their data.
    "css",
    "js",
    "mjs",
    "map",
    "json",
    "wasm",
    "webmanifest",
    // Images.
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "avif",
    "ico",
    "bmp",
    "tif",
    "tiff",
    // Fonts.
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    // Feeds and site maps.
    "xml",
    "rss",
    "atom",
    // Sound and film.
    "mp3",
    "ogg",
    "oga",
    "wav",
    "flac",
    "m4a",
    "mp4",
    "m4v",
    "webm",
    "ogv",
    "mov",
    "avi",
    // Downloads.
    "pdf",
    "zip",
    "gz",
    "tgz",
    "bz2",
    "xz",
    "tar",
    "7z",
    "rar",
    "jar",
    "war",
    "deb",
    "rpm",
    "apk",
    "dmg",
    "exe",
    "msi",
    "iso",
    "bin",
    "csv",
];

/// Files that programs ask every site for.
const WELL_KNOWN_FILES: &[&str] = &[
    "/robots.txt",
    "/ads.txt",
    "/favicon.ico",
    "/humans.txt",
    "/security.txt",
];

/// A request line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET`.
    pub method: Option<String>,
    /// Path with query, or whatever stood in its place.
    pub target: Option<String>,
    /// Such as `HTTP/1.1`; HTTP/0.9 has none.
    pub protocol: Option<String>,
    /// The whole text, when it is no request line.
    pub malformed: Option<String>,
}

impl Request {
    /// Takes `GET /path?query HTTP/1.1` apart. Blanks inside the target stay. `-` (no request was sent) has no part at all.
    pub fn read(text: &str) -> Self {
        if text.is_empty() || text == "-" {
            return Self::default();
        }
        let (method, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_method = (3..=20).contains(&method.len())
            && method
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_');
        let (target, protocol) = match rest.rsplit_once(' ') {
            Some((target, protocol)) if protocol.starts_with("HTTP/") => (target, Some(protocol)),
            _ => (rest, None),
        };
        if !is_method || target.is_empty() {
            return Self {
                malformed: Some(text.to_owned()),
                ..Self::default()
            };
        }
        Self {
            method: Some(method.to_owned()),
            target: Some(target.to_owned()),
            protocol: protocol.map(str::to_owned),
            malformed: None,
        }
    }

    /// Whether a person saw a page: module note.
    pub fn is_page_view(&self, status: u16) -> bool {
        let answered = (200..300).contains(&status) || status == 304;
        let path = self.target.as_deref().map(path_of);
        answered && self.method.as_deref() == Some("GET") && path.is_some_and(|path| !is_asset(path))
    }
}

/// The path of a target, which may be absolute (`http://host/path`), without query and fragment.
fn path_of(target: &str) -> &str {
    let without_host = match target.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    };
    without_host.split(['?', '#']).next().unwrap_or_default()
}

fn is_asset(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let file = path.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    WELL_KNOWN_FILES.iter().any(|name| path.ends_with(name))
        || extension.is_some_and(|extension| ASSET_EXTENSIONS.contains(&extension))
}
