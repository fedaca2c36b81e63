//! The API server's audit log: who asked for what.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A request that the API server has answered, or begun to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditedCall {
    pub verb: String,
    pub group: String,
    /// With its subresource, such as `pods/status`. Empty for what is no resource.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub code: u16,
}

pub(crate) fn calls_of(user: &str, log: &str) -> Result<Vec<AuditedCall>> {
    // A line that is being written has no end yet.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).context("read the audit log"));
    events
        .filter(|event| event.as_ref().map_or(true, |event| event["user"]["username"] == user))
        .map(|event| event.map(|event| call(&event)))
        .collect()
}

fn call(event: &Value) -> AuditedCall {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(subresource) => format!("{}/{subresource}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    AuditedCall {
        verb: text(&event["verb"]),
        group: text(&object["apiGroup"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_one_user_are_read() {
        let log = concat!(
            r#"{"user":{"username":"a"},"verb":"get","objectRef":{"resource":"secrets","namespace":"n","name":"s"},"responseStatus":{"code":403}}"#,
            "\n",
            r#"{"user":{"username":"b"},"verb":"list"}"#,
            "\n",
            r#"{"user":{"username":"a"},"verb":"pat"#,
        );
        let calls = calls_of("a", log).unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(
            (calls[0].verb.as_str(), calls[0].resource.as_str(), calls[0].code),
            ("get", "secrets", 403)
        );
    }
}
