//! Mutants of a file's lines: each is one small change that makes the code do something else, so that a
//! test of these lines fails.

use std::collections::BTreeMap;
use std::ops::Range;

use tree_sitter::{Node, Parser};

use super::language;
use super::outline::parsed_best;
use super::syntax::FILE_BYTES_MAX;
use super::test_items::test_ranges;
use mendwright_protocol::{Mutant, Mutants, MutantsFound};

/// Most mutants that are compared, and most that one answer has.
const CANDIDATES_MAX: usize = 2_000;
const MUTANTS_MAX: usize = 100;
/// Longest text that a mutant replaces.
const REPLACED_BYTES_MAX: usize = 400;

/// What an operator becomes.
const OPERATORS: &[(&str, &str)] = &[
    (">", ">="),
    (">=", ">"),
    ("<", "<="),
    ("<=", "<"),
    ("==", "!="),
    ("!=", "=="),
    ("===", "!=="),
    ("!==", "==="),
    ("+", "-"),
    ("-", "+"),
    ("*", "/"),
    ("/", "*"),
    ("//", "*"),
    ("%", "*"),
    ("&&", "||"),
    ("||", "&&"),
    ("and", "or"),
    ("or", "and"),
    ("in", "not in"),
    ("is", "is not"),
    ("+=", "-="),
    ("-=", "+="),
    ("*=", "/="),
];
/// Nodes whose operators are changed.
const OPERATIONS: &[&str] = &[
    "binary_expression",
    "binary_operator",
    "binary",
    "boolean_operator",
    "comparison_operator",
    "logical_expression",
    "augmented_assignment",
    "augmented_assignment_expression",
    "compound_assignment_expr",
];
const INTEGERS: &[&str] =
    &["integer", "integer_literal", "int_literal", "number", "number_literal", "decimal_integer_literal"];
const STRINGS: &[&str] = &["string", "string_literal", "interpreted_string_literal", "encapsed_string"];
/// Nodes whose condition is negated.
const CONDITIONAL: &[&str] =
    &["if_statement", "if_expression", "elif_clause", "while_statement", "if", "unless"];

/// The mutants: the most telling of each line first, then the next ones.
pub fn mutants(request: &Mutants) -> MutantsFound {
    let Some(number) = language::of_path(&request.path) else { return MutantsFound::default() };
    if request.content.len() > FILE_BYTES_MAX {
        return MutantsFound::default();
    }
    let mut parser = Parser::new();
    let Some((number, tree)) = parsed_best(&mut parser, number, request.content.as_bytes()) else {
        return MutantsFound::default();
    };
    let name = language::SPECS[usize::from(number)].name;
    let tests = test_ranges(name, &request.content, tree.root_node());
    let mut candidates = Candidates { content: &request.content, name, lines: BTreeMap::new(), count: 0 };
    let mut cursor = tree.walk();
    'walk: loop {
        let node = cursor.node();
        let is_in = |lines: Range<u32>| request.lines.iter().any(|line| lines.contains(line));
        let rows = line_of(node.start_position().row)..line_of(node.end_position().row).saturating_add(1);
        let is_test = tests.iter().any(|range| range.contains(&node.start_byte()));
        let enters = is_in(rows) && !is_test && candidates.count < CANDIDATES_MAX;
        if enters && is_in(line_of(node.start_position().row)..line_of(node.start_position().row) + 1) {
            candidates.of(node);
        }
        if enters && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                break 'walk;
            }
        }
    }
    candidates.best((request.mutants_max as usize).min(MUTANTS_MAX))
}

fn line_of(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1).saturating_add(1)
}

struct Candidates<'a> {
    content: &'a str,
    name: &'static str,
    lines: BTreeMap<u32, Vec<Mutant>>,
    count: usize,
}

