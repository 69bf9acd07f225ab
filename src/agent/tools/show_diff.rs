//! `show_diff`: what would be proposed, against the base.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::context::{changes_of, object_store_error};
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::workspace::Patch;

pub(super) struct ShowDiffTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Only this file or directory. Default: everything.
    path: Option<String>,
}

#[async_trait]
impl Tool for ShowDiffTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("show_diff", include_str!("../prompts/tools/show_diff.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { path } = parse_arguments(arguments)?;
        let path = path.as_deref().map(|path| path.trim_end_matches('/'));
        let path = path.filter(|path| !matches!(*path, "" | ".")).map(repo_path).transpose()?;
        let proposal =
            context.workspace.propose(changes_of(&context.written)).await.map_err(object_store_error)?;
        let patch = context.workspace.patch_under(&proposal.tree, path.as_ref()).await;
        let patch = patch.map_err(object_store_error)?;
        Ok(ToolAnswer::Text(describe(&patch, path.as_ref().map(|path| path.as_str()))))
    }
}

fn describe(patch: &Patch, path: Option<&str>) -> String {
    let stat = patch.stat;
    if stat.files == 0 {
        let place = path.map_or_else(String::new, |path| format!(" below {path}"));
        return format!(
            "Nothing would be proposed{place}: your tools have changed nothing of the base there."
        );
    }
    let files = if stat.files == 1 { "1 file".to_owned() } else { format!("{} files", stat.files) };
    let cut = if patch.truncated { " The diff is too long and was cut; ask for one path." } else { "" };
    format!(
        "{files} changed against the base: {} lines added (+), {} removed (-).{cut}\n\n{}",
        stat.insertions, stat.deletions, patch.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::PatchStat;

    #[test]
    fn diff_has_its_size_and_an_empty_one_says_so() {
        let stat = PatchStat { files: 1, insertions: 2, deletions: 1 };
        let patch = Patch { text: "diff --git a/x b/x\n".into(), truncated: true, stat, ..Patch::default() };
        insta::assert_snapshot!(describe(&patch, None), @r"
        1 file changed against the base: 2 lines added (+), 1 removed (-). The diff is too long and was cut; ask for one path.

        diff --git a/x b/x
        ");
        let nothing = Patch::default();
        insta::assert_snapshot!(describe(&nothing, Some("src")), @"Nothing would be proposed below src: your tools have changed nothing of the base there.");
    }
}
