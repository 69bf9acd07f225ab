//! Faults on demand: the next requests that match are answered badly.

use std::time::Duration;

use serde::Deserialize;

use super::upheavals::Disruption;

/// The longest a fault may make a client wait.
const DELAY_SECONDS_MAX: f64 = 300.0;

/// What goes wrong, where, and how often.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `GET`, `POST`, …; absent: any.
    #[serde(default)]
    pub method: Option<String>,
    /// A regular expression on the path (API and git alike; the API's without `/api/v3`).
    pub path: String,
    /// How many matching requests go wrong.
    #[serde(default = "once")]
    pub times: u32,
    /// What they get.
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
    /// This status, without being carried out.
    Status {
        /// The status.
        status: u16,
        /// Headers beside the usual ones.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The message in the body.
        #[serde(default)]
        message: Option<String>,
    },
    /// The connection closes before any answer; the request was not carried out.
    Drop,
    /// The request is carried out, and the connection closes before any answer: what makes
    /// exactly-once hard.
    DropAfter,
    /// The request is carried out; half of the answer's body arrives, then the connection closes.
    Truncate,
    /// The request is carried out; half of the answer's body arrives as if it were all of it.
    Halve,
    /// Something happens right before the request is carried out.
    First(Disruption),
    /// The request is carried out when [`release_held_requests`] is called.
    ///
    /// [`release_held_requests`]: super::EmulatedGitHub::release_held_requests
    Hold,
    /// The request is carried out, later.
    Delay {
        /// How much later.
        seconds: f64,
    },
}

/// A rule that is waiting for its requests.
#[derive(Debug)]
pub(super) struct Fault {
    method: Option<String>,
    path: regex::Regex,
    left: u32,
    kind: FaultKind,
}

impl Fault {
    pub(super) fn new(rule: FaultRule) -> Result<Self, String> {
        let path = regex::Regex::new(&rule.path)
            .map_err(|error| format!("{:?} is not a regular expression: {error}", rule.path))?;
        if let FaultKind::Delay { seconds } = &rule.kind
            && !(0.0..=DELAY_SECONDS_MAX).contains(seconds)
        {
            return Err(format!("a delay of {seconds} s is not between 0 and {DELAY_SECONDS_MAX}"));
        }
        Ok(Self { method: rule.method, path, left: rule.times, kind: rule.kind })
    }
}

/// The fault of the first rule that matches; uses it up by one.
pub(super) fn take_fault(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<FaultKind> {
    let matches = |fault: &Fault| {
        let method_fits = fault.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method));
        fault.left > 0 && method_fits && fault.path.is_match(path)
    };
    let fault = faults.iter_mut().find(|fault| matches(fault))?;
    fault.left -= 1;
    let kind = fault.kind.clone();
    faults.retain(|fault| fault.left > 0);
    Some(kind)
}

/// How long a fault makes the request wait.
pub(super) fn delay_of(fault: Option<&FaultKind>) -> Duration {
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
    fn a_fault_strikes_as_often_as_it_says_and_only_where_it_says() {
        let rule = serde_json::json!({
            "method": "post", "path": "/pulls$", "times": 2, "fault": {"status": {"status": 502}}
        });
        let mut faults = vec![Fault::new(serde_json::from_value(rule).unwrap()).unwrap()];
        assert!(take_fault(&mut faults, "GET", "/repos/o/r/pulls").is_none());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/issues").is_none());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_some());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_some());
        assert!(take_fault(&mut faults, "POST", "/repos/o/r/pulls").is_none());
        assert!(faults.is_empty());
    }

    #[test]
    fn a_rule_with_a_broken_pattern_is_refused_with_the_pattern() {
        let rule = FaultRule { method: None, path: "(".into(), times: 1, kind: FaultKind::Drop };
        assert!(Fault::new(rule).unwrap_err().contains("\"(\""));
    }
}