impl Candidates<'_> {
    fn text(&self, node: Node<'_>) -> &str {
        self.content.get(node.byte_range()).unwrap_or_default()
    }

    fn add(&mut self, node: Node<'_>, replacement: String) {
        let Range { start, end } = node.byte_range();
        if end - start > REPLACED_BYTES_MAX {
            return;
        }
        self.count += 1;
        let line = line_of(node.start_position().row);
        let mutant = Mutant { line, start: start as u64, end: end as u64, replacement };
        self.lines.entry(line).or_default().push(mutant);
    }

    fn of(&mut self, node: Node<'_>) {
        let kind = node.kind();
        if OPERATIONS.contains(&kind) {
            self.of_operation(node);
        }
        if CONDITIONAL.contains(&kind)
            && let Some(condition) = node.child_by_field_name("condition")
        {
            // `if let` has no value to negate.
            let is_value = !matches!(condition.kind(), "let_condition" | "let_chain");
            let inner = self.text(condition).to_owned();
            let negated = match (self.name, inner.starts_with('(')) {
                ("python", _) => format!("not ({inner})"),
                (_, true) if self.name != "rust" && self.name != "go" => format!("(!{inner})"),
                _ => format!("!({inner})"),
            };
            if is_value {
                self.add(condition, negated);
            }
        }
        if INTEGERS.contains(&kind) {
            let text = self.text(node);
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            if let Some(next) = digits.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
                let rest = text[digits.len()..].to_owned();
                if !rest.starts_with(['x', 'o', 'b', '.']) {
                    self.add(node, format!("{next}{rest}"));
                }
            }
        }
        match self.text(node) {
            "true" if node.child_count() == 0 => self.add(node, "false".to_owned()),
            "false" if node.child_count() == 0 => self.add(node, "true".to_owned()),
            "True" if node.child_count() == 0 => self.add(node, "False".to_owned()),
            "False" if node.child_count() == 0 => self.add(node, "True".to_owned()),
            _ => {}
        }
        let parent = node.parent().map(|parent| parent.kind()).unwrap_or_default();
        let is_statement = kind == "expression_statement";
        if STRINGS.contains(&kind) && parent != "expression_statement" && !parent.contains("import") {
            let text = self.text(node);
            let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'));
            if let Some(quote) = quote.filter(|_| text.len() > 2) {
                self.add(node, format!("{quote}{quote}"));
            }
        }
        if is_statement && self.text(node).contains(['(', '=']) {
            let nothing = match self.name {
                "python" => "pass",
                "rust" if !self.text(node).ends_with(';') => return,
                "ruby" | "go" => return,
                _ => ";",
            };
            self.add(node, nothing.to_owned());
        }
    }

    /// Changes its operator, and swaps its operands if their order matters.
    fn of_operation(&mut self, node: Node<'_>) {
        let mut cursor = node.walk();
        let parts: Vec<Node<'_>> = node.children(&mut cursor).collect();
        for (index, part) in parts.iter().enumerate() {
            let text = self.text(*part).to_owned();
            let found = OPERATORS.iter().find(|(operator, _)| *operator == text);
            let Some((operator, other)) = found.filter(|_| part.child_count() == 0) else { continue };
            self.add(*part, (*other).to_owned());
            let operands =
                index.checked_sub(1).and_then(|before| parts.get(before)).zip(parts.get(index + 1));
            if let Some((left, right)) = operands.filter(|_| matches!(*operator, "-" | "/" | "%")) {
                let swapped = format!("{} {operator} {}", self.text(*right), self.text(*left));
                self.add(node, swapped);
            }
        }
    }

    /// The first of each line, then the second of each, and so on.
    fn best(self, mutants_max: usize) -> MutantsFound {
        let deepest = self.lines.values().map(Vec::len).max().unwrap_or(0);
        let mut mutants = Vec::new();
        for depth in 0..deepest {
            mutants.extend(self.lines.values().filter_map(|of_line| of_line.get(depth)).cloned());
            if mutants.len() >= mutants_max {
                break;
            }
        }
        mutants.truncate(mutants_max);
        mutants.sort_by_key(|mutant| (mutant.line, mutant.start, mutant.end));
        MutantsFound { mutants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(path: &str, content: &str, lines: &[u32], mutants_max: u32) -> Vec<String> {
        let request =
            Mutants { path: path.into(), content: content.into(), lines: lines.to_vec(), mutants_max };
        let describe = |mutant: Mutant| {
            let before = &content[mutant.start as usize..mutant.end as usize];
            format!("{}: {before} → {}", mutant.line, mutant.replacement)
        };
        mutants(&request).mutants.into_iter().map(describe).collect()
    }

    #[test]
    fn operators_conditions_constants_and_statements_are_changed() {
        let python = "def f(a, b):\n    if a > b:\n        return 1\n    log(a)\n    return a - b\n";
        assert_eq!(
            described("a.py", python, &[2, 3, 4, 5], 20),
            [
                "2: a > b → not (a > b)",
                "2: > → >=",
                "3: 1 → 2",
                "4: log(a) → pass",
                "5: a - b → b - a",
                "5: - → +"
            ]
        );
        let rust = "fn f(a: u8) -> bool {\n    if a == 3 { return true; }\n    g::<u8>(a) && a < 4\n}\n";
        assert_eq!(
            described("a.rs", rust, &[2, 3], 20),
            [
                "2: a == 3 → !(a == 3)",
                "2: == → !=",
                "2: 3 → 4",
                "2: true → false",
                "3: && → ||",
                "3: < → <=",
                "3: 4 → 5"
            ]
        );
        let js = "const f = (a) => {\n  if (a === 1) { done('x'); }\n  return a + 2;\n};\n";
        assert_eq!(
            described("a.js", js, &[2, 3], 20),
            [
                "2: (a === 1) → (!(a === 1))",
                "2: === → !==",
                "2: 1 → 2",
                "2: done('x'); → ;",
                "2: 'x' → ''",
                "3: + → -",
                "3: 2 → 3"
            ]
        );
    }

    #[test]
    fn few_mutants_are_spread_over_the_lines() {
        let content = "x = 1 + 2 + 3 + 4\ny = 5\nz = 6\n";
        let few = described("a.py", content, &[1, 2, 3], 3);
        assert_eq!(few.iter().map(|line| &line[..2]).collect::<Vec<_>>(), ["1:", "2:", "3:"]);
        assert_eq!(described("a.py", content, &[], 3), [""; 0]);
        assert_eq!(described("a.txt", content, &[1], 3), [""; 0]);
    }

    #[test]
    fn tests_in_the_source_are_not_mutated() {
        let rust = "fn f() -> u8 { 1 }\n#[test]\nfn a() { assert_eq!(f(), 1); }\n";
        assert_eq!(described("a.rs", rust, &[1, 2, 3], 9), ["1: 1 → 2"]);
    }
}
