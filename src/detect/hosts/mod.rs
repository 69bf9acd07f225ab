//! Proposes the hosts that setup needs, which an operator may allow: those that a repository's lock files and
//! the package managers' configuration name, and those that a tool asks if nothing is configured. Reads only what it is
//! given, and never shows more of an address than its host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use url::Url;

use self::defaults::DEFAULTS;
use self::files::{addresses_in, addresses_in_variable, names_registry, repository_kind};
use super::{Detected, RootListing, SkippedSource};
use crate::domain::host_name_problem;

mod defaults;
mod files;
mod tools;

pub use defaults::default_hosts;
pub use tools::Tool;

/// The largest lock file that is read.
const LOCK_BYTES_MAX: u64 = 20 << 20;
/// The most hosts that are listed: nobody reads more.
const HOSTS_MAX: usize = 100;
const NAMED_BY_MAX: usize = 5;

/// A file that may name hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSource {
    /// Its path, for people.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A host, with the files and variables that name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposedHost {
    /// Its name, in lower case.
    pub host: String,
    /// Files and variables.
    pub named_by: Vec<String>,
}

/// The hosts that an operator may allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProposedHosts {
    /// Hosts of tools that the setup commands use.
    pub hosts: Vec<ProposedHost>,
    /// Hosts of tools that the setup does not use.
    pub not_needed: Vec<ProposedHost>,
    /// Addresses that a sandbox cannot reach, with the reason.
    pub unusable: Vec<SkippedSource>,
    /// Tools whose host nothing names, and how to look it up.
    pub unnamed: Vec<String>,
}

/// The files of the repository that may name hosts, with the size up to which each is read.
pub fn repository_host_files(root: &RootListing) -> Vec<(String, u64)> {
    let deeper = [".mvn/wrapper/maven-wrapper.properties", "gradle/wrapper/gradle-wrapper.properties"];
    let deeper = deeper.into_iter().filter(|path| {
        // The listing does not reach these files; the wrapper's script shows that they exist.
        root.has_file(if path.starts_with(".mvn") { "mvnw" } else { "gradlew" })
    });
    let listed = root.files().filter(|path| repository_kind(path).is_some());
    listed.chain(deeper).map(|path| (path.to_owned(), LOCK_BYTES_MAX)).collect()
}

/// The files (and directories of files) of this machine that may name hosts.
pub fn worker_host_files(home: Option<&str>) -> Vec<PathBuf> {
    const SYSTEM: &[&str] = &[
        "/etc/pip.conf",
        "/etc/uv/uv.toml",
        "/etc/npmrc",
        "/etc/gemrc",
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d",
    ];
    const HOME: &[&str] = &[
        ".cargo/config.toml",
        ".cargo/config",
        ".config/pip/pip.conf",
        ".pip/pip.conf",
        ".config/uv/uv.toml",
        ".npmrc",
        ".yarnrc.yml",
        ".yarnrc",
        ".bunfig.toml",
        ".config/go/env",
        ".m2/settings.xml",
        ".gradle/init.gradle",
        ".gradle/init.d",
        ".gemrc",
        ".bundle/config",
        ".config/composer/config.json",
        ".composer/config.json",
        ".nuget/NuGet/NuGet.Config",
    ];
    let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    if let Some(home) = home.filter(|home| home.starts_with('/')) {
        paths.extend(HOME.iter().map(|path| PathBuf::from(home).join(path)));
    }
    paths
}

/// The hosts that the operator may allow for these setup commands. `environment` is this machine's.
pub fn propose_hosts(
    setup: &[Detected<String>],
    repository: &[HostSource],
    worker: &[HostSource],
    environment: impl IntoIterator<Item = (String, String)>,
) -> ProposedHosts {
    let mut proposal = Proposal::default();
    for source in repository {
        if let Some((tool, addresses)) = addresses_in(&source.path, &source.text) {
            proposal.configure(tool, &source.path, &addresses);
            proposal.add(tool, &source.path, addresses);
        }
    }
    for source in worker {
        if let Some((tool, addresses)) = addresses_in(&source.path, &source.text) {
            proposal.configure(tool, &source.path, &addresses);
            proposal.add(tool, &format!("{} of this machine", source.path), addresses);
        }
    }
    for (name, value) in environment {
        if let Some((tool, addresses)) = addresses_in_variable(&name, &value) {
            proposal.configure(tool, &name, &addresses);
            proposal.add(tool, &format!("the environment variable {name}"), addresses);
        }
    }
    proposal.into_hosts(setup)
}

#[derive(Default)]
struct Proposal {
    /// By tool and host: the files and variables that name it.
    named: BTreeMap<(Tool, String), Vec<String>>,
    /// Tools whose registry is configured.
    configured: BTreeSet<Tool>,
    unusable: Vec<SkippedSource>,
}

