//! The Test Anything Protocol (testanything.org, versions 12 to 14), which Perl's tests, Node's runner and
//! many others print. Subtests are indented by four; a point after its subtests summarizes them.

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{Block, Innermost, expression, frame, joined, relative, take_first_lines};

/// Subtests within subtests.
const DEPTH_MAX: usize = 32;
/// Lines of a YAML block that are read.
const YAML_LINES_MAX: usize = 200;

#[derive(Default)]
struct Level {
    /// The name of the next point at this level, from a `# Subtest:` line.
    announced: Option<String>,
    points: u64,
    /// Red ones among the points directly below.
    plan: Option<u64>,
    children: TestCounts,
}

/// Reads the stream. `None`: there is neither a version nor a plan with a point.
pub(in crate::testing) fn read(text: &str) -> Option<TestReport> {
    let point = expression!(
        r"^(?P<not>not )?ok\b(?: (?P<number>\d+))?(?: -)?(?P<name>[^#\n]*?(?:\\#[^#\n]*?)*)(?:\s+# ?(?P<directive>(?i:skip|todo|time)\S*)(?P<why>[^\n]*))?$"
    );
    let plan = expression!(r"^1\.\.(\d+)\s*(?:# ?(?i:skip)\S*\s*(.*))?$");
    let is_tap = expression!(r"(?m)^TAP version 1[234]$").is_match(text)
        || (expression!(r"(?m)^1\.\.\d+").is_match(text)
            && expression!(r"(?m)^(?:not )?ok \d+|^1\.\.0").is_match(text));
    if !is_tap {
        return None;
    }
    let mut levels: Vec<Level> = vec![Level::default()];
    let mut builder = ReportBuilder::default();
    let (mut bailed, mut skipped_all) = (false, None);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let depth = (line.len() - line.trim_start_matches(' ').len()) / 4;
        let line_text = line.trim_start_matches(' ');
        if depth >= DEPTH_MAX || depth > levels.len() {
            continue;
        }
        if let Some(name) = line_text.strip_prefix("# Subtest: ") {
            at(&mut levels, depth).announced = Some(name.trim().to_owned());
        } else if let Some(captures) = plan.captures(line_text) {
            let count = captures[1].parse().unwrap_or(u64::MAX);
            let level = at(&mut levels, depth);
            level.plan = Some(level.plan.unwrap_or(0).saturating_add(count));
            if depth == 0 && count == 0 {
                skipped_all = Some(captures.get(2).map_or("", |why| why.as_str()).to_owned());
            }
        } else if line_text.starts_with("Bail out!") && depth == 0 {
            bailed = true;
        } else if let Some(captures) = point.captures(line_text) {
            let children = match levels.len() > depth + 1 {
                true => levels.drain(depth + 1..).fold(TestCounts::default(), |mut sum, level| {
                    sum.add_all(level.children);
                    sum
                }),
                false => TestCounts::default(),
            };
            let level = at(&mut levels, depth);
            level.points += 1;
            let spoken = captures.name("name").map_or("", |name| name.as_str()).trim();
            let number =
                captures.name("number").map_or_else(|| level.points.to_string(), |n| n.as_str().into());
            let own = match spoken.is_empty() {
                true => format!("#{number}"),
                false => spoken.replace("\\#", "#"),
            };
            level.announced = None;
            let directive = captures.name("directive").map(|word| word.as_str().to_lowercase());
            let is_off = directive.as_deref().is_some_and(|word| !word.starts_with("time"));
            let outcome = match (captures.name("not").is_some(), is_off) {
                (_, true) => TestOutcome::Skipped,
                (true, false) => TestOutcome::Failed,
                (false, false) => TestOutcome::Passed,
            };
            let sums_up = children.total() > 0 && (outcome != TestOutcome::Failed || children.red() > 0);
            let path = levels[..depth].iter().filter_map(|level| level.announced.as_deref());
            let name = joined(path.chain([relative(&own)]));
            let mut block = Block::with_lines_max(YAML_LINES_MAX);
            while let Some(next) = lines.next_if(|next| is_diagnostic(next)) {
                block.push(next);
                if next.trim() == "..." {
                    break;
                }
            }
            if sums_up {
                at(&mut levels, depth).children.add_all(children);
                continue;
            }
            let mut case = TestCase::new(name, outcome);
            match outcome {
                TestOutcome::Passed => {}
                TestOutcome::Skipped => {
                    case.message = captures.name("why").map(|why| why.as_str().trim().to_owned());
                }
                TestOutcome::Failed | TestOutcome::Errored => add_details(&block.text, &mut case),
            }
            at(&mut levels, depth).children.add(outcome);
            builder.push_another(case);
        }
    }
    let top = &levels[0];
    let finished = !bailed && top.plan == Some(top.points);
    let mut counts = builder.counted();
    if let (Some(why), 0) = (&skipped_all, counts.total()) {
        let mut case = TestCase::new("the whole file", TestOutcome::Skipped);
        case.message = Some(why.clone());
        builder.push(case);
        counts = builder.counted();
    }
    let mut report = builder.finish(ReportSource::Output, ReportFormat::Tap, Some(counts), finished);
    if bailed {
        report.add_remark("the run bailed out");
    }
    Some(report)
}

