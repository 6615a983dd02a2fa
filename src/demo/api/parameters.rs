//! Parameters of lists and watches: what the API server rejects, with its messages. Pure.
//!
//! Source: kubernetes v1.36.3, `apimachinery/pkg/apis/meta/internalversion/validation`.

use super::query::Query;
use super::status::{FieldError, Refusal};

/// The requested version, if the parameters are valid.
pub(super) fn version(query: &Query) -> Result<Option<u64>, Refusal> {
    for key in ["timeoutSeconds", "limit"] {
        if let Some(text) = query.get(key).filter(|text| text.parse::<i64>().is_err()) {
            let why = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            return Err(Refusal::bad_request(why));
        }
    }
    check_match(query)?;
    let Some(text) = query.get("resourceVersion") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| no_version(text, query.flag("watch")))
}

/// A version that is not a number: the error of a watch differs from that of a list.
fn no_version(text: &str, watching: bool) -> Refusal {
    let why = format!(
        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    );
    if watching {
        Refusal::new(500, "", why)
    } else {
        Refusal::bad_request(format!("invalid resource version: {why}"))
    }
}

fn check_match(query: &Query) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
    let asked = query.get("resourceVersionMatch");
    let field = "resourceVersionMatch";
    let initial = query.get("sendInitialEvents").is_some();
    let fits = asked == Some("NotOlderThan");
    if query.flag("watch") {
        if initial && !fits {
            forbid(
                field,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        if asked.is_some() && !initial {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            forbid(field, why);
        }
        if let Some(other) = asked.filter(|_| !fits) {
            errors.push(FieldError::not_supported(field, other, &["NotOlderThan"]));
        }
    } else {
        if asked.is_some() && query.get("resourceVersion").is_none() {
            forbid(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if initial {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::invalid_options("ListOptions", &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> (u16, String) {
        let refusal = version(&Query::parse(query)).unwrap_err();
        (refusal.code, refusal.message)
    }

    #[test]
    fn a_version_is_a_number() {
        assert_eq!(version(&Query::parse("resourceVersion=12")).unwrap(), Some(12));
        assert_eq!(version(&Query::parse("")).unwrap(), None);
        assert_eq!(refused("resourceVersion=x").0, 400);
        assert_eq!(refused("watch=true&resourceVersion=x").0, 500);
    }

    #[test]
    fn a_match_needs_what_it_is_about() {
        assert_eq!(refused("resourceVersionMatch=Exact").0, 422);
        let (code, why) = refused("watch=1&sendInitialEvents=true");
        assert!(code == 422 && why.contains("to NotOlderThan"), "{why}");
        let fits = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(version(&Query::parse(fits)).unwrap(), None);
    }
}