impl Proposal {
    /// Remembers that a file or variable says which registry the tool asks.
    fn configure(&mut self, tool: Tool, source: &str, addresses: &[String]) {
        if !addresses.is_empty() && names_registry(source) {
            self.configured.insert(tool);
        }
    }

    /// Adds the hosts that the commands ask by default, unless another registry is configured. A registry whose index
    /// is named has its downloads on its other hosts.
    fn add_defaults(&mut self, setup: &[Detected<String>]) {
        for row in DEFAULTS {
            let is_used = setup.iter().any(|command| row.is_used_by(&command.value));
            let is_named = |host: &&str| self.named.contains_key(&(row.tool, (*host).to_owned()));
            if !is_used || (self.configured.contains(&row.tool) && !row.hosts.iter().any(is_named)) {
                continue;
            }
            for host in row.hosts {
                self.named
                    .entry((row.tool, (*host).to_owned()))
                    .or_insert_with(|| vec![format!("the default of {}", row.tool.title())]);
            }
        }
    }

    fn add(&mut self, tool: Tool, source: &str, addresses: Vec<String>) {
        for address in addresses {
            match host_of(&address) {
                Host::Name(host) => {
                    if self.named.len() >= HOSTS_MAX && !self.named.contains_key(&(tool, host.clone())) {
                        continue;
                    }
                    let named_by = self.named.entry((tool, host)).or_default();
                    if named_by.len() < NAMED_BY_MAX && !named_by.iter().any(|named| named == source) {
                        named_by.push(source.to_owned());
                    }
                }
                Host::Unusable(what, why) => {
                    let passed_over = SkippedSource::new(format!("{what} ({source})"), why);
                    if self.unusable.len() < HOSTS_MAX && !self.unusable.contains(&passed_over) {
                        self.unusable.push(passed_over);
                    }
                }
            }
        }
    }

    fn into_hosts(mut self, setup: &[Detected<String>]) -> ProposedHosts {
        self.add_defaults(setup);
        let used: Vec<Tool> = Tool::ALL
            .into_iter()
            .filter(|tool| setup.iter().any(|command| tool.is_used_by(&command.value)))
            .collect();
        // A command without a known tool may use any tool.
        let unknown =
            setup.iter().any(|command| !Tool::ALL.iter().any(|tool| tool.is_used_by(&command.value)));
        let mut proposed = ProposedHosts { unusable: self.unusable, ..ProposedHosts::default() };
        for tool in &used {
            if !self.named.keys().any(|(named, _)| named == tool) {
                proposed.unnamed.push(format!(
                    "{}: nothing on this machine names its host; look at its configuration in the image that the jobs \
                     run in",
                    tool.title()
                ));
            }
        }
        for ((tool, host), named_by) in self.named {
            let is_needed = used.contains(&tool) || (unknown && tool != Tool::Apt);
            let list = if is_needed { &mut proposed.hosts } else { &mut proposed.not_needed };
            match list.iter_mut().find(|named| named.host == host) {
                Some(named) => named.named_by.extend(named_by),
                None => list.push(ProposedHost { host, named_by }),
            }
        }
        let ProposedHosts { hosts, not_needed, .. } = &mut proposed;
        not_needed.retain(|other| !hosts.iter().any(|needed| needed.host == other.host));
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        not_needed.sort_by(|a, b| a.host.cmp(&b.host));
        proposed
    }
}

enum Host {
    Name(String),
    /// The part that may be shown, and why it cannot be used.
    Unusable(String, &'static str),
}

/// The host of an address, as lock files and configurations spell it.
fn host_of(address: &str) -> Host {
    let is_registry_identity = address.starts_with("registry+");
    let bare = ["registry+", "sparse+", "git+"].iter().find_map(|prefix| address.strip_prefix(prefix));
    let bare = bare.unwrap_or(address).replace("\\:", ":");
    let unreadable =
        || Host::Unusable("an address".to_owned(), "its host cannot be read; it may hold a variable");
    let Ok(url) = Url::parse(&bare) else { return unreadable() };
    let Some(host) = url.host_str().map(|host| host.trim_end_matches('.').to_lowercase()) else {
        return unreadable();
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Host::Unusable(
            host,
            "is reached by another protocol than HTTP, which a sandbox does not speak",
        );
    }
    if let Some(problem) = host_name_problem(&host) {
        let shown: String = host.chars().take(100).collect();
        return match host.contains(['$', '{', '%']) {
            true => unreadable(),
            false => Host::Unusable(shown, problem),
        };
    }
    if !matches!(url.port_or_known_default(), Some(80 | 443)) {
        return Host::Unusable(host, "is reached on another port than 80 and 443, which a sandbox does not");
    }
    if is_registry_identity {
        let why = "stands in Cargo.lock as the registry's identity; cargo may ask another host for it";
        return Host::Unusable(host, why);
    }
    Host::Name(host)
}

#[cfg(test)]
mod tests;
