//! The check run on the pushed branch, which shows the verdict where reviewers look for it. Only a [`Verified`]
//! proposal gets one: nothing else is pushed, so a job that ends otherwise has no commit for a check.

use super::draft_pr::sections;
use super::escape::{cut, line, plain};
use super::evidence::Evidence;
use super::format::plural;
use crate::domain::{RepoPath, Sha, TestCase};
use crate::github::{Annotation, AnnotationLevel, CheckConclusion, CheckRun};
use crate::verdict::Verified;

/// The check's name.
pub const CHECK_NAME: &str = "Mendwright";
/// GitHub accepts fifty in one request.
const ANNOTATIONS_MAX: usize = 50;
const TITLE_CHARS_MAX: usize = 200;
const MESSAGE_CHARS_MAX: usize = 1_000;

/// The check run of a verified proposal whose commit is `head`.
pub fn render(evidence: &Evidence, verified: &Verified, head: &Sha) -> CheckRun {
    let flags = verified.flags().len() as u64;
    let failing = verified.run().failed().len() as u64;
    let (conclusion, title) = match (verified.run().is_green(), flags) {
        (true, 0) => (CheckConclusion::Success, "The suite passes in a fresh sandbox".to_owned()),
        (true, flags) => (
            CheckConclusion::Neutral,
            format!("The suite passes; {} to check first", plural(flags, "thing", "things")),
        ),
        (false, _) => (
            CheckConclusion::Neutral,
            format!("Verified; {} as before the change", plural(failing, "test fails", "tests fail")),
        ),
    };
    let parts = [
        sections::flags(verified.flags()),
        Some(sections::what_was_run(evidence, verified, 1)),
        verified.proof().and_then(sections::proof),
        Some(evidence.footer()),
    ];
    CheckRun {
        name: CHECK_NAME.to_owned(),
        head: head.clone(),
        external_id: evidence.job().id.to_string(),
        conclusion,
        title,
        summary: parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n"),
        annotations: annotations(evidence, verified),
    }
}

/// Annotations for the tests that still fail, then for those that failed at the base and pass here, as far as the
/// report gives their location. Reviewers must know the first; the others are why the change exists.
fn annotations(evidence: &Evidence, verified: &Verified) -> Vec<Annotation> {
    let after = &verified.run().report;
    let before = evidence.baseline.as_ref().map(|run| &run.report);
    let still = after.red().filter_map(|test| annotation(test, true));
    let passes_now = |test: &&TestCase| !after.red().any(|red| red.name == test.name);
    let fixed = before.into_iter().flat_map(|report| report.red()).filter(passes_now);
    still.chain(fixed.filter_map(|test| annotation(test, false))).take(ANNOTATIONS_MAX).collect()
}

fn annotation(test: &TestCase, still_fails: bool) -> Option<Annotation> {
    let at = test.location.as_ref()?;
    let path: RepoPath = at.file.parse().ok()?;
    let (level, failed, then) = match still_fails {
        true => (AnnotationLevel::Warning, "It fails here", "It failed at the base, too."),
        false => (AnnotationLevel::Notice, "It failed at the base", "It passes at this commit."),
    };
    let why = test.message.as_deref().unwrap_or_default().trim();
    let failed = if why.is_empty() { format!("{failed}.") } else { format!("{failed}: {why}") };
    Some(Annotation {
        path: path.to_string(),
        line: at.line.unwrap_or(1).max(1),
        level,
        title: line(&test.name, TITLE_CHARS_MAX),
        message: plain(&cut(&format!("{failed}\n{then}"), MESSAGE_CHARS_MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::escape::properties::{assert_text_is_inert, page};
    use super::super::test_evidence::{fixed, hostile};
    use super::*;
    use crate::domain::{TestLocation, TestOutcome, TestReport};

    fn head() -> Sha {
        "c".repeat(40).parse().unwrap()
    }

    fn red(name: &str, file: &str, line: Option<u32>) -> TestCase {
        let location = Some(TestLocation { file: file.into(), line });
        let message = Some("assert 1 == 3\n/approve @octocat fixes #9".into());
        TestCase { message, location, ..TestCase::new(name, TestOutcome::Failed) }
    }

    #[test]
    fn plain_fix_gives_success_with_its_evidence() {
        let (evidence, verified) = fixed();
        let check = render(&evidence, &verified, &head());
        assert_eq!(check.conclusion, CheckConclusion::Success);
        insta::assert_snapshot!(format!("{}\n\n{}", check.title, check.summary), @r"
        The suite passes in a fresh sandbox

        ### Evidence

        | | Before: base `aaaaaaaaaa` | After: tree `bbbbbbbbbb` |
        |---|---|---|
        | `python -m pytest -q` | ❌ fails (exit code 1, 1.4 s, 1 failing test named) | ✅ passes (exit code 0, 1.4 s) |
        | Failing tests | 1 | 0 |

        The run on the right is the verdict: Mendwright ran it itself, in a fresh sandbox with exactly this branch's tree.

        > The suite passes at the proposed tree: exit code 0.

        Failed before and no longer fail:

        - `tests/test_sum.py::test_sum`

        ### Proof

        New or changed tests that **fail on the base and pass here**:

        - `tests/test_sum.py::test_sum`

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
    }

    #[test]
    fn flags_make_the_check_neutral_and_hostile_text_is_inert() {
        let (evidence, verified) = hostile();
        let check = render(&evidence, &verified, &head());
        assert_eq!(check.conclusion, CheckConclusion::Neutral);
        assert_eq!(check.title, "The suite passes; 1 thing to check first");
        let page = page(&check.summary);
        assert_text_is_inert(&page.text);
        assert!(page.html.iter().all(|html| html.contains("sub>")), "{:?}", page.html);
    }

    #[test]
    fn tests_that_failed_at_the_base_are_annotated_at_their_location() {
        let (mut evidence, verified) = fixed();
        let cases = [
            red("tests/test_sum.py::test_sum", "tests/test_sum.py", Some(3)),
            red("@octocat #1", "tests/other.py", None),
            red("outside", "/etc/passwd", Some(1)),
            red("above", "../x.py", Some(1)),
            TestCase::new("nowhere", TestOutcome::Failed),
        ];
        let many = (0..60).map(|n| red(&format!("t{n}"), "tests/many.py", Some(n)));
        let report = TestReport { cases: cases.into_iter().chain(many).collect(), ..TestReport::default() };
        evidence.baseline.as_mut().unwrap().report = report;
        let annotations = render(&evidence, &verified, &head()).annotations;
        assert_eq!(annotations.len(), ANNOTATIONS_MAX);
        assert_eq!(annotations[2].path, "tests/many.py");
        let shown = annotations[..2]
            .iter()
            .map(|at| format!("{}:{} {:?} {}\n{}", at.path, at.line, at.level, at.title, at.message));
        insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r"
        tests/test_sum.py:3 Notice tests/test_sum.py::test_sum
        It failed at the base: assert 1 == 3
        ⁄approve ＠octocat fixes ＃9
        It passes at this commit.
        tests/other.py:1 Notice ＠octocat ＃1
        It failed at the base: assert 1 == 3
        ⁄approve ＠octocat fixes ＃9
        It passes at this commit.
        ");
    }
}
