//! Reads a query string: what a call selects.

use std::borrow::Cow;

use crate::{
    clock::Millis,
    cursor::{self, Position},
    entry::FailureFunctionState,
    filter::Filter,
    operation::Endpoint,
    refusal::Refusal,
};

/// How many entries a list call gives at most.
pub const LIST_LIMIT: usize = 100;

/// What a call asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Entries by ID, without repetitions. Filters, cursor and count do not matter then.
    Ids(Vec<String>),
    /// At most `limit` entries that match, after a position.
    Matching { filter: Box<Filter>, after: Position, cursor: Option<String>, limit: usize },
}

impl Selection {
    /// Reads the selection of a bulk call on the DLQ named `dlq`, which handles at most so many entries.
    pub fn of_bulk_call(pairs: &Pairs, endpoint: Endpoint, dlq: &str, most: usize) -> Result<Self, Refusal> {
        if let Some(name) = NOT_FOR_A_DLQ.into_iter().find(|name| pairs.values(name).next().is_some()) {
            return Err(Refusal::bad_request(format!("{name} is no filter of a DLQ")));
        }
        let count = count(pairs)?.unwrap_or(most).min(most);
        Self::read(pairs, endpoint, dlq, count, most)
    }

    /// Reads the selection of a list call on the DLQ named `dlq`.
    pub fn of_list_call(pairs: &Pairs, endpoint: Endpoint, dlq: &str) -> Result<Self, Refusal> {
        let count = count(pairs)?.unwrap_or(LIST_LIMIT);
        if count > LIST_LIMIT {
            return Err(Refusal::bad_request(format!("count must be between 1 and {LIST_LIMIT}")));
        }
        Self::read(pairs, endpoint, dlq, count, LIST_LIMIT)
    }

    /// The position after which the call looks.
    pub fn start(&self) -> Position {
        match self {
            Self::Ids(_) => Position::START,
            Self::Matching { after, .. } => *after,
        }
    }

    /// The cursor that the call came with.
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Ids(_) => None,
            Self::Matching { cursor, .. } => cursor.as_deref(),
        }
    }

    fn read(
        pairs: &Pairs,
        endpoint: Endpoint,
        dlq: &str,
        limit: usize,
        most_ids: usize,
    ) -> Result<Self, Refusal> {
        let mut ids: Vec<String> = Vec::new();
        for id in pairs.many("dlqIds").chain(pairs.ids.iter().cloned()) {
            if !ids.contains(&id) {
                ids.push(id);
            }
            // At once: a body can name a hundred thousand, each of which would be compared with all before it.
            if ids.len() > most_ids {
                return Err(Refusal::bad_request(format!("at most {most_ids} dlqIds can be given")));
            }
        }
        // Everything else is still read first: a malformed parameter is refused even where it would be ignored.
        let filter = match endpoint {
            Endpoint::Workflows => filter(pairs)?,
            Endpoint::Messages => filter_of_messages(pairs)?,
        };
        let cursor = pairs.one("cursor")?.map(ToOwned::to_owned);
        let after = match &cursor {
            Some(text) => {
                cursor::decode(dlq, text).map_err(|invalid| Refusal::bad_request(invalid.to_string()))?
            }
            None => Position::START,
        };
        if ids.is_empty() {
            Ok(Self::Matching { filter: Box::new(filter), after, cursor, limit })
        } else {
            Ok(Self::Ids(ids))
        }
    }
}

/// The decoded parameters of a query string, in their order. Empty values count as not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    pairs: Vec<(String, String)>,
    /// DLQ IDs that a body named: each one whole, commas and all.
    ids: Vec<String>,
}

