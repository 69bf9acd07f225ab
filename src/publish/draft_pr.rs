//! The draft pull request: its title, its body, and the message of its commit. Only a [`Verified`] proposal gets
//! one.

pub(super) mod sections;
#[cfg(test)]
mod tests;

use super::comment_split::COMMENT_CHARS_MAX;
use super::escape::{cell, code_cell, code_span, cut, fenced, inline, line, quoted};
use super::evidence::Evidence;
use super::format::{spend, thousands, time};
use super::found_setup::found_setup;
use super::marker::MarkerKind;
use super::patch_blocks::{FILE_TABLE_HEAD, PATH_CHARS_MAX, file_row};
use crate::domain::{FOUND_BY_SETUP_AGENT, FROM_THE_COMMAND_LINE, JobSettings, Origin, Sha, Trigger};
use crate::github::NewPullRequest;
use crate::provenance::{ManifestSignature, PUBLIC_KEYS_FILE, Sealed};
use crate::verdict::Verified;
use crate::workspace::Patch;

/// GitHub's limit for titles is 256 characters.
const TITLE_CHARS_MAX: usize = 200;
/// Length of a commit's first line that git's own tools show.
const SUBJECT_CHARS_MAX: usize = 72;
/// Longest summary by the agent.
const SUMMARY_CHARS_MAX: usize = 12_000;
/// Later rounds that are listed: the last ones.
const ROUNDS_LISTED_MAX: usize = 20;
/// Longest summary of a later round in the list of them.
const ROUND_CHARS_MAX: usize = 600;
/// Longest plan.
const PLAN_CHARS_MAX: usize = 6_000;
/// Files listed in the table of changes; more are counted.
const FILES_LISTED_MAX: usize = 40;
/// Notes that are listed.
const NOTES_LISTED_MAX: usize = 10;
/// Longest manifest that is shown.
const MANIFEST_CHARS_MAX: usize = 12_000;
/// Longest note.
const NOTE_CHARS_MAX: usize = 400;
/// The divisor of all these lengths for a body that came out too long: escaping makes at most five characters of
/// one.
const SHARE_OF_LONG: usize = 5;

/// The pull request to open for a verified proposal: always a draft, from the job's branch.
pub fn render(evidence: &Evidence, verified: &Verified, base_branch: &str) -> NewPullRequest {
    NewPullRequest {
        title: title(evidence),
        body: body(evidence, verified, base_branch),
        head: evidence.job().branch(),
        base: base_branch.to_owned(),
    }
}

/// The title: that of the issue, inert.
pub fn title(evidence: &Evidence) -> String {
    let issue = evidence.issue();
    match line(&issue.title, TITLE_CHARS_MAX) {
        title if title.trim().is_empty() => format!("Fix issue {}", issue.number),
        title => format!("Fix: {title}"),
    }
}

/// The commit's message: the issue's title, its number, and the labeller as co-author. A later round says that it
/// answers a review. The message closes no issue; the pull request does, when a person merges it.
pub fn commit_message(trigger: &Trigger, round: u32) -> String {
    let issue = &trigger.issue;
    let start = if round > 1 { "Review: " } else { "Fix: " };
    let subject = match line(&issue.title, SUBJECT_CHARS_MAX - start.len()) {
        title if title.trim().is_empty() => {
            format!("{} issue {}", start.trim_end_matches(": "), issue.number)
        }
        title => format!("{start}{title}"),
    };
    if issue.origin() == Origin::Local {
        return format!("{subject}\n");
    }
    let (login, id) = (&trigger.labeller, trigger.labeller_id);
    let co_author = format!("Co-authored-by: {login} <{id}+{login}@users.noreply.github.com>");
    format!("{subject}\n\nFor issue #{}.\n\n{co_author}\n", issue.number)
}

/// The body. If escaping made it longer than GitHub accepts, foreign text is cut shorter.
fn body(evidence: &Evidence, verified: &Verified, base_branch: &str) -> String {
    let whole = body_with(evidence, verified, base_branch, 1);
    match whole.chars().count() > COMMENT_CHARS_MAX {
        true => body_with(evidence, verified, base_branch, SHARE_OF_LONG),
        false => whole,
    }
}

