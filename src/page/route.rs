//! Which path and query ask for what. Pure.

use ephemon_model::PodUid;
use percent_encoding::percent_decode_str;

use super::asset::Asset;

/// Where the API is.
const API: &str = "/api/v1/";
/// Longest name of a container that is compared.
const MAX_NAME_BYTES: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A file of the page.
    Asset(Asset),
    /// The description of the API.
    OpenApi,
    /// All jobs.
    Jobs,
    /// A job.
    Job(PodUid),
    /// Samples of a job's containers that end after this moment, milliseconds since 1970.
    Samples(PodUid, u64),
    /// Lines of a job after this one, of one container or of all.
    Log(PodUid, u64, Option<String>),
    /// Changes, of one job or of all.
    Events(Option<PodUid>),
    /// Nothing that is there.
    Unknown,
    /// A value in the query is not valid.
    Invalid(&'static str),
}

// === impl Route ===

impl Route {
    /// Of a request's path and query; `None` if the page has nothing to do with the path.
    pub fn of(path: &str, query: Option<&str>) -> Option<Self> {
        if let Some(asset) = Asset::at(path) {
            return Some(Self::Asset(asset));
        }
        let path = path.strip_prefix(API)?;
        let query = query.unwrap_or_default();
        Some(Self::api(path, query).unwrap_or_else(Self::Invalid))
    }

    fn api(path: &str, query: &str) -> Result<Self, &'static str> {
        let mut parts = path.split('/');
        let parts = [(); 4].map(|()| parts.next());
        Ok(match parts {
            [Some("openapi.json"), None, ..] => Self::OpenApi,
            [Some("jobs"), None, ..] => Self::Jobs,
            [Some("events"), None, ..] => {
                let job = value(query, "job").map(|id| PodUid::parse(&id));
                Self::Events(job.transpose().map_err(|_| "`job` is not the id of a job")?)
            }
            [Some("jobs"), Some(id), rest, None] => match (PodUid::parse(id), rest) {
                (Ok(id), None) => Self::Job(id),
                (Ok(id), Some("samples")) => Self::Samples(id, number(query, "since")?),
                (Ok(id), Some("log")) => {
                    Self::Log(id, number(query, "after")?, value(query, "container"))
                }
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        })
    }
}

/// The first value of this name, decoded.
fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let value: Vec<u8> = percent_decode_str(value).take(MAX_NAME_BYTES).collect();
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// The number of this name; 0 if there is none.
fn number(query: &str, name: &str) -> Result<u64, &'static str> {
    let Some(value) = value(query, name) else { return Ok(0) };
    value.parse().map_err(|_| "`since` and `after` must be whole numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_told_apart() {
        let uid = "0e269fa4-f505-4963-9096-958063077203";
        let id = || PodUid::parse(uid).unwrap();
        for (path, query, route) in [
            ("jobs", "", Route::Jobs),
            ("jobs", "x=1", Route::Jobs),
            ("openapi.json", "", Route::OpenApi),
            (&format!("jobs/{uid}"), "", Route::Job(id())),
            (&format!("jobs/{uid}/samples"), "since=5", Route::Samples(id(), 5)),
            (&format!("jobs/{uid}/samples"), "", Route::Samples(id(), 0)),
            (
                &format!("jobs/{uid}/log"),
                "after=3&container=a%20b",
                Route::Log(id(), 3, Some("a b".into())),
            ),
            ("events", "", Route::Events(None)),
            ("events", &format!("job={uid}"), Route::Events(Some(id()))),
            ("jobs/x", "", Route::Unknown),
            ("jobs/", "", Route::Unknown),
            (&format!("jobs/{uid}/samples/x"), "", Route::Unknown),
            (&format!("jobs/{uid}/env"), "", Route::Unknown),
            ("", "", Route::Unknown),
        ] {
            assert_eq!(Route::of(&format!("/api/v1/{path}"), Some(query)), Some(route), "{path}");
        }
        for (path, query) in [("events", "job=x"), (&*format!("jobs/{uid}/samples"), "since=-1")] {
            let route = Route::of(&format!("/api/v1/{path}"), Some(query));
            assert!(matches!(route, Some(Route::Invalid(_))), "{route:?}");
        }
        assert_eq!(Route::of("/metrics", None), None);
        assert_eq!(Route::of("/api/v2/jobs", None), None);
        assert!(matches!(Route::of("/", None), Some(Route::Asset(_))));
    }
}
