//! A verified change that a person has to publish.

use super::*;
use crate::workspace::FileDiff;

#[test]
fn verified_change_is_handed_over_with_every_file_and_what_was_verified() {
    let (evidence, _) = fixed();
    let mut patch = evidence.patch.clone().unwrap();
    patch.truncated = true;
    patch.text = "x".repeat(400_000);
    let file = patch.files[0].clone();
    patch.files = (0..60).map(|n| FileDiff { path: format!("hidden/{n}.sh"), ..file.clone() }).collect();
    let commit = "c".repeat(40).parse().unwrap();
    let reason = EscalationReason::NotShown { why: "it is too long".into(), commit };
    let comments = render(&evidence.with_patch(patch), &reason).concat();
    assert!((0..60).all(|n| comments.contains(&format!("`hidden/{n}.sh`"))), "{comments}");
    assert!(
        comments.contains("### What was verified\n\n> The suite passes at the proposed tree"),
        "{comments}"
    );
    assert!(!comments.contains("not verified"), "{comments}");
}
