//! How the service behaves where its documentation is silent, contradicts itself, or has changed: switches of a DLQ.

use serde::Deserialize;

use crate::{operation::Action, query::LIST_LIMIT, refusal::Refusal};

/// In which order calls list entries and act on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
#[value(rename_all = "camelCase")]
pub enum Order {
    /// The entry that failed first comes first.
    #[default]
    OldestFirst,
    /// The entry that failed last comes first.
    NewestFirst,
}

/// How many entries a bulk call handles at most, by action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MostPerCall {
    resume: usize,
    restart: usize,
    delete: usize,
}

impl Default for MostPerCall {
    fn default() -> Self {
        const DOCUMENTED: usize = 50;
        Self { resume: DOCUMENTED, restart: DOCUMENTED, delete: DOCUMENTED }
    }
}

impl MostPerCall {
    pub fn of(self, action: Action) -> usize {
        match action {
            Action::Resume => self.resume,
            Action::Restart => self.restart,
            Action::Delete => self.delete,
        }
    }
}

/// The switches of one DLQ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Service {
    pub order: Order,
    pub most_per_call: MostPerCall,
    /// A bulk delete with a parameter that nobody knows is refused. Lists ignore such parameters in any case.
    pub delete_refuses_unknown: bool,
}

/// The switches as they are set. Without an order, the one of the command line applies.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewService {
    order: Option<Order>,
    most_per_call: MostPerCall,
    delete_refuses_unknown: bool,
}

impl NewService {
    /// The switches, unless a call could handle nothing, or more than the service ever allows.
    pub fn into_service(self, default_order: Order) -> Result<Service, Refusal> {
        let Self { order, most_per_call, delete_refuses_unknown } = self;
        let MostPerCall { resume, restart, delete } = most_per_call;
        if [resume, restart, delete].iter().any(|most| !(1..=LIST_LIMIT).contains(most)) {
            return Err(Refusal::bad_request(format!("mostPerCall must be between 1 and {LIST_LIMIT}")));
        }
        Ok(Service { order: order.unwrap_or(default_order), most_per_call, delete_refuses_unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(json: &str) -> Result<Service, Refusal> {
        let new: NewService = serde_json::from_str(json).expect("switches");
        new.into_service(Order::NewestFirst)
    }

    #[test]
    fn what_is_left_out_is_as_documented_and_the_order_that_of_the_command_line() {
        let service = set("{}").expect("switches");
        assert_eq!(service, Service { order: Order::NewestFirst, ..Service::default() });
        let most = |action| service.most_per_call.of(action);
        assert_eq!([Action::Resume, Action::Restart, Action::Delete].map(most), [50; 3]);
        assert_eq!(set(r#"{"order": "oldestFirst"}"#), Ok(Service::default()));
    }

    #[test]
    fn each_action_has_its_own_most() {
        let service = set(r#"{"mostPerCall": {"resume": 1, "delete": 100}}"#).expect("switches");
        let most = |action| service.most_per_call.of(action);
        assert_eq!([Action::Resume, Action::Restart, Action::Delete].map(most), [1, 50, 100]);
    }

    #[test]
    fn a_call_handles_at_least_one_and_at_most_a_hundred() {
        for action in ["resume", "restart", "delete"] {
            for most in [0, 101] {
                let refused = set(&format!(r#"{{"mostPerCall": {{"{action}": {most}}}}}"#));
                let status = refused.map_err(|refusal| refusal.status.as_u16());
                assert_eq!(status, Err(400), "{action} {most}");
            }
        }
    }
}