/// The body, with foreign text cut to one `share`th of its usual length.
fn body_with(evidence: &Evidence, verified: &Verified, base_branch: &str, share: usize) -> String {
    let marker = evidence.marker(MarkerKind::PullRequest);
    let parts = [
        Some(format!("{marker}\n{}", opening(evidence))),
        sections::flags(verified.flags()),
        Some(what_was_wrong(evidence)),
        Some(what_changed(evidence, share)),
        Some(sections::what_was_run(evidence, verified, share)),
        verified.proof().and_then(sections::proof),
        plan(evidence, share),
        found_setup(evidence),
        Some(account(evidence, verified.tree(), base_branch)),
        evidence.manifest.as_ref().map(|sealed| manifest(sealed, evidence)),
        notes(evidence, share),
        Some(next_steps(evidence)),
        Some(evidence.footer()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n") + "\n"
}

fn opening(evidence: &Evidence) -> String {
    let issue = evidence.issue();
    let asked = format!("asked for by {}", code_span(evidence.labeller().as_str()));
    let first = match issue.origin() {
        Origin::Local => format!("Local issue · {asked}"),
        Origin::GitHub { issue } => format!("Fixes #{issue} · {asked}"),
    };
    format!("{first}\n\nWritten by a language model. Review it before you merge.")
}

fn what_was_wrong(evidence: &Evidence) -> String {
    format!("### What was wrong\n\n> {}", inline(&evidence.issue().title))
}

/// What changed: the agent's summary and a table of files, with long texts cut to one `share`th.
fn what_changed(evidence: &Evidence, share: usize) -> String {
    let changes = match &evidence.patch {
        Some(patch) if !patch.files.is_empty() => format!("\n\n{}", change_table(patch)),
        Some(_) | None if evidence.paths_written.is_empty() => String::new(),
        Some(_) | None => {
            let paths = evidence.paths_written.iter().take(FILES_LISTED_MAX);
            let list: Vec<String> =
                paths.map(|path| format!("- {}", code_span(&cut(path, PATH_CHARS_MAX)))).collect();
            format!("\n\nChanged files:\n\n{}", list.join("\n"))
        }
    };
    format!("{}{changes}", summary(evidence, share))
}

/// The agent's summary under the heading of what changed, cut to one `share`th. After a review it is that of the round
/// which fixed the issue, and the rounds after it are listed.
pub(super) fn summary(evidence: &Evidence, share: usize) -> String {
    let own = evidence.summary.as_deref().map(str::trim).filter(|summary| !summary.is_empty());
    let (fix, later) = match evidence.earlier_rounds.split_first() {
        Some((fix, later)) => (Some(fix.summary.as_str()), later),
        None => (own, [].as_slice()),
    };
    let mut text = match fix {
        Some(summary) => {
            format!("The agent's summary:\n\n{}", quoted(&cut(summary, SUMMARY_CHARS_MAX / share)))
        }
        None => "The agent left no summary.".to_owned(),
    };
    if !evidence.earlier_rounds.is_empty() {
        let line = |number: u32, summary: &str| {
            format!("- Round {number}: {}", inline(&cut(summary, ROUND_CHARS_MAX / share)))
        };
        let left_out = later.len().saturating_sub(ROUNDS_LISTED_MAX);
        let mut lines: Vec<String> =
            later.iter().skip(left_out).map(|round| line(round.number, round.summary.trim())).collect();
        if left_out > 0 {
            lines.insert(0, format!("- … {left_out} earlier rounds"));
        }
        lines.push(line(evidence.round, own.unwrap_or("the agent left no summary")));
        text = format!(
            "{}\n\nChanged after that, in answer to reviews and checks:\n\n{}",
            text.trim_end(),
            lines.join("\n")
        );
    }
    format!("### What changed\n\n{text}")
}

fn change_table(patch: &Patch) -> String {
    let mut rows = vec![FILE_TABLE_HEAD.to_owned()];
    rows.extend(patch.files.iter().take(FILES_LISTED_MAX).map(file_row));
    let more = patch.files.len().saturating_sub(FILES_LISTED_MAX) as u64;
    if more > 0 {
        let all = patch.stat;
        let (added, removed) = (thousands(all.insertions as u64), thousands(all.deletions as u64));
        rows.push(format!(
            "| … {more} more; all {} files | {added} | {removed} |",
            thousands(all.files as u64)
        ));
    }
    rows.join("\n")
}

fn plan(evidence: &Evidence, share: usize) -> Option<String> {
    let plan = evidence.plan.as_deref().map(str::trim).filter(|plan| !plan.is_empty())?;
    let quoted = quoted(&cut(plan, PLAN_CHARS_MAX / share));
    Some(format!("<details><summary>The agent's plan</summary>\n\n{quoted}\n\n</details>"))
}

fn account(evidence: &Evidence, tree: &Sha, base_branch: &str) -> String {
    let models = evidence.models.iter().map(|model| code_cell(model)).collect::<Vec<_>>().join(", ");
    let sandboxes: Vec<String> = evidence
        .sandboxes
        .iter()
        .map(|used| format!("{}: {}", cell(&used.purposes.join(", ")), cell(&cut(&used.description, 600))))
        .collect();
    let suite = evidence.settings.as_ref().map_or_else(String::new, |settings| {
        let command = code_cell(&cut(&settings.test_command, PATH_CHARS_MAX));
        format!("| Test command | {command}, from {} |\n", cell(&settings.test_command_source))
    });
    let row = |(name, words): (&str, String)| format!("| {name} | {} |\n", words.replace('|', "\\|"));
    let environment: String = evidence.environment.rows().into_iter().map(row).collect();
    let base_sha =
        evidence.base.as_ref().map_or_else(|| "unknown".to_owned(), |base| format!("`{}`", base.sha));
    format!(
        "<details><summary>Cost and provenance</summary>\n\n| | |\n|---|---|\n\
         | Spent | {} |\n| Time | {} |\n| Model | {} |\n| Base | {base_sha} of {} |\n| Tree | `{tree}` |\n\
         {suite}| Sandbox | {} |\n{environment}\n</details>",
        spend(&evidence.spend),
        time(evidence.duration),
        if models.is_empty() { "unknown".to_owned() } else { models },
        code_cell(base_branch),
        if sandboxes.is_empty() { "unknown".to_owned() } else { sandboxes.join("<br>") },
    )
}

/// The manifest and its signature, for everybody who wants to check it. Its digest also stands in a hidden comment.
fn manifest(manifest: &Sealed, evidence: &Evidence) -> String {
    let digest = &manifest.sha256;
    let text = manifest.to_text();
    let body = match text.chars().count() > MANIFEST_CHARS_MAX {
        true => {
            "It is too long to show here. The operator can print it: `mendwright transcript JOB --manifest`.\n"
                .to_owned()
        }
        false => fenced(&quiet_json(&text), "json"),
    };
    let signature = evidence.signature.as_ref();
    let signed = signature.map(|signature| format!("\n\n{}", describe_signature(signature)));
    let mut command = format!("mendwright verify --manifest manifest.json --digest {digest} --repo .");
    if let Some(signature) = signature {
        command += &format!(" \\\n  --signature {} --public-key keys.pem", signature.signature);
    }
    command += &evidence.settings.as_ref().map(command_line_options).unwrap_or_default();
    format!(
        "<!-- mendwright:manifest:{digest} -->\n<details><summary>Manifest {}…: verify it yourself</summary>\n\n\
         SHA-256 `{digest}`. Save the following as `manifest.json` and check that the verdict still holds:\n\n\
         {}{}\n\n{body}\n</details>",
        &digest[..12],
        fenced(&command, "").trim_end(),
        signed.unwrap_or_default(),
    )
}

/// The options for commands that the base commit does not say: the job was given them, or the setup agent found them.
fn command_line_options(settings: &JobSettings) -> String {
    let is_missing = |source: &str| [FROM_THE_COMMAND_LINE, FOUND_BY_SETUP_AGENT].contains(&source);
    let mut given = Vec::new();
    if is_missing(&settings.test_command_source) {
        given.push(("--test", &settings.test_command));
    }
    if is_missing(&settings.setup_source) {
        given.extend(settings.setup_commands.iter().map(|command| ("--setup", command)));
    }
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    given.iter().map(|(option, command)| format!(" \\\n  {option} {}", quoted(command))).collect()
}

fn describe_signature(signature: &ManifestSignature) -> String {
    let keys = match &signature.keys_url {
        Some(url) => {
            format!("The service gives out its public keys at {}; save them as `keys.pem`.", code_span(url))
        }
        None => {
            format!("The operator has the public keys: `{PUBLIC_KEYS_FILE}` in the service's data directory.")
        }
    };
    format!("Signed (Ed25519) with the service's key `{}`. {keys}", signature.key_id)
}

/// JSON in which every character is escaped that could have an effect in a commit message: a squash merge can turn
/// this text into one. The JSON's value and its digest stay the same.
fn quiet_json(text: &str) -> String {
    let mut quiet = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '#' => quiet.push_str("\\u0023"),
            '@' => quiet.push_str("\\u0040"),
            // A bracket of the JSON itself is followed by a line end or another bracket.
            '[' if rest.as_str().starts_with(char::is_alphanumeric) => quiet.push_str("\\u005b"),
            c => quiet.push(c),
        }
    }
    quiet
}

fn notes(evidence: &Evidence, share: usize) -> Option<String> {
    let notes: Vec<String> = evidence
        .notes
        .iter()
        .take(NOTES_LISTED_MAX)
        .map(|note| format!("- {}", inline(&cut(note, NOTE_CHARS_MAX / share))))
        .collect();
    (!notes.is_empty())
        .then(|| format!("<details><summary>Notes</summary>\n\n{}\n\n</details>", notes.join("\n")))
}

fn next_steps(evidence: &Evidence) -> String {
    let label = code_span(&evidence.label);
    let branch = code_span(&evidence.job().branch());
    format!(
        "### What to do next\n\n\
         - **Looks good?** Mark it ready for review and merge it as usual. Mendwright never does either.\n\
         - **Almost?** Request changes in a review, or mention the bot in a comment; it continues on this branch. You can \
         also push to {branch} yourself; your commits stay.\n\
         - **Not at all?** Close it. To start over, remove the {label} label from the issue and add it again."
    )
}
