//! What a test compares with: the literals in its body, and the body with other ones. A test that passes with
//! other values, too, compares nothing. Pure functions over text, for any language.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::test_files::declaration;

/// Literals of one test that are looked at.
const LITERALS_MAX: usize = 200;
/// Lines of one test.
const LINES_MAX: usize = 200;

/// Texts of several lines first, so that their quotes open nothing.
static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
        "{3}(?s:.*?)"{3} | '{3}(?s:.*?)'{3}
        | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `(?:[^`\\\n]|\\.)*`
        | \b(?:true|false|True|False|TRUE|FALSE)\b
        | \b\d+(?:\.\d+)?(?:[ui](?:8|16|32|64|128|size)|f32|f64|n|L|UL|u|l|f)?\b"#,
    )
    .expect("a valid expression")
});

/// Lines that compare values.
static COMPARES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"==|!=|(?i:equal|eq\b|same|contain|match|deeply|like|cmp_ok|assert_?in\b|assert_?that)|\bto(?:Be|Have)|\b(?:is|isnt|ok)\s*\(|\bin\b",
    )
    .expect("a valid expression")
});

/// The line of the text in which a byte lies.
fn line_around(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Whether what follows a text is in a comment of one line.
fn is_comment(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    line.starts_with(['#', '*']) && !line.starts_with("#[") || line.contains("//") || line.contains(" # ")
}

/// A literal of a test, and another value in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlteredLiteral {
    /// The literal's bytes in the file.
    pub(super) range: Range<usize>,
    /// What is put there.
    pub(super) replacement: String,
}

/// The literals in the body of the test of this name, in their order. `None`: the text does not declare it.
pub(super) fn literals_of_test(content: &str, name: &str) -> Option<Vec<AlteredLiteral>> {
    let declared = declaration(content, name)?;
    let body = block_at(content, declared.start);
    let altered = LITERAL.find_iter(&content[body.clone()]).filter_map(|found| {
        let range = body.start + found.start()..body.start + found.end();
        // The test's own name must stay.
        let is_name = range.start < declared.end && declared.start < range.end;
        let is_index = content[..range.start].ends_with('[') && content[range.end..].starts_with(']');
        let line = line_around(content, range.start);
        let compares = COMPARES.is_match(line) && !is_comment(&content[..range.start]);
        let replacement = altered(found.as_str()).filter(|_| compares && !is_name && !is_index)?;
        Some(AlteredLiteral { range, replacement })
    });
    Some(altered.take(LITERALS_MAX).collect())
}

/// A text with these literals replaced.
pub(super) fn with_literals(content: &str, literals: &[AlteredLiteral]) -> String {
    let mut sorted: Vec<&AlteredLiteral> = literals.iter().collect();
    sorted.sort_by_key(|literal| literal.range.start);
    let (mut text, mut end) = (String::with_capacity(content.len()), 0);
    for literal in sorted.into_iter().filter(|literal| literal.range.end <= content.len()) {
        if literal.range.start >= end {
            text.push_str(&content[end..literal.range.start]);
            text.push_str(&literal.replacement);
            end = literal.range.end;
        }
    }
    text + &content[end..]
}

/// Another value of the same type.
fn altered(literal: &str) -> Option<String> {
    let other = match literal {
        "true" => "false",
        "false" => "true",
        "True" => "False",
        "False" => "True",
        "TRUE" => "FALSE",
        "FALSE" => "TRUE",
        _ => "",
    };
    if !other.is_empty() {
        return Some(other.to_owned());
    }
    let digits: String = literal.chars().take_while(char::is_ascii_digit).collect();
    if !digits.is_empty() {
        let next = digits.parse::<u64>().ok()?.checked_add(1)?;
        return Some(format!("{next}{}", &literal[digits.len()..]));
    }
    let quote = literal.chars().next()?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    // Of an empty text it is not known whether it is one, and a text of several lines is often no value.
    if inner.is_empty() || inner.starts_with(quote) {
        return None;
    }
    // A character stays a character.
    let is_character = quote == '\'' && inner.chars().count() == 1;
    let letter = if inner.ends_with('q') { 'z' } else { 'q' };
    Some(match is_character {
        true => format!("{quote}{letter}{quote}"),
        false => format!("{quote}{inner}{letter}{quote}"),
    })
}

/// The lines that belong together with the one at `at`: those below that are indented further, the line that closes
/// them, and attributes above.
fn block_at(content: &str, at: usize) -> Range<usize> {
    let mut start = content[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let first = content[start..].lines().next().unwrap_or_default();
    let depth = indentation(first);
    let mut end = start;
    for (number, line) in content[start..].split_inclusive('\n').enumerate() {
        let text = line.trim();
        let is_inside = number == 0 || text.is_empty() || indentation(line.trim_end()) > depth;
        let is_end = text.starts_with(['}', ')', ']']) || text == "end" || text.starts_with("{");
        if number >= LINES_MAX || !(is_inside || is_end) {
            break;
        }
        end += line.len();
        if !is_inside && !text.starts_with('{') {
            break;
        }
    }
    while let Some(above) = content[..start].strip_suffix('\n') {
        let line_start = above.rfind('\n').map_or(0, |newline| newline + 1);
        if !above[line_start..].trim_start().starts_with(['@', '#']) {
            break;
        }
        start = line_start;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(content: &str, name: &str) -> Vec<String> {
        let literals = literals_of_test(content, name).unwrap();
        literals
            .iter()
            .map(|literal| format!("{} → {}", &content[literal.range.clone()], literal.replacement))
            .collect()
    }

    #[test]
    fn literals_of_a_test_are_found_in_every_spelling() {
        let python = "import x\n\n@mark(7)\ndef test_add():\n    \"\"\"Adds 1.\"\"\"\n    assert add(2, 2.5) == 'four'\n\ndef test_b():\n    assert 9\n";
        assert_eq!(shown(python, "tests/test_a.py::test_add[1]"), ["2 → 3", "2.5 → 3.5", "'four' → 'fourq'"]);
        let rust = "#[test]\nfn adds() { assert_eq!(calc::add(2u8, 2), 4); }\n#[test]\nfn bools() {\n    assert_eq!(f(), true);\n}\n";
        assert_eq!(shown(rust, "tests::adds"), ["2u8 → 3u8", "2 → 3", "4 → 5"]);
        assert_eq!(shown(rust, "bools"), ["true → false"]);
        let js = "describe('sum', () => {\n  it('adds up', () => {\n    expect(add(1, [2][0])).toBe(\"x\");\n  });\n  it('b', f(8));\n});\n";
        assert_eq!(shown(js, "sum > adds up"), ["1 → 2", "\"x\" → \"xq\""]);
        let go = "func TestAdd(t *testing.T) {\n\tif add(2, 2) != 4 {\n\t\tt.Errorf(\"bad\")\n\t}\n}\n\nfunc TestB() {}\n";
        assert_eq!(shown(go, "TestAdd"), ["2 → 3", "2 → 3", "4 → 5"]);
        let java =
            "class A {\n  @Test\n  void adds()\n  {\n    assertEquals('c', a(1L));\n  }\n  int x = 5;\n}\n";
        assert_eq!(shown(java, "org.A.adds"), ["'c' → 'q'", "1L → 2L"]);
        let ruby = "describe 'a' do\n  it('adds') do\n    expect(1).to eq(2)\n  end\n  it 'b'\nend\n";
        assert_eq!(shown(ruby, "adds"), ["1 → 2", "2 → 3"]);
    }

    #[test]
    fn test_that_a_text_does_not_declare_has_no_literals() {
        assert_eq!(literals_of_test("x = adds\n", "adds"), None);
        assert_eq!(literals_of_test("", "a"), None);
    }

    #[test]
    fn literals_are_replaced_where_they_stand() {
        let content = "def test_a():\n    assert f(1) == 2\n";
        let literals = literals_of_test(content, "test_a").unwrap();
        assert_eq!(with_literals(content, &literals), "def test_a():\n    assert f(2) == 3\n");
        assert_eq!(with_literals(content, &literals[1..]), "def test_a():\n    assert f(1) == 3\n");
        let outside = AlteredLiteral { range: 90..99, replacement: String::new() };
        assert_eq!(with_literals(content, &[outside]), content);
    }
}
