use super::*;

fn moved(path: &str, source: &str, tests: &str) -> TestItemsMoved {
    let request = TestItems { path: path.to_owned(), source: source.to_owned(), tests: tests.to_owned() };
    move_test_items(&request)
}

const RUST: &str = "\
//! A crate.

/// Adds.
///
/// ```
/// assert_eq!(a::add(1, 2), 3);
/// ```
pub fn add(a: i32, b: i32) -> i32 {
    a + b
}

struct S;

impl S {
    #[cfg(test)]
    fn for_tests() -> Self {
        S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds() {
        assert_eq!(add(1, 2), 3);
    }
}
";

#[test]
fn version_without_changed_tests_stays_as_it_is() {
    let source = RUST.replace("a + b", "b + a");
    let moved = moved("src/lib.rs", &source, RUST);
    assert_eq!(moved, TestItemsMoved { content: source, ..TestItemsMoved::default() });
}

#[test]
fn weakened_rust_tests_and_doctests_are_put_back() {
    let source = RUST
        .replace("a + b", "a - b")
        .replace("    assert_eq!(add(1, 2), 3);\n    }", "    assert!(true);\n    }")
        .replace("/// assert_eq!(a::add(1, 2), 3);", "/// assert!(true);")
        .replace("        S\n", "        unimplemented!()\n");
    let moved = moved("src/lib.rs", &source, RUST);
    assert_eq!(moved.content, RUST.replace("a + b", "a - b"));
    assert_eq!(
        moved.changed,
        ["docs of function add", "impl S / function for_tests", "mod tests / function adds"]
    );
    assert_eq!(moved.lost, [""; 0]);
}

#[test]
fn removed_items_come_back_and_new_ones_go() {
    let without = "pub fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n\nstruct S;\n\nimpl S {\n}\n";
    let back = moved("src/lib.rs", without, RUST);
    assert_eq!(back.lost, [""; 0]);
    for part in ["/// assert_eq!", "fn for_tests", "mod tests {"] {
        assert_eq!(back.content.matches(part).count(), 1, "{part}: {}", back.content);
    }
    let tests = back.content.find("impl S {").unwrap();
    assert!(
        back.content[tests..].contains("    fn for_tests() -> Self {\n        S\n    }\n}\n"),
        "{}",
        back.content
    );
    let gone = moved("src/lib.rs", RUST, without);
    assert!(!gone.content.contains("test") && gone.content.contains("pub fn add"), "{}", gone.content);
}

#[test]
fn rust_test_is_told_from_what_only_looks_like_one() {
    let tests = "\
#[tokio::test(flavor = \"multi_thread\")]
async fn a() {}
#[rstest]
#[case(1)]
fn b(#[case] n: u8) {}
#[cfg(all(test, unix))]
fn c() {}
#[cfg(test)]
use std::fmt;
#[test]
#[should_panic]
fn d() { panic!() }
#[cfg(not(test))]
fn e() {}
#[cfg(feature = \"test\")]
fn f() {}
#[cfg_attr(test, derive(Debug))]
struct G;
/// Plain words.
fn h() {}
";
    let left = moved("a.rs", tests, "").content;
    let kept = &tests[tests.find("#[cfg(not").unwrap()..];
    assert_eq!(left, kept);
    let whole = "#![cfg(test)]\nfn a() {}\n";
    let other = moved("a.rs", "#![cfg(test)]\n", whole);
    assert_eq!(
        (other.content.as_str(), other.changed.as_slice()),
        (whole, &["the whole file".to_owned()][..])
    );
}

#[test]
fn item_whose_container_is_gone_is_lost() {
    let moved = moved("src/lib.rs", "struct S;\n", RUST);
    assert_eq!(moved.lost, ["docs of function add", "impl S / function for_tests"]);
    assert!(moved.content.contains("mod tests"), "{}", moved.content);
}

#[test]
fn python_doctests_and_test_classes_are_put_back() {
    let base = "\
import unittest


def add(a, b):
    \"\"\"Adds.

    >>> add(1, 2)
    3
    \"\"\"
    return a + b


class A:
    def only(self):
        '''>>> A().only()'''


class AddTest(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 2), 3)
";
    let source = base
        .replace("    >>> add(1, 2)\n    3\n", "    >>> add(1, 2) is None\n    False\n")
        .replace("a + b", "a - b")
        .replace("'''>>> A().only()'''", "pass")
        .replace("        self.assertEqual(add(1, 2), 3)", "        pass");
    let moved = moved("add.py", &source, base);
    let expected = base.replace("a + b", "a - b").replace("only()'''\n", "only()'''\n        pass\n");
    assert_eq!(moved.content, expected);
    assert_eq!(moved.lost, [""; 0]);
    assert_eq!(
        moved.changed,
        [
            "class AddTest / function_definition test_add",
            "docstring of class A / def only / ",
            "docstring of def add / "
        ]
    );
    let none =
        move_test_items(&TestItems { path: "add.py".into(), source: base.into(), tests: "x = 1\n".into() });
    assert!(!none.content.contains(">>>") && !none.content.contains("AddTest"), "{}", none.content);
    assert!(none.content.contains("def only(self):\n        \"\"\n"), "{}", none.content);
}

#[test]
fn blocks_of_vitest_and_functions_of_go_are_put_back() {
    let block =
        "if (import.meta.vitest) {\n  const { it } = import.meta.vitest\n  it('a', () => { a() })\n}\n";
    let source = format!("export const a = () => 1\n{}", block.replace("a()", ""));
    let back = moved("a.ts", &source, &format!("export const a = () => 2\n{block}"));
    assert_eq!(back.content, format!("export const a = () => 1\n{block}"));
    let go = "package a\n\nfunc TestA(t *testing.T) { t.Error() }\n\nfunc ExampleA() {\n\t// Output: 1\n}\n";
    let source = go.replace("t.Error()", "").replace("1", "2") + "\nfunc Tested() int { return 1 }\n";
    let back = moved("a.go", &source, go);
    assert_eq!(back.content, format!("{go}\nfunc Tested() int {{ return 1 }}\n"));
}

#[test]
fn file_that_cannot_be_parsed_or_is_of_no_known_language_is_not_touched() {
    let same = moved("a.txt", "x", "#[test]\nfn a() {}");
    assert_eq!(same, TestItemsMoved { content: "x".to_owned(), ..TestItemsMoved::default() });
    let large = "x".repeat(FILE_BYTES_MAX + 1);
    assert_eq!(moved("a.rs", &large, "").lost, ["the file is too large to be parsed"]);
    // A broken test of the base breaks the result.
    let broken = moved("a.rs", "fn a() {}\n", "#[test]\nfn b() { (\n");
    assert!(!broken.lost.is_empty(), "{broken:?}");
}

#[test]
fn new_test_in_a_test_module_changes_no_other() {
    let new = "    #[test]\n    fn new() {\n        assert_eq!(add(2, 2), 4);\n    }\n";
    let added = RUST.replace("    #[test]\n", &format!("{new}    #[test]\n"));
    let mine = RUST.replace("a + b", "a - b");
    let with_new = moved("src/lib.rs", &mine, &added);
    assert_eq!(with_new.changed, ["mod tests / function new"]);
    assert_eq!(with_new.content, format!("{}{new}}}\n", mine.strip_suffix("}\n").unwrap()));
    let without = moved("src/lib.rs", &added, RUST);
    assert_eq!((without.changed.len(), without.added), (0, vec!["mod tests / function new".to_owned()]));
    assert_eq!(without.content, RUST);
}
