//! What an edit broke, in words for the model. It is told, never refused: the next edit may mend it.

use crate::sandbox::protocol::SyntaxError;

/// Nothing where nothing broke.
pub(super) fn told(faults: &[SyntaxError]) -> String {
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
    fn a_fault_is_told_with_its_line() {
        let fault = SyntaxError { line: 4, what: "a \")\" is missing".into(), text: "return f(1".into() };
        insta::assert_snapshot!(told(&[fault]), @r#"
        The file can no longer be parsed; look at it again:
        line 4: a ")" is missing: return f(1
        "#);
        assert_eq!(told(&[]), "");
    }
}
