//! Faults on demand: what the next matching requests get instead of their answer.

use std::time::Duration;

use serde::Deserialize;

use super::disruption::Disruption;

/// The longest a fault may make a client wait.
const DELAY_SECONDS_MAX: f64 = 300.0;

/// Which requests fail, how, and how often.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `GET`, `POST`, …; absent matches any method.
    #[serde(default)]
    pub method: Option<String>,
    /// A regular expression on the path, of the API (without `/api/v3`) and of git.
    pub path: String,
    /// How many matching requests fail.
    #[serde(default = "once")]
    pub times: u32,
    /// What they get instead of their answer.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
}

fn once() -> u32 {
    1
}

/// What a request gets instead of its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// This status; the request is not carried out.
    Status {
        /// The status.
        status: u16,
        /// Headers in addition to the usual ones.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The message in the body.
        #[serde(default)]
        message: Option<String>,
    },
    /// The connection closes before any answer; the request is not carried out.
    Drop,
    /// The request is carried out, and the connection closes before any answer: the case that
    /// makes exactly-once delivery hard.
    DropAfter,
    /// The request is carried out; half of the answer's body arrives, then the connection closes.
    Truncate,
    /// The request is carried out; half of the answer's body arrives as if it were complete.
    Halve,
    /// A disruption happens right before the request is carried out.
    First(Disruption),
    /// The request is carried out when [`continue_held_requests`] is called.
    ///
    /// [`continue_held_requests`]: crate::github::EmulatedGitHub::continue_held_requests
    Hold,
    /// The request is carried out after a delay.
    Delay {
        /// The delay.
        seconds: f64,
    },
}

/// A rule and how many requests it still applies to.
#[derive(Debug)]
pub(crate) struct ActiveFault {
    method: Option<String>,
    path: regex::Regex,
    remaining: u32,
    kind: FaultKind,
}

impl ActiveFault {
    pub(crate) fn new(rule: FaultRule) -> Result<Self, String> {
        let path = regex::Regex::new(&rule.path)
            .map_err(|error| format!("{:?} is not a regular expression: {error}", rule.path))?;
        if let FaultKind::Delay { seconds } = &rule.kind
            && !(0.0..=DELAY_SECONDS_MAX).contains(seconds)
        {
            return Err(format!("a delay of {seconds} s is not between 0 and {DELAY_SECONDS_MAX}"));
        }
        Ok(Self { method: rule.method, path, remaining: rule.times, kind: rule.kind })
    }
}

/// The fault of the first matching rule, which then applies to one request fewer.
pub(crate) fn take_fault(faults: &mut Vec<ActiveFault>, method: &str, path: &str) -> Option<FaultKind> {
    let matches = |fault: &ActiveFault| {
        let method_fits = fault.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method));
        fault.remaining > 0 && method_fits && fault.path.is_match(path)
    };
    let fault = faults.iter_mut().find(|fault| matches(fault))?;
    fault.remaining -= 1;
    let kind = fault.kind.clone();
    faults.retain(|fault| fault.remaining > 0);
    Some(kind)
}

/// How long a fault delays the request.
pub(crate) fn delay_of(fault: Option<&FaultKind>) -> Duration {
    match fault {
        Some(FaultKind::Delay { seconds }) => Duration::from_secs_f64(*seconds),
        Some(
            FaultKind::Status { .. }
            | FaultKind::Drop
            | FaultKind::DropAfter
            | FaultKind::Truncate
            | FaultKind::Halve
            | FaultKind::Hold
            | FaultKind::First(_),
        )
        | None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_applies_only_to_matching_requests_and_as_often_as_its_rule_says() {
        let rule = serde_json::json!({
            "method": "post", "path": "/pulls$", "times": 2, "fault": {"status": {"status": 502}}
        });
        let mut faults = vec![ActiveFault::new(serde_json::from_value(rule).unwrap()).unwrap()];
        assert!(take_fault(&mut faults, "GET", "/repos/o/r/pulls").is_none());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/issues").is_none());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_some());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_some());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_none());
        assert!(faults.is_empty());
    }

    #[test]
    fn rule_with_an_invalid_pattern_is_rejected_with_the_pattern() {
        let rule = FaultRule { method: None, path: "(".into(), times: 1, kind: FaultKind::Drop };
        assert!(ActiveFault::new(rule).unwrap_err().contains("\"(\""));
    }
}
