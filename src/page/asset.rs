//! The page's own files, and the headers that keep it to them.

/// Headers of every answer. The page runs its own scripts and styles and no others, asks its own
/// server and no other, is shown in no other page's frame, and tells no other server where it was.
pub const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    // A browser keeps nothing of it on disk.
    ("cache-control", "no-store"),
];

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asset {
    /// The document.
    Document,
    /// What draws time axes, bars and curves.
    Chart,
    /// What makes elements.
    Dom,
    /// What makes texts of values.
    Text,
    /// What asks the API.
    Source,
    /// What shows the list of jobs.
    JobsView,
    /// What shows a job.
    JobView,
    /// The script that starts the page.
    Script,
    /// The style.
    Style,
    /// The icon.
    Icon,
}

/// What kind of file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// JSON.
    Json,
    /// A stream of server-sent events.
    Events,
    /// A file of the page, by its media type.
    File(&'static str),
}

// === impl Asset ===

impl Asset {
    const ALL: [Self; 10] = [
        Self::Document,
        Self::Chart,
        Self::Dom,
        Self::Text,
        Self::Source,
        Self::JobsView,
        Self::JobView,
        Self::Script,
        Self::Style,
        Self::Icon,
    ];

    /// The file at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asset| asset.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Document => "/",
            Self::Chart => "/page/chart.js",
            Self::Dom => "/page/dom.js",
            Self::Text => "/page/text.js",
            Self::Source => "/page/source.js",
            Self::JobsView => "/page/jobs.js",
            Self::JobView => "/page/job.js",
            Self::Script => "/page/main.js",
            Self::Style => "/page/style.css",
            Self::Icon => "/page/icon.svg",
        }
    }

    /// What kind of file it is.
    pub fn sort(self) -> Sort {
        Sort::File(match self {
            Self::Document => "text/html; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Icon => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        })
    }

    /// Its text.
    pub fn content(self) -> &'static [u8] {
        match self {
            Self::Document => include_bytes!("assets/index.html"),
            Self::Chart => include_bytes!("assets/chart.js"),
            Self::Dom => include_bytes!("assets/dom.js"),
            Self::Text => include_bytes!("assets/text.js"),
            Self::Source => include_bytes!("assets/source.js"),
            Self::JobsView => include_bytes!("assets/jobs.js"),
            Self::JobView => include_bytes!("assets/job.js"),
            Self::Script => include_bytes!("assets/main.js"),
            Self::Style => include_bytes!("assets/style.css"),
            Self::Icon => include_bytes!("assets/icon.svg"),
        }
    }
}

// === impl Sort ===

impl Sort {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
            Self::File(kind) => kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all files together.
    const MAX_BYTES: usize = 150_000;

    #[test]
    fn the_files_are_small_and_name_no_other_server() {
        let all: usize = Asset::ALL.iter().map(|asset| asset.content().len()).sum();
        assert!(all < MAX_BYTES, "{all}");
        for asset in Asset::ALL {
            let text = str::from_utf8(asset.content()).unwrap();
            // The name of SVG's elements is no address that is asked for.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            let text = text.replace("\"https://\"", "").replace("\"http://\"", "");
            let foreign = text.find("://");
            assert_eq!(foreign, None, "{asset:?}");
        }
    }

    #[test]
    fn no_script_makes_markup_of_text_and_no_markup_has_script() {
        for asset in Asset::ALL {
            let text = str::from_utf8(asset.content()).unwrap();
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "setAttribute(\"style\"",
                "setAttribute(\"on",
                " style=\"",
                " onclick=",
                "javascript:",
            ] {
                assert!(!text.contains(banned), "{asset:?} has {banned}");
            }
        }
    }

    #[test]
    fn every_file_that_a_file_names_is_there() {
        for asset in Asset::ALL {
            let text = str::from_utf8(asset.content()).unwrap();
            let quoted = text.split('"').filter(|text| text.starts_with("/page/"));
            for path in quoted {
                assert!(Asset::at(path).is_some(), "{asset:?} names {path}");
            }
        }
    }
}
