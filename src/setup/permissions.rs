//! Decides which of a repository's requests (setup commands, image, hosts) the operator's rules allow. Pure
//! functions.

use globset::{Glob, GlobSetBuilder};

use super::SetupPolicy;
use crate::config::{REPOSITORY_FILE, REPOSITORY_FILE_YAML};
use crate::detect::default_hosts;
use crate::domain::{AllowedHost, JobSettings, OperatorNote};
use crate::sandbox::{Root, SandboxSpec};

/// What a job is allowed.
#[derive(Debug, PartialEq)]
pub(crate) struct Permitted {
    /// The settings, without setup commands that could not work.
    pub(crate) settings: JobSettings,
    /// The sandboxes of the agent and the verdict.
    pub(crate) spec: SandboxSpec,
    /// What was denied, for the transcript.
    pub(crate) notes: Vec<String>,
    /// What was denied and matters only if the suite cannot run.
    pub(crate) hint: Option<String>,
    /// What the operator has to allow if it does.
    pub(crate) operator_note: Option<OperatorNote>,
}

/// Applies `policy` to `settings`. `Err`: the repository requires something that it may not have.
pub(crate) fn permit(
    settings: &JobSettings,
    policy: &SetupPolicy,
    spec: &SandboxSpec,
) -> Result<Permitted, String> {
    let mut permitted = Permitted {
        settings: settings.clone(),
        spec: spec.clone(),
        notes: Vec::new(),
        hint: None,
        operator_note: None,
    };
    if settings.setup_detected && policy.allowed_hosts.is_empty() && !settings.setup_commands.is_empty() {
        let commands: Vec<String> =
            settings.setup_commands.iter().map(|command| format!("`{command}`")).collect();
        let needed = default_hosts(settings.setup_commands.iter().map(String::as_str));
        let needed: Vec<AllowedHost> = needed.into_iter().map(AllowedHost::public).collect();
        let why = "Nothing was set up, because no host is allowed (`sandbox.allowed_hosts`); `mendwright detect` \
                   also knows the hosts that the repository's files name.";
        permitted.operator_note = Some(OperatorNote::new(why, &[], &needed));
        permitted.settings.setup_commands.clear();
        permitted.hint = Some(format!(
            "The setup that {} asks for ({}) was not run, since it means to download and the operator allows \
             no host (`sandbox.allowed_hosts`).",
            settings.setup_source,
            commands.join(", ")
        ));
    }
    permit_image(&mut permitted, policy)?;
    permit_hosts(&mut permitted, policy);
    if !policy.commands && !permitted.settings.commands.is_empty() {
        permitted.settings.commands.clear();
        permitted.notes.push(format!(
            "`{REPOSITORY_FILE}` lets the agent run commands, and the operator does not (`sandbox.commands`); it \
             could run none"
        ));
    }
    Ok(permitted)
}

fn permit_image(permitted: &mut Permitted, policy: &SetupPolicy) -> Result<(), String> {
    let Some(image) = &permitted.settings.image else { return Ok(()) };
    let is_there_already = permitted.spec.root == Root::Image(image.clone());
    if is_there_already {
        return Ok(());
    }
    if matches_any(&policy.images, image) {
        permitted.spec.root = Root::Image(image.clone());
        return Ok(());
    }
    let source = &permitted.settings.image_source;
    if [REPOSITORY_FILE, REPOSITORY_FILE_YAML].iter().any(|file| source.contains(file)) {
        return Err(format!(
            "{source} asks for the image `{image}`, which the operator does not allow. Take it out of the file, or \
             have the operator add it (or a pattern that matches it) to `sandbox.images`."
        ));
    }
    // The repository did not ask for it explicitly: other tools are configured to use it.
    let note = format!(
        "the image `{image}` that {source} names is not among `sandbox.images`; the operator's own root file system \
         was used"
    );
    permitted.notes.push(note);
    Ok(())
}

fn permit_hosts(permitted: &mut Permitted, policy: &SetupPolicy) {
    let (mut allowed, mut refused): (Vec<AllowedHost>, Vec<&str>) = (Vec::new(), Vec::new());
    for host in &permitted.settings.agent_hosts {
        // Only the operator knows the addresses of internal hosts.
        let known = policy.allowed_hosts.iter().filter(|allowed| allowed.has_name(host));
        let count = allowed.len();
        allowed.extend(known.cloned());
        if allowed.len() == count {
            refused.push(host);
        }
    }
    if !refused.is_empty() {
        permitted.notes.push(format!(
            "`{REPOSITORY_FILE}` asks for the network hosts {}, which are not among `sandbox.allowed_hosts`; they \
             cannot be reached",
            refused.join(", ")
        ));
    }
    permitted.spec.allowed_hosts = allowed;
    permitted.spec.egress_bytes_max = policy.egress_bytes_max;
}

