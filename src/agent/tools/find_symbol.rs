//! `find_symbol`: where a name is defined and used.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::{DefinitionText, FindSymbol, SymbolLocation, SymbolLocations};

const PLACES_MAX: u32 = 60;
/// Lines of definitions that are shown, all together.
const BODY_LINES_MAX: u32 = 300;

pub(super) struct FindSymbolTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The name of a function, type, method, constant or the like; `Type.method` narrows it down.
    name: String,
    /// Show all of each definition with line numbers, instead of where the name is used. Default false.
    body: Option<bool>,
}

#[async_trait]
impl Tool for FindSymbolTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("find_symbol", include_str!("../prompts/tools/find_symbol.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let with_body = arguments.body.unwrap_or(false);
        let request = FindSymbol {
            name: arguments.name.clone(),
            places_max: PLACES_MAX,
            body_lines_max: if with_body { BODY_LINES_MAX } else { 0 },
        };
        let mut found = context.toolbox.find_symbol(&request).await?;
        if with_body && !found.definitions.is_empty() {
            found.references.clear();
        }
        Ok(ToolAnswer::Text(rendered(&arguments.name, &found)))
    }
}

fn rendered(name: &str, found: &SymbolLocations) -> String {
    let mut text = String::new();
    if found.names.is_empty() {
        text.push_str(&format!("Nothing defines or uses `{name}` in code."));
        if !found.near.is_empty() {
            text.push_str(&format!(" Names that come near: {}.", found.near.join(", ")));
        }
        text.push('\n');
    } else if found.definitions.is_empty() {
        text.push_str("It is used, and defined nowhere in this repository.\n");
    }
    for place in &found.definitions {
        let within =
            place.container.as_deref().map_or_else(String::new, |container| format!(" in {container}"));
        let Some(DefinitionText { first_line, lines, left_out }) = &place.body else {
            text.push_str(&format!(
                "{}:{} ({}{within}): {}\n",
                place.path, place.line, place.kind, place.text
            ));
            continue;
        };
        text.push_str(&format!("{}:{} ({}{within}):\n", place.path, place.line, place.kind));
        for (number, line) in (*first_line..).zip(lines) {
            text.push_str(&format!("{number:>6}\t{line}\n"));
        }
        if *left_out > 0 {
            let next = *first_line as usize + lines.len();
            text.push_str(&format!("… ({left_out} more lines; go on with read_file at first_line {next})\n"));
        }
    }
    if !found.references.is_empty() {
        text.push_str("used in:\n");
    }
    for SymbolLocation { path, line, text: code, .. } in &found.references {
        text.push_str(&format!("{path}:{line}: {code}\n"));
    }
    if found.more {
        text.push_str("… and more; search shows the rest.\n");
    }
    if found.not_looked_at > 0 {
        text.push_str(&format!("({} files were not looked at.)\n", found.not_looked_at));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, line: u32, kind: &str, container: Option<&str>, text: &str) -> SymbolLocation {
        SymbolLocation {
            path: path.into(),
            line,
            kind: kind.into(),
            container: container.map(str::to_owned),
            text: text.into(),
            body: None,
        }
    }

    #[test]
    fn whole_definition_is_shown_with_line_numbers() {
        let lines = vec!["def pay(self):".to_owned(), "    return 1".to_owned()];
        let mut definition = place("a.py", 3, "method", Some("Cart"), "def pay(self):");
        definition.body = Some(DefinitionText { first_line: 3, lines, left_out: 7 });
        let found = SymbolLocations {
            names: vec!["pay".into()],
            definitions: vec![definition],
            ..SymbolLocations::default()
        };
        let expected = "a.py:3 (method in Cart):\n     3\tdef pay(self):\n     4\t    return 1\n\
                        … (7 more lines; go on with read_file at first_line 5)\n";
        assert_eq!(rendered("pay", &found), expected);
    }

    #[test]
    fn definitions_come_before_uses() {
        let found = SymbolLocations {
            names: vec!["pay".into()],
            definitions: vec![place("a.py", 3, "method", Some("Cart"), "def pay(self):")],
            references: vec![place("b.py", 9, "reference", None, "cart.pay()")],
            more: true,
            ..SymbolLocations::default()
        };
        insta::assert_snapshot!(rendered("pay", &found), @r"
        a.py:3 (method in Cart): def pay(self):
        used in:
        b.py:9: cart.pay()
        … and more; search shows the rest.
        ");
    }

    #[test]
    fn unknown_name_is_answered_with_similar_names() {
        let found = SymbolLocations {
            near: vec!["pay".into(), "payer".into()],
            not_looked_at: 2,
            ..SymbolLocations::default()
        };
        insta::assert_snapshot!(rendered("pya", &found), @r"
        Nothing defines or uses `pya` in code. Names that come near: pay, payer.
        (2 files were not looked at.)
        ");
    }
}
