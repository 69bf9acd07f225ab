//! Expressions in workflows: `${{ matrix.NAME }}` is replaced from one row of the matrix, the one that runs on
//! Ubuntu. No other expression is supported.

use std::collections::BTreeMap;

use serde_json::Value;

/// One row of a job's matrix: simple values by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matrix(BTreeMap<String, String>);

impl Matrix {
    /// From a job's `strategy:`.
    pub(super) fn of(strategy: Option<&Value>) -> Self {
        let Some(Value::Object(matrix)) = strategy.and_then(|strategy| strategy.get("matrix")) else {
            return Self::default();
        };
        let mut row = BTreeMap::new();
        for (name, values) in matrix {
            let Value::Array(values) = values else { continue };
            if name == "include" || name == "exclude" {
                continue;
            }
            let simple: Vec<String> = values.iter().filter_map(scalar).collect();
            let on_ubuntu = simple.iter().find(|value| value.contains("ubuntu"));
            if let Some(value) = on_ubuntu.or(simple.first()) {
                row.insert(name.clone(), value.clone());
            }
        }
        // Rows of `include` count only if there are no others.
        let added = matrix.get("include").and_then(Value::as_array).filter(|_| row.is_empty());
        let rows: Vec<BTreeMap<String, String>> = added
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(|added| {
                added.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
            })
            .collect();
        let text = |row: &BTreeMap<String, String>| row.values().cloned().collect::<Vec<_>>().join(" ");
        let texts: Vec<String> = rows.iter().map(text).collect();
        let on_ubuntu = texts.iter().position(|text| text.contains("ubuntu")).unwrap_or(0);
        row.extend(rows.into_iter().nth(on_ubuntu).unwrap_or_default());
        Self(row)
    }

    /// `text` with matrix values in place; `None` if it has another expression.
    pub(super) fn resolve(&self, text: &str) -> Option<String> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}")?;
            let value = self.0.get(expression.trim().strip_prefix("matrix.")?)?;
            resolved.push_str(before);
            resolved.push_str(value);
            rest = after;
        }
        resolved.push_str(rest);
        Some(resolved)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains("${{") => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_one_matrix_row_are_replaced_and_nothing_else() {
        let strategy =
            json!({"matrix": {"os": ["macos-14", "ubuntu-24.04"], "py": [3.12, 3.9], "x": [{"a": 1}]}});
        let matrix = Matrix::of(Some(&strategy));
        assert_eq!(matrix.resolve("${{ matrix.os }} ${{matrix.py}}").as_deref(), Some("ubuntu-24.04 3.12"));
        for other in [
            "${{ matrix.x }}",
            "${{ secrets.A }}",
            "${{ github.ref }}",
            "${{ matrix.os",
            "${{ matrix.os == 'a' }}",
        ] {
            assert_eq!(matrix.resolve(other), None, "{other}");
        }
        let included =
            json!({"matrix": {"include": [{"os": "windows", "v": 1}, {"os": "ubuntu-latest", "v": 2}]}});
        assert_eq!(Matrix::of(Some(&included)).resolve("${{ matrix.v }}").as_deref(), Some("2"));
        assert_eq!(Matrix::of(Some(&json!({"matrix": "${{ fromJSON(x) }}"}))), Matrix::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_resolved_without_panic(text in "[${}a-z. é]{0,60}") {
            let _ = Matrix::default().resolve(&text);
        }
    }
}
