//! cargo's names for the files of integration tests, which `cargo test` and nextest take.

/// cargo's name for the file of an integration test.
fn cargo_target(path: &str) -> Result<String, String> {
    let within = path.strip_prefix("tests/").and_then(|rest| rest.strip_suffix(".rs"));
    let target = within.map(|rest| rest.strip_suffix("/main").unwrap_or(rest));
    target.filter(|target| !target.contains('/')).map(str::to_owned).ok_or_else(|| {
        "cargo takes files directly below `tests/` only. For unit tests give the name, for instance `module::tests`."
            .to_owned()
    })
}

/// The arguments for the tests of a file, or of a name, or both.
pub(super) fn select(path: Option<&str>, name: Option<&str>) -> Option<Result<Vec<String>, String>> {
    let name = name.map(str::to_owned);
    match path {
        Some(path) => Some(cargo_target(path).map(|target| {
            let mut arguments = vec!["--test".to_owned(), target];
            arguments.extend(name);
            arguments
        })),
        None => name.map(|name| Ok(vec![name])),
    }
}
