//! The hook's response: a JSON object in the file that the runner created for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ephemon_contract::plain_file;
use rustix::process::geteuid;
use serde::Serialize;

use super::state::State;

/// A response. Null fields are omitted, because the runner does not accept all of them.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
    /// Required if there is a job container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_alpine: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Context>,
}

/// `job.container` and `job.services`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Shown>,
    /// In the order of the request. Omitted if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) services: Vec<Shown>,
}

/// What expressions of the workflow can read about a container.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Shown {
    pub(super) id: String,
    /// There is only one network: the pod's.
    pub(super) network: String,
    /// Maps the container port to the port to connect to. Required, even if empty.
    pub(super) ports: BTreeMap<String, String>,
}

// === impl Response ===

impl Response {
    /// Writes the response. It contains the job's token and environment, so other users must not be
    /// able to read the file, which is in a directory that the job's containers share.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let mut how = fs::OpenOptions::new();
        how.write(true).truncate(true);
        let mut file = plain_file::open(path, &how, Some(0o600))?;
        // The owner can change a file's mode, and may have it open, so the owner must be this user.
        if file.metadata()?.uid() != geteuid().as_raw() {
            return Err(io::Error::other("it was replaced by a file of another user"));
        }
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_answer_is_an_empty_object() {
        assert_eq!(serde_json::to_value(Response::default()).unwrap(), json!({}));
    }

    #[test]
    fn services_have_ports_even_when_they_have_none() {
        let shown = Shown { id: "redis".into(), network: "pod".into(), ..Shown::default() };
        let context = Context { container: None, services: vec![shown] };
        let response = Response { context: Some(context), ..Response::default() };
        let wanted =
            json!({"context": {"services": [{"id": "redis", "network": "pod", "ports": {}}]}});
        assert_eq!(serde_json::to_value(response).unwrap(), wanted);
    }

    /// The response contains the job's token.
    #[test]
    fn what_a_job_put_in_the_files_place_gets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("kept"), "").unwrap();
        fs::hard_link(at("kept"), at("second-name")).unwrap();
        fs::write(at("of-another"), "").unwrap();
        let mut places = vec!["second-name"];
        if geteuid().is_root() {
            std::os::unix::fs::chown(at("of-another"), Some(1234), None).unwrap();
            places.push("of-another");
        }
        for place in places {
            let response = Response { is_alpine: Some(true), ..Response::default() };
            assert!(response.write(&at(place)).is_err(), "{place}");
            assert_eq!(fs::read_to_string(at(place)).unwrap(), "", "{place}");
        }
    }

    #[test]
    fn the_file_the_runner_made_is_filled_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("response.json");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Response { is_alpine: Some(true), ..Response::default() }.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"isAlpine":true}"#);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