/// Whether one of the operator's patterns matches. An invalid pattern was refused with the configuration,
/// and matches nothing.
fn matches_any(patterns: &[String], image: &str) -> bool {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if let Ok(glob) = Glob::new(pattern) {
            set.add(glob);
        }
    }
    set.build().is_ok_and(|set| set.is_match(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> JobSettings {
        JobSettings {
            setup_commands: vec!["npm ci".into()],
            setup_source: "`package-lock.json`".into(),
            setup_detected: true,
            ..JobSettings::of_test_command("npm test")
        }
    }

    fn policy(hosts: &[&str], images: &[&str]) -> SetupPolicy {
        SetupPolicy {
            allowed_hosts: hosts.iter().map(|host| AllowedHost::parse(host).unwrap()).collect(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            ..SetupPolicy::default()
        }
    }

    #[test]
    fn detected_setup_runs_only_if_it_can_download() {
        let spec = SandboxSpec::named("job");
        let without = permit(&settings(), &policy(&[], &[]), &spec).unwrap();
        assert!(without.settings.setup_commands.is_empty());
        insta::assert_snapshot!(without.hint.unwrap(), @"The setup that `package-lock.json` asks for (`npm ci`) was not run, since it means to download and the operator allows no host (`sandbox.allowed_hosts`).");
        let note = without.operator_note.unwrap();
        assert_eq!(note.line().unwrap(), r#"allowed_hosts = ["registry.npmjs.org"]"#);
        assert!(note.why.starts_with("Nothing was set up, because no host is allowed"), "{}", note.why);
        let with = permit(&settings(), &policy(&["registry.example"], &[]), &spec).unwrap();
        assert_eq!((with.settings.setup_commands.len(), with.hint), (1, None));
        let written = JobSettings { setup_detected: false, ..settings() };
        assert_eq!(permit(&written, &policy(&[], &[]), &spec).unwrap().settings, written);
    }

    #[test]
    fn image_is_used_only_if_the_operator_allows_it() {
        let spec = SandboxSpec::named("job");
        let wants = |source: &str| JobSettings {
            image: Some("registry.example/team/ci:7".into()),
            image_source: source.into(),
            ..settings()
        };
        let image = Root::Image("registry.example/team/ci:7".into());
        let written = wants("`.github/agent-fix.yml`");
        let refused = permit(&written, &policy(&[], &["registry.example/other/*"]), &spec).unwrap_err();
        insta::assert_snapshot!(refused, @"`.github/agent-fix.yml` asks for the image `registry.example/team/ci:7`, which the operator does not allow. Take it out of the file, or have the operator add it (or a pattern that matches it) to `sandbox.images`.");
        let allowed = permit(&written, &policy(&[], &["registry.example/team/*"]), &spec).unwrap();
        assert_eq!(allowed.spec.root, image);
        let detected = permit(&wants("`.devcontainer/devcontainer.json`"), &policy(&[], &[]), &spec).unwrap();
        assert_eq!((&detected.spec.root, detected.notes.len()), (&spec.root, 1));
        let own = SandboxSpec { root: image.clone(), ..spec };
        assert_eq!(permit(&written, &policy(&[], &[]), &own).unwrap().spec.root, image);
    }

    #[test]
    fn commands_of_the_repository_can_be_disabled_by_the_operator() {
        let settings = JobSettings { commands: vec!["make lint".parse().unwrap()], ..settings() };
        let on = policy(&["x.example"], &[]);
        let off = SetupPolicy { commands: false, ..on.clone() };
        let permitted = permit(&settings, &on, &SandboxSpec::named("job")).unwrap();
        assert_eq!((permitted.settings.commands.len(), permitted.notes.len()), (1, 0));
        let permitted = permit(&settings, &off, &SandboxSpec::named("job")).unwrap();
        assert!(permitted.settings.commands.is_empty());
        insta::assert_snapshot!(permitted.notes.join("\n"), @"`.github/agent-fix.yml` lets the agent run commands, and the operator does not (`sandbox.commands`); it could run none");
    }

    #[test]
    fn agent_reaches_hosts_that_repository_and_operator_name() {
        let hosts = ["api.example", "evil.example"].map(str::to_owned).into();
        let settings = JobSettings { agent_hosts: hosts, ..settings() };
        let policy = policy(&["API.example=10.0.0.0/8", "registry.example"], &[]);
        let permitted = permit(&settings, &policy, &SandboxSpec::named("job")).unwrap();
        assert_eq!(permitted.spec.allowed_hosts, [AllowedHost::parse("api.example=10.0.0.0/8").unwrap()]);
        insta::assert_snapshot!(permitted.notes.join("\n"), @"`.github/agent-fix.yml` asks for the network hosts evil.example, which are not among `sandbox.allowed_hosts`; they cannot be reached");
        let silent =
            permit(&JobSettings { agent_hosts: vec![], ..settings }, &policy, &SandboxSpec::named("job"));
        assert!(silent.unwrap().spec.allowed_hosts.is_empty(), "what a setup may reach, the agent may not");
    }
}