impl Pairs {
    /// Decodes a raw query string.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        raw.split('&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                Ok((
                    decode(&name.replace('+', " "))?.into_owned(),
                    decode(&value.replace('+', " "))?.into_owned(),
                ))
            })
            .collect::<Result<_, _>>()
            .map(|pairs| Self { pairs, ids: Vec::new() })
    }

    /// Adds the DLQ IDs of a body. No IDs, or an empty one, would select everything, which nobody means who sends them.
    pub fn with_ids(self, ids: Vec<String>) -> Result<Self, Refusal> {
        if ids.is_empty() || ids.iter().any(String::is_empty) {
            return Err(Refusal::bad_request("dlqIds names no entry"));
        }
        Ok(Self { ids, ..self })
    }

    /// The same without some of the parameters.
    #[must_use]
    pub fn without(mut self, names: &[String]) -> Self {
        self.pairs.retain(|(name, _)| !names.contains(name));
        self
    }

    /// Refuses a bulk call with a parameter that it does not know.
    pub fn check_known(&self, endpoint: Endpoint) -> Result<(), Refusal> {
        let filters = filters_of(endpoint);
        let known = |name: &str| OF_EVERY_BULK_CALL.contains(&name) || filters.contains(&name);
        match self.pairs.iter().find(|(name, value)| !value.is_empty() && !known(name)) {
            Some((name, _)) => Err(Refusal::bad_request(format!("unknown parameter {name:?}"))),
            None => Ok(()),
        }
    }

    /// Whether a parameter is repeated, or has a comma in its value.
    pub fn has_several(&self, name: &str) -> bool {
        self.values(name).nth(1).is_some() || self.values(name).any(|value| value.contains(','))
    }

    /// The value of a parameter that can be given once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Refusal::bad_request(format!("{name} can be given only once"))),
        }
    }

    /// The values of a parameter that can be repeated. The API splits each at commas, too.
    fn many(&self, name: &str) -> impl Iterator<Item = String> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// The token in a query string, also when the rest of the string cannot be read.
pub fn token(raw: &str) -> Option<String> {
    let mut tokens = raw.split('&').filter_map(|part| part.strip_prefix("qstash_token="));
    let token = decode(tokens.next()?).ok()?.into_owned();
    (tokens.next().is_none() && !token.is_empty()).then_some(token)
}

/// Percent-decodes one piece of a URL, strictly: broken sequences and what is not UTF-8 are refused.
pub fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let bytes = text.as_bytes();
    for (index, _) in text.match_indices('%') {
        if !bytes.get(index + 1..index + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Refusal::bad_request("malformed percent encoding"));
        }
    }
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Refusal::bad_request("percent encoding is not UTF-8"))
}

/// Filters of logs and of running workflows. Actions refuse them, and lists ignore them as they do all unknown parameters.
const NOT_FOR_A_DLQ: [&str; 2] = ["host", "path"];
/// Filters of messages that went through something that a workflow's messages never do.
const NEVER_OF_WORKFLOWS: [&str; 3] = ["topicName", "queueName", "scheduleId"];

/// Filters that take several values: any of them may match.
pub const LISTS: [&str; 7] =
    ["workflowUrl", "label", "failureFunctionState", "callerIp", "flowControlKey", "url", "responseStatus"];
/// Filters with one value.
const SINGLE_VALUES: [&str; 5] = ["fromDate", "toDate", "workflowRunId", "workflowCreatedAt", "messageId"];
/// Filters that only `/v2/dlq` has, beside those that match no workflow.
const ONLY_OF_MESSAGES: [&str; 3] = ["url", "responseStatus", "messageId"];
const OF_EVERY_BULK_CALL: [&str; 4] = ["dlqIds", "cursor", "count", "qstash_token"];

/// The parameters that make a call select fewer entries.
pub fn filters() -> Vec<&'static str> {
    [LISTS.as_slice(), &SINGLE_VALUES, &NEVER_OF_WORKFLOWS].concat()
}

fn filters_of(endpoint: Endpoint) -> Vec<&'static str> {
    let mut names = filters();
    match endpoint {
        Endpoint::Workflows => {
            names.retain(|name| !ONLY_OF_MESSAGES.contains(name) && !NEVER_OF_WORKFLOWS.contains(name));
        }
        Endpoint::Messages => names.push("source"),
    }
    names
}

