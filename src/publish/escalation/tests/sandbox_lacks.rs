//! What the sandbox of an escalated job did not have.

use super::*;
use crate::domain::TranscriptEvent;

#[test]
fn escalation_says_what_the_sandbox_did_not_have() {
    let mut evidence = stuck();
    evidence.environment.add(&TranscriptEvent::CheckoutIncomplete {
        missing: vec!["the sandbox has only empty directories for the submodules: `vendor/@lib`".to_owned()],
    });
    let comment = render(&evidence, &budget()).concat();
    let line = comment.lines().find(|line| line.starts_with("**Not in the sandbox:**"));
    insta::assert_snapshot!(line.unwrap_or_default(), @"**Not in the sandbox:** the sandbox has only empty directories for the submodules: `vendor/@lib`.");
    assert!(!render(&stuck(), &budget()).concat().contains("Not in the sandbox"));
}
