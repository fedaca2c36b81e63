//! Settings of the new workflow runs, as the API takes them.

use url::Url;

use super::invalid::Invalid;
use super::permissions::Permissions;
use super::shared::callback_url;
use crate::run::attempts::counts;
use dlq_crd::Reason;
use dlq_upstash::types::{MAX_HEADER_BYTES, Overrides};

pub(super) fn api_overrides(
    action: dlq_crd::Action,
    overrides: Option<&dlq_crd::Overrides>,
    permissions: &Permissions,
) -> Result<Overrides, Invalid> {
    let Some(overrides) = overrides else { return Ok(Overrides::default()) };
    if action == dlq_crd::Action::Delete {
        let problem = "overrides must not be set with a delete; remove overrides, or use resume or restart";
        return Err(Invalid::spec("spec.overrides", problem));
    }
    let dlq_crd::Overrides { retries, delay, retry_delay, flow_control, labels, failure_callback } =
        overrides;
    if let Some(text) = failure_callback {
        let field = "spec.overrides.failureCallback";
        Url::parse(text.as_str()).map_err(|error| Invalid::spec(field, &error.to_string()))?;
        let allowed = &permissions.callback_urls;
        let is_allowed = callback_url(text.as_str())
            .is_some_and(|url| allowed.iter().any(|pattern| pattern.matches(&url)));
        if !allowed.is_empty() && !is_allowed {
            let message = format!(
                "{field}: this operator does not allow it; ask its owner to add it to --allowed-callback-url"
            );
            return Err(Invalid::new(Reason::UrlNotAllowed, &message));
        }
    }
    let labels: Vec<_> = labels.iter().flatten().map(ToString::to_string).collect();
    if labels.iter().any(|label| counts(label)) {
        let problem =
            "must not begin with dlq-attempt-, as loopProtection counts with such labels; remove that label";
        return Err(Invalid::spec("spec.overrides.labels", problem));
    }
    // One header carries them all, with commas between them.
    let bytes = labels.iter().map(|label| label.len() + 1).sum::<usize>().saturating_sub(1);
    if bytes > MAX_HEADER_BYTES {
        let problem = format!(
            "make a header of {bytes} bytes, and Upstash may refuse more than {MAX_HEADER_BYTES}; \
             give fewer or shorter labels"
        );
        return Err(Invalid::spec("spec.overrides.labels", &problem));
    }
    let flow = flow_control.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    Ok(Overrides {
        retries: number(*retries),
        delay: delay.as_ref().map(ToString::to_string),
        retry_delay: retry_delay.as_ref().map(ToString::to_string),
        flow_control_key: flow.key.as_ref().map(ToString::to_string),
        parallelism: number(flow.parallelism),
        rate: number(flow.rate),
        period: flow.period.as_ref().map(ToString::to_string),
        labels,
        failure_callback: failure_callback.as_ref().map(ToString::to_string),
    })
}