fn filter(pairs: &Pairs) -> Result<Filter, Refusal> {
    let failure_function_states = pairs
        .many("failureFunctionState")
        .map(|text| {
            FailureFunctionState::parse(&text)
                .ok_or_else(|| Refusal::bad_request(format!("unknown failureFunctionState {text:?}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(Filter {
        from_date: millis(pairs, "fromDate")?,
        to_date: millis(pairs, "toDate")?,
        workflow_urls: pairs.many("workflowUrl").collect(),
        workflow_run_id: pairs.one("workflowRunId")?.map(ToOwned::to_owned),
        workflow_created_at: millis(pairs, "workflowCreatedAt")?,
        labels: pairs.many("label").collect(),
        failure_function_states,
        caller_ips: pairs.many("callerIp").collect(),
        flow_control_keys: pairs.many("flowControlKey").collect(),
        ..Filter::default()
    })
}

fn filter_of_messages(pairs: &Pairs) -> Result<Filter, Refusal> {
    if pairs.one("source")?.is_some_and(|source| source != "workflow") {
        return Err(Refusal::bad_request("the only source here is \"workflow\""));
    }
    let mut filter = filter(pairs)?;
    filter.workflow_urls.extend(pairs.many("url"));
    filter.response_statuses = pairs
        .many("responseStatus")
        .map(|text| {
            digits(&text).and_then(|text| text.parse().ok()).filter(|code| (100..=599).contains(code))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::bad_request("responseStatus must be an HTTP status"))?;
    filter.message_id = pairs.one("messageId")?.map(ToOwned::to_owned);
    filter.excludes_workflows =
        NEVER_OF_WORKFLOWS.into_iter().any(|name| pairs.values(name).next().is_some());
    Ok(filter)
}

fn millis(pairs: &Pairs, name: &str) -> Result<Option<Millis>, Refusal> {
    let Some(text) = pairs.one(name)? else { return Ok(None) };
    match digits(text).and_then(|text| text.parse().ok()) {
        Some(value) => Ok(Some(value)),
        None => Err(Refusal::bad_request(format!("{name} must be a Unix time in milliseconds"))),
    }
}

fn count(pairs: &Pairs) -> Result<Option<usize>, Refusal> {
    let Some(text) = pairs.one("count")? else { return Ok(None) };
    match digits(text).and_then(|text| text.parse().ok()) {
        Some(count) if count > 0 => Ok(Some(count)),
        _ => Err(Refusal::bad_request("count must be a positive integer")),
    }
}

/// Nothing but digits: Rust's own parser would also take a leading `+`.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(raw: &str) -> Result<Selection, Refusal> {
        Selection::of_bulk_call(&Pairs::parse(raw)?, Endpoint::Workflows, "a", 50)
    }

    fn limit(selection: Result<Selection, Refusal>) -> usize {
        match selection.expect("the query is well-formed") {
            Selection::Matching { limit, .. } => limit,
            Selection::Ids(ids) => panic!("selected {ids:?}"),
        }
    }

    #[test]
    fn a_bulk_call_takes_any_positive_count_but_handles_no_more_than_it_may() {
        assert_eq!(limit(bulk("count=7")), 7);
        assert_eq!(limit(bulk("count=1000")), 50);
        assert_eq!(limit(bulk("")), 50);
        let up_to_a_hundred =
            |raw| Selection::of_bulk_call(&Pairs::parse(raw)?, Endpoint::Workflows, "a", 100);
        assert_eq!(limit(up_to_a_hundred("count=1000")), 100);
        assert_eq!(limit(up_to_a_hundred("")), 100);
    }

    #[test]
    fn a_list_call_takes_one_to_a_hundred() {
        let list = |raw| Selection::of_list_call(&Pairs::parse(raw)?, Endpoint::Workflows, "a");
        assert_eq!(limit(list("")), 100);
        assert_eq!(limit(list("count=100")), 100);
        assert!(list("count=101").is_err());
    }

    #[test]
    fn bulk_calls_refuse_the_filters_of_logs_and_lists_ignore_them() {
        let list = |raw| Selection::of_list_call(&Pairs::parse(raw)?, Endpoint::Workflows, "a");
        for raw in ["host=app.example.com", "path=/api"] {
            assert_eq!(list(raw), list(""), "{raw}");
            assert_eq!(bulk(raw).map_err(|refusal| refusal.status.as_u16()), Err(400), "{raw}");
        }
    }

    #[test]
    fn unknown_parameters_can_be_told_from_known_ones() {
        let known = |raw, endpoint| Pairs::parse(raw).expect("well-formed").check_known(endpoint).is_ok();
        for raw in ["", "order=earliestFirst", "label=a&trimBody=1", "Label=a", "order="] {
            let expected = raw.is_empty() || raw.ends_with('=');
            assert_eq!(known(raw, Endpoint::Workflows), expected, "{raw}");
            assert_eq!(known(raw, Endpoint::Messages), expected, "{raw}");
        }
        let everywhere = "dlqIds=1&cursor=c&count=1&qstash_token=t&label=a&label=b&toDate=1&callerIp=1.2.3.4";
        assert!(known(everywhere, Endpoint::Workflows) && known(everywhere, Endpoint::Messages));
        for raw in ["url=u", "responseStatus=500", "messageId=m", "queueName=q", "source=workflow"] {
            assert!(!known(raw, Endpoint::Workflows) && known(raw, Endpoint::Messages), "{raw}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for raw in [
            "count=0",
            "count=-1",
            "count=ten",
            "count=1.5",
            "count=%2B1",
            "count=1&count=2",
            "count=99999999999999999999999",
            "fromDate=yesterday",
            "toDate=-5",
            "workflowCreatedAt=1e3",
            "failureFunctionState=CALLBACK_LOST",
            "cursor=abc",
            "label=%ff",
            "label=%e2%28",
            "label=%zz",
            "label=%4",
            "dlqIds=a&count=0",
        ] {
            let refusal = bulk(raw).expect_err(raw);
            assert_eq!(refusal.status, http::StatusCode::BAD_REQUEST, "{raw}");
        }
    }

    #[test]
    fn repeated_values_and_commas_both_make_lists() {
        let Ok(Selection::Matching { filter, .. }) = bulk("label=a&label=b,c&label=&callerIp=1.2.3.4") else {
            panic!("refused");
        };
        assert_eq!(filter.labels, ["a", "b", "c"]);
        assert_eq!(filter.caller_ips, ["1.2.3.4"]);
    }

    #[test]
    fn ids_make_every_filter_moot_and_are_counted_once() {
        assert_eq!(bulk("dlqIds=x&label=a&dlqIds=y,x"), Ok(Selection::Ids(vec!["x".into(), "y".into()])));
    }

    #[test]
    fn more_ids_than_a_call_handles_are_refused() {
        for most in [50, 100] {
            let read =
                |raw: &str| Selection::of_bulk_call(&Pairs::parse(raw)?, Endpoint::Workflows, "a", most);
            let ids: Vec<_> = (0..=most).map(|n| format!("dlqIds={n}")).collect();
            assert!(read(&ids.join("&")).is_err());
            assert!(read(&ids[1..].join("&")).is_ok());
        }
    }

    /// A value that a filter can have.
    fn value_of(filter: &str) -> &'static str {
        match filter {
            "failureFunctionState" => "CALLBACK_FAIL",
            "responseStatus" => "500",
            _ => "1",
        }
    }

    #[test]
    fn every_filter_selects_fewer_entries_until_it_is_left_out() {
        let selected = |pairs: &Pairs| Selection::of_list_call(pairs, Endpoint::Messages, "a");
        let everything = selected(&Pairs::default());
        for name in filters() {
            let pairs = Pairs::parse(&format!("{name}={}&count=100", value_of(name))).expect("well-formed");
            assert!(selected(&pairs).is_ok_and(|fewer| Ok(fewer) != everything), "{name}");
            assert_eq!(selected(&pairs.without(&[name.to_owned()])), everything, "{name}");
        }
    }

    #[test]
    fn several_values_are_repeated_or_have_a_comma() {
        for (raw, several) in [
            ("label=a&label=b", true),
            ("label=a&label=a", true),
            ("label=a,b", true),
            ("label=a%2Cb", true),
            ("label=a,", true),
            ("label=a", false),
            ("label=a&label=", false),
            ("label=a&callerIp=b&callerIp=c", false),
            ("", false),
        ] {
            assert_eq!(Pairs::parse(raw).expect("well-formed").has_several("label"), several, "{raw}");
        }
    }

    #[test]
    fn plus_means_space_as_in_forms() {
        let pairs = Pairs::parse("label=a+b%20c%2B").expect("well-formed");
        assert_eq!(pairs.one("label"), Ok(Some("a b c+")));
    }
}
