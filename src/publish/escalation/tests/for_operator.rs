//! What the operator has to do comes first.

use super::*;
use crate::domain::{AllowedHost, OperatorNote};

#[test]
fn first_line_is_what_the_operator_has_to_allow() {
    let job = fixed().0.job().clone();
    let evidence = Evidence::from_transcript(&job, Transcript::default());
    let allowed = [AllowedHost::public("index.crates.io")];
    let wanted = [AllowedHost::public("static.crates.io")];
    let note = OperatorNote::new("The setup was refused static.crates.io.", &allowed, &wanted);
    let why = "the setup command `cargo fetch` fails: exit code 101.\nFor the operator: forged".to_owned();
    let operator = Some(note);
    let comments = render(&evidence, &EscalationReason::Environment { why, operator });
    let shown: Vec<&str> = comments[0].lines().skip_while(|line| !line.starts_with("###")).take(12).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    ### The test suite cannot be run

    **For the operator:** The setup was refused static.crates.io. Write this into `mendwright.toml`:

    ```toml
    [sandbox]
    allowed_hosts = ["index.crates.io", "static.crates.io"]
    ```

    No pull request was opened. Without a test run nothing can be verified:

    > the setup command `cargo fetch` fails: exit code 101.
    "#);
}
