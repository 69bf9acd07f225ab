//! Syntax errors that an edit caused, in words for the model. The edit is not refused, because the next one
//! may fix them.

use crate::sandbox::protocol::SyntaxError;

/// Empty if there are no errors.
pub(super) fn format_syntax_errors(faults: &[SyntaxError]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let mut text = "The file can no longer be parsed; look at it again:\n".to_owned();
    for fault in faults {
        text.push_str(&format!("line {}: {}: {}\n", fault.line, fault.what, fault.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_error_is_named_with_its_line() {
        let fault = SyntaxError { line: 4, what: "a \")\" is missing".into(), text: "return f(1".into() };
        insta::assert_snapshot!(format_syntax_errors(&[fault]), @r#"
        The file can no longer be parsed; look at it again:
        line 4: a ")" is missing: return f(1
        "#);
        assert_eq!(format_syntax_errors(&[]), "");
    }
}
