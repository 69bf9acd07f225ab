//! PHP: Composer, PHPUnit, Pest.

use serde_json::Value;

use super::{Candidate, RootListing};

/// How PHP projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    let configuration = root.first(&["phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml"]);
    let has_manifest = root.has_file("composer.json");
    let sign = if has_manifest { "composer.json" } else { configuration? };
    let package: Value =
        root.text("composer.json").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut candidate =
        Candidate::new("PHP", sign, &["phpunit", "pest", "composer test", "composer run test"]);
    if has_manifest {
        let source = if root.has_file("composer.lock") { "composer.lock" } else { "composer.json" };
        candidate = candidate.set_up_by("composer install --no-interaction --no-progress", source);
    }
    if package.get("scripts").and_then(|scripts| scripts.get("test")).is_some() {
        return Some(candidate.tested_by("composer test", "the test script in composer.json"));
    }
    if root.has_file("tests/Pest.php") {
        return Some(candidate.tested_by("vendor/bin/pest", "tests/Pest.php"));
    }
    Some(match configuration {
        Some(name) if has_manifest => candidate.tested_by("vendor/bin/phpunit", name),
        Some(name) => candidate.tested_by("phpunit", name),
        None => candidate
            .untested("it has no test script, and there is no phpunit.xml", "vendor/bin/phpunit tests"),
    })
}
