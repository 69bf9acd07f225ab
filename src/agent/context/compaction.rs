//! The message that replaces a whole conversation. Everything in it but the summary is recorded data: the
//! task, the plan, the changes as a diff, the last test run, the last results. Only formats it.

use super::ContextBudget;

/// The data for the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CompactionInput<'a> {
    /// The first message.
    pub task: &'a str,
    /// The current plan, in Markdown.
    pub plan: Option<&'a str>,
    /// The changes of the tools, as a diff against the base.
    pub diff: &'a str,
    /// The last test run, in words.
    pub last_run: Option<String>,
    /// The summary that a model wrote.
    pub summary: Option<&'a str>,
    /// The results of the last calls, as shown.
    pub last_results: String,
    /// Turns so far.
    pub turns: u32,
    /// Results so far.
    pub results: u32,
}

/// Formats the message, short enough that most of the context stays free.
pub(super) fn write(input: &CompactionInput<'_>, budget: ContextBudget) -> String {
    // Each section has a share of the context, estimated at a cautious three bytes a token.
    let bytes = usize::try_from(budget.input_tokens_max).unwrap_or(usize::MAX);
    let share = |percent: usize| bytes / 100 * percent;
    let again = match input.results {
        0 => String::new(),
        last => format!(" What your tools answered, results 1 to {last}, can be had again with read_result."),
    };
    let mut text = format!(
        "{}\n\n# Where you stand\n\nThe conversation became too long; this message stands for all of it. Files are as \
         you left them.{again}\n\nTurns so far: {}.\n",
        cut(input.task, share(30)),
        input.turns
    );
    let mut section = |title: &str, body: &str, percent: usize| {
        if !body.trim().is_empty() {
            text.push_str(&format!("\n## {title}\n\n{}\n", cut(body.trim_end(), share(percent))));
        }
    };
    section("Your plan", input.plan.unwrap_or_default(), 5);
    section(
        "What was learned, as another model summed it up",
        input.summary.unwrap_or("(There is no summary. Look at your changes and the last test run.)"),
        20,
    );
    section("Your changes so far", if input.diff.is_empty() { "None." } else { input.diff }, 20);
    section("The last test run", input.last_run.as_deref().unwrap_or_default(), 10);
    section("The results of your last calls", &input.last_results, 15);
    text.push_str("\nGo on from here; do not begin again.\n");
    text
}

/// The beginning and the end of a text that is too long.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let half = bytes_max / 2;
    let head = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail = (text.len() - half..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}
