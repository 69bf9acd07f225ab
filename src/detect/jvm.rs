//! Java, Kotlin and other languages of the JVM: Maven and Gradle.

use super::{Candidate, RootListing};

/// How JVM projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    maven(root).into_iter().chain(gradle(root)).reduce(|chosen, other| match other.test {
        Ok(test) => chosen.passing_over(format!("`{}`", test.value), format!("{} is also here", other.sign)),
        Err(_) => chosen,
    })
}

fn maven(root: &RootListing) -> Option<Candidate> {
    if !root.has_file("pom.xml") {
        return None;
    }
    // Through `sh`, because a wrapper may have lost its executable bit.
    let (program, source) = match root.has_file("mvnw") {
        true => ("sh mvnw", "pom.xml, with its wrapper mvnw"),
        false => ("mvn", "pom.xml"),
    };
    Some(
        Candidate::new("Java", "pom.xml", &["mvn", "mvnw"])
            .tested_by(format!("{program} -B test"), source)
            // The test plug-in downloads while it runs, so only a run downloads everything.
            .set_up_by(
                format!("{program} -B -Dmaven.test.failure.ignore=true test"),
                "pom.xml: only a run shows what Maven downloads; its failures do not count here",
            ),
    )
}

fn gradle(root: &RootListing) -> Option<Candidate> {
    let sign = root.first(&["build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"])?;
    let (program, source) = match root.has_file("gradlew") {
        true => ("sh gradlew", format!("{sign}, with its wrapper gradlew")),
        false => ("gradle", sign.to_owned()),
    };
    let test = format!("{program} --no-daemon --console=plain --continue test");
    Some(
        Candidate::new("Java", sign, &["gradlew", "gradle"])
            .set_up_by(
                format!("{program} --no-daemon --console=plain testClasses && {{ {test} || true; }}"),
                format!("{sign}: only a run shows what Gradle downloads; its failures do not count here"),
            )
            .tested_by(test, source),
    )
}
