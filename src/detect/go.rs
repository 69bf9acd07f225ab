//! Go: modules and workspaces.

use super::shell_quoting::quoted;
use super::{Candidate, RootListing};

/// The most modules of a workspace in one command.
const MODULES_MAX: usize = 50;

/// How Go projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    let new = |sign: &str| Candidate::new("Go", sign, &["go test", "gotestsum"]);
    let (candidate, vendored) = if root.has_file("go.work") {
        let modules = root.text("go.work").map(used_modules).unwrap_or_default();
        if modules.is_empty() {
            return Some(new("go.work").untested("go.work uses no module", "go test ./MODULE/..."));
        }
        // `./...` is only the root's own module, and fails if there is none.
        let patterns: Vec<String> = modules.iter().map(|module| quoted(&format!("{module}/..."))).collect();
        let command = format!("go test {}", patterns.join(" "));
        (new("go.work").tested_by(command, "go.work; every module that it uses"), root.has("vendor"))
    } else if root.has_file("go.mod") {
        (new("go.mod").tested_by("go test ./...", "go.mod"), root.has("vendor"))
    } else {
        return None;
    };
    let sign = candidate.sign.clone();
    Some(if vendored { candidate } else { candidate.set_up_by("go mod download", sign) })
}

/// The directories after `use`, one a line or in brackets, as `.` or `./DIR`.
fn used_modules(text: &str) -> Vec<String> {
    let mut in_brackets = false;
    let mut modules = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or(line).trim();
        let module = match line.strip_prefix("use") {
            Some(rest) if rest.trim() == "(" => {
                in_brackets = true;
                continue;
            }
            Some(rest) if rest.starts_with([' ', '\t']) => rest.trim(),
            _ if line == ")" => {
                in_brackets = false;
                continue;
            }
            _ if in_brackets => line,
            _ => continue,
        };
        let module = module.trim_matches(['"', '`']).trim_end_matches('/');
        let is_inside = module == "." || (module.starts_with("./") && !module.contains(".."));
        if is_inside && modules.len() < MODULES_MAX {
            modules.push(module.to_owned());
        }
    }
    modules
}
