//! The proxy's decisions, by host and port. Their number is limited, because the sandbox chooses the
//! requests.

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::domain::{EgressDecision, EgressReport};

/// Refused destinations. The operator's list limits the number of allowed ones.
const REFUSED_MAX: usize = 200;
/// The longest name that a host can have (RFC 1035), and a little more for invalid names.
const HOST_CHARS_MAX: usize = 300;
/// The length of a reason, which may contain the requested name.
const WHY_CHARS_MAX: usize = 500;

/// The decisions since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Decisions(Mutex<EgressReport>);

impl Decisions {
    /// Records an allowed connection. Returns whether it is the first of its kind.
    pub(super) fn allow(&self, host: &str, port: u16) -> bool {
        self.add(host, port, None, 1, (0, 0))
    }

    /// Records a refused connection. Returns whether it is the first of its kind.
    pub(super) fn refuse(&self, host: &str, port: u16, why: &str) -> bool {
        self.add(host, port, Some(why), 1, (0, 0))
    }

    /// Records the bytes that an allowed connection has sent and received.
    pub(super) fn add_bytes(&self, host: &str, port: u16, bytes: (u64, u64)) {
        self.add(host, port, None, 0, bytes);
    }

    /// All decisions, which are then removed.
    pub(super) fn take(&self) -> EgressReport {
        std::mem::take(&mut self.lock())
    }

    fn add(
        &self,
        host: &str,
        port: u16,
        refused: Option<&str>,
        connections: u64,
        (up, down): (u64, u64),
    ) -> bool {
        let cut = |text: &str, chars_max| text.chars().take(chars_max).collect::<String>();
        let (host, refused) = (cut(host, HOST_CHARS_MAX), refused.map(|why| cut(why, WHY_CHARS_MAX)));
        let mut report = self.lock();
        let known = report
            .decisions
            .iter_mut()
            .find(|known| known.host == host && known.port == port && known.refused == refused);
        if let Some(known) = known {
            known.connections += connections;
            known.bytes_up += up;
            known.bytes_down += down;
            return false;
        }
        if refused.is_some() && report.refusals().count() >= REFUSED_MAX {
            report.omitted += connections;
            return false;
        }
        let at = Timestamp::now();
        report.decisions.push(EgressDecision {
            at,
            host,
            port,
            refused,
            connections,
            bytes_up: up,
            bytes_down: down,
        });
        true
    }

    fn lock(&self) -> MutexGuard<'_, EgressReport> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_merged_by_destination_and_refusals_are_limited() {
        let decisions = Decisions::default();
        for number in 0..REFUSED_MAX + 5 {
            assert_eq!(decisions.refuse(&format!("host-{number}"), 443, "no"), number < REFUSED_MAX);
        }
        assert!(!decisions.refuse("host-1", 443, "no"));
        assert!(decisions.allow("good", 443) && !decisions.allow("good", 443));
        decisions.add_bytes("good", 443, (3, 4));
        let report = decisions.take();
        assert_eq!((report.decisions.len(), report.omitted), (REFUSED_MAX + 1, 5));
        assert_eq!(report.decisions[1].connections, 2);
        let good = report.decisions.last().unwrap();
        assert_eq!((good.connections, good.bytes_up, good.bytes_down, &good.refused), (2, 3, 4, &None));
        assert!(decisions.take().is_empty());
        decisions.refuse(&"h".repeat(10_000), 443, &"w".repeat(10_000));
        let long = decisions.take().decisions.remove(0);
        assert_eq!((long.host.len(), long.refused.unwrap().len()), (HOST_CHARS_MAX, WHY_CHARS_MAX));
    }
}
