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

/// Whether labels that an override gave a workflow run are those of the entry that it comes back as, or only of the
/// workflow run. In the latter case the entry has the labels of the one that was acted on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LabelsCarried {
    #[default]
    Always,
    Never,
    /// A resume continues with what there was, labels included; a restart is a new beginning with the new ones.
    OnRestart,
}

impl LabelsCarried {
    pub fn by(self, action: Action) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::OnRestart => action == Action::Restart,
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
    pub labels_carried: LabelsCarried,
}

/// The switches as they are set. Without an order, the one of the command line applies.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewService {
    order: Option<Order>,
    most_per_call: MostPerCall,
    delete_refuses_unknown: bool,
    labels_carried: LabelsCarried,
}

impl NewService {
    /// The switches, unless a call could handle nothing, or more than the service ever allows.
    pub fn into_service(self, default_order: Order) -> Result<Service, Refusal> {
        let Self { order, most_per_call, delete_refuses_unknown, labels_carried } = self;
        let MostPerCall { resume, restart, delete } = most_per_call;
        if [resume, restart, delete].iter().any(|most| !(1..=LIST_LIMIT).contains(most)) {
            return Err(Refusal::bad_request(format!("mostPerCall must be between 1 and {LIST_LIMIT}")));
        }
        let order = order.unwrap_or(default_order);
        Ok(Service { order, most_per_call, delete_refuses_unknown, labels_carried })
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
    fn labels_are_carried_by_the_actions_that_were_said_to_and_by_both_otherwise() {
        let carried = |json| {
            let labels_carried = set(json).expect("switches").labels_carried;
            [Action::Resume, Action::Restart].map(|action| labels_carried.by(action))
        };
        assert_eq!(carried("{}"), [true, true]);
        assert_eq!(carried(r#"{"labelsCarried": "always"}"#), [true, true]);
        assert_eq!(carried(r#"{"labelsCarried": "never"}"#), [false, false]);
        assert_eq!(carried(r#"{"labelsCarried": "onRestart"}"#), [false, true]);
    }

    #[test]
    fn a_refusal_says_how_labels_can_be_carried() {
        let refused = serde_json::from_str::<NewService>(r#"{"labelsCarried": "onResume"}"#);
        let error = refused.expect_err("there is no such value").to_string();
        let expected = "unknown variant `onResume`, expected one of `always`, `never`, `onRestart`";
        assert!(error.starts_with(expected), "{error}");
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
