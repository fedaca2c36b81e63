//! `spec.match` and `spec.loopProtection`: what a run decides on entries that it lists.

use super::expression::Expression;
use super::invalid::Invalid;
use super::selection::Selected;
use dlq_crd::{Action, DlqPolicySpec, LoopProtection, Match, StatusText};
use dlq_upstash::types::Detail;

/// What a run decides on entries that it lists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ByListing {
    /// `responseStatuses`; empty: any.
    pub response_statuses: Vec<Statuses>,
    /// `excludeResponseStatuses`.
    pub exclude_response_statuses: Vec<Statuses>,
    /// `skipNonRetryable`.
    pub skip_non_retryable: bool,
    /// `attempts`: the fewest and the most.
    pub attempts: Option<(u32, u32)>,
    /// `expression`.
    pub expression: Option<Expression>,
    /// `loopProtection.maxAttempts`.
    pub max_attempts: Option<u32>,
}

impl ByListing {
    /// What of each entry has to be listed.
    pub(crate) fn detail(&self) -> Detail {
        let read = self.expression.as_ref().map(Expression::detail).unwrap_or_default();
        if self.skip_non_retryable { read.max(Detail::Headers) } else { read }
    }
}

/// One status, or a class of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Statuses {
    /// Such as `503`.
    Code(u16),
    /// Such as `5xx`, by its first digit.
    Class(u16),
}

impl Statuses {
    fn parse(text: &str) -> Option<Self> {
        let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok()).map(Self::Class);
        let statuses = class.or_else(|| text.parse().ok().map(Self::Code))?;
        matches!(statuses, Self::Class(1..=5) | Self::Code(100..=599)).then_some(statuses)
    }

    /// Whether this status is one of them.
    pub fn contains(self, status: u16) -> bool {
        match self {
            Self::Code(code) => status == code,
            Self::Class(class) => status / 100 == class,
        }
    }
}

/// Reads what a policy says; none where it says nothing.
pub(crate) fn by_listing(spec: &DlqPolicySpec, selected: &Selected) -> Result<Option<ByListing>, Invalid> {
    let DlqPolicySpec { action, matching, loop_protection, .. } = spec;
    if matching.is_none() && loop_protection.is_none() {
        return Ok(None);
    }
    if matches!(selected, Selected::Ids(_)) {
        let field = if matching.is_some() { "spec.match" } else { "spec.loopProtection" };
        let problem = "must not be set with filters.dlqIds, as those entries are acted on unseen; remove it, or select by criteria";
        return Err(Invalid::spec(field, problem));
    }
    let max_attempts = loop_protection.as_ref().map(|limit| most(*action, limit)).transpose()?;
    let matching = matching.clone().unwrap_or(Match { skip_non_retryable: Some(false), ..Match::default() });
    let Match { response_statuses, exclude_response_statuses, skip_non_retryable, attempts, expression } =
        matching;
    if attempts.is_some() && max_attempts.is_none() && *action != Action::Delete {
        let problem =
            "must come with loopProtection, which counts them; add loopProtection, or remove match.attempts";
        return Err(Invalid::spec("spec.match.attempts", problem));
    }
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    Ok(Some(ByListing {
        response_statuses: statuses("responseStatuses", response_statuses)?,
        exclude_response_statuses: statuses("excludeResponseStatuses", exclude_response_statuses)?,
        skip_non_retryable: skip_non_retryable.unwrap_or(*action != Action::Delete),
        attempts: attempts
            .map(|range| (number(range.min).unwrap_or_default(), number(range.max).unwrap_or(u32::MAX))),
        expression: expression
            .map(|text| {
                let compiled = Expression::compile(text.as_str());
                compiled.map_err(|problem| Invalid::spec("spec.match.expression", &problem))
            })
            .transpose()?,
        max_attempts,
    }))
}

fn most(action: Action, limit: &LoopProtection) -> Result<u32, Invalid> {
    if action == Action::Delete {
        let problem = "must not be set with a delete, as nothing comes back; remove loopProtection, or use resume or restart";
        return Err(Invalid::spec("spec.loopProtection", problem));
    }
    u32::try_from(limit.max_attempts)
        .ok()
        .filter(|most| *most > 0)
        .ok_or_else(|| Invalid::spec("spec.loopProtection.maxAttempts", "must be from 1 to 100"))
}

fn statuses(field: &str, texts: Option<Vec<StatusText>>) -> Result<Vec<Statuses>, Invalid> {
    let parse = |text: StatusText| {
        Statuses::parse(text.as_str()).ok_or_else(|| {
            let problem = format!("{text} is neither a status from 100 to 599 nor a class such as 5xx");
            Invalid::spec(&format!("spec.match.{field}"), &problem)
        })
    };
    texts.into_iter().flatten().map(parse).collect()
}