fn at(levels: &mut Vec<Level>, depth: usize) -> &mut Level {
    while levels.len() <= depth {
        levels.push(Level::default());
    }
    &mut levels[depth]
}

/// What may follow a point: a YAML block, or Perl's comments.
fn is_diagnostic(line: &str) -> bool {
    let line_text = line.trim_start();
    let is_comment = line_text.starts_with('#') && !line_text.starts_with("# Subtest");
    let in_block =
        line.starts_with("  ") && !line_text.starts_with("ok ") && !line_text.starts_with("not ok ");
    (is_comment && !line_text.starts_with("# tests ")) || (in_block && !line_text.starts_with("# Subtest"))
}

fn add_details(block: &str, case: &mut TestCase) {
    let error = expression!(
        r"(?m)^ *error: (?:\|-?\n(?P<block>(?:\n| {4,}[^\n]*\n)+?) *\w+:|'(?P<quoted>[^\n]*)'|(?P<plain>[^\n]*))"
    );
    let location = expression!(r"(?m)^ *location: '?([^'\n]+?):(\d+):\d+'?$");
    let perl = expression!(r"(?m)^ *#   (?:at (\S+) line (\d+)\.|(Failed [^\n]*))$");
    if let Some(captures) = error.captures(block) {
        let line_text = ["block", "quoted", "plain"].iter().find_map(|group| captures.name(group));
        case.message = line_text.and_then(|line_text| {
            take_first_lines(&line_text.as_str().lines().map(str::trim).collect::<Vec<_>>().join("\n"))
        });
    } else {
        let line_text: Vec<&str> = block
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix('#'))
            .map(str::trim)
            .filter(|line| {
                !line.starts_with("Failed ") && !line.starts_with("at ") && !line.starts_with("Looks like")
            })
            .collect();
        case.message = take_first_lines(&line_text.join("\n"));
    }
    for captures in perl.captures_iter(block) {
        if let (Some(file), Some(line)) = (captures.get(1), captures.get(2)) {
            let file = relative(file.as_str()).to_owned();
            case.location = Some(TestLocation { file, line: line.as_str().parse().ok() });
            break;
        }
    }
    if let Some((line, at)) = frame(block.split("stack:").nth(1).unwrap_or_default(), Innermost::First) {
        case.frame = Some(line);
        case.location = Some(at);
    } else if let Some(captures) = location.captures(block) {
        let file = relative(&captures[1]).to_owned();
        case.location = Some(TestLocation { file, line: captures[2].parse().ok() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_without_plan_or_with_fewer_points_is_unfinished() {
        let finished = |text: &str| read(text).map(|report| report.finished);
        assert_eq!(finished("1..2\nok 1 - a\nok 2 - b\n"), Some(true));
        assert_eq!(finished("1..2\nok 1 - a\n"), Some(false));
        assert_eq!(finished("TAP version 13\nok 1 - a\n"), Some(false));
        assert_eq!(finished("1..1\nok 1 - a\nBail out! no disk\n"), Some(false));
        assert_eq!(finished("ok go on\n1..x\n"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let deep: String = (0..5_000).map(|n| format!("{}# Subtest: s{n}\n", "    ".repeat(n))).collect();
        assert!(read(&format!("TAP version 14\n{deep}ok 1 - a\n1..1\n")).unwrap().finished);
    }
}
