//! `search`: lines that match, over the whole tree.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::{Search, SearchHits};

const MATCHES_MAX: u32 = 100;
const CONTEXT_LINES_MAX: u32 = 10;

pub(super) struct SearchTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to look for: a regular expression in Rust's syntax, or literal text.
    pattern: String,
    /// Take `pattern` as literal text. Default false.
    literal: Option<bool>,
    /// Directory or file to search. Default: everything.
    path: Option<String>,
    /// Only paths that this glob matches.
    glob: Option<String>,
    /// Lines shown before and after each match, at most 10. Default 0.
    context_lines: Option<u32>,
}

#[async_trait]
impl Tool for SearchTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("search", include_str!("../prompts/tools/search.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let request = Search {
            pattern: arguments.pattern,
            literal: arguments.literal.unwrap_or(false),
            path: arguments.path.unwrap_or_default(),
            glob: arguments.glob,
            context_lines: arguments.context_lines.unwrap_or(0).min(CONTEXT_LINES_MAX),
            matches_max: MATCHES_MAX,
        };
        let hits = context.toolbox.search(&request).await?;
        Ok(ToolAnswer::Text(rendered(&hits)))
    }
}

fn rendered(hits: &SearchHits) -> String {
    if hits.matches == 0 {
        return format!("No match in {} files.", hits.files_searched);
    }
    let mut text = String::new();
    let mut previous: Option<(&str, u64)> = None;
    for line in &hits.lines {
        match previous {
            Some((path, number)) if path == line.path => {
                if number + 1 != line.line && hits.lines.iter().any(|line| !line.is_match) {
                    text.push_str("--\n");
                }
            }
            _ => text.push_str(&format!("{}\n", line.path)),
        }
        let mark = if line.is_match { ':' } else { '-' };
        text.push_str(&format!("{}{mark}{}\n", line.line, line.text));
        previous = Some((&line.path, line.line));
    }
    if hits.more {
        text.push_str(&format!("… stopped after {} matches; narrow the search.\n", hits.matches));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::protocol::SearchLine;

    #[test]
    fn matches_are_grouped_by_file() {
        let line = |path: &str, line, text: &str, is_match| SearchLine {
            path: path.into(),
            line,
            text: text.into(),
            is_match,
        };
        let lines = vec![
            line("a.py", 3, "def f():", false),
            line("a.py", 4, "    return 1", true),
            line("a.py", 7, "return 1", true),
            line("b.py", 9, "return 1", true),
        ];
        let hits = SearchHits { lines, matches: 2, more: true, files_searched: 5 };
        insta::assert_snapshot!(rendered(&hits), @r"
        a.py
        3-def f():
        4:    return 1
        --
        7:return 1
        b.py
        9:return 1
        … stopped after 2 matches; narrow the search.
        ");
    }
}
