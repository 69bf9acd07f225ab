//! Where each kind of file and variable names addresses. Returns them unchecked.

use std::sync::LazyLock;

use regex::Regex;

use super::tools::Tool;

/// The most addresses of one file; a lock file names the same host thousands of times.
const ADDRESSES_MAX: usize = 200_000;
/// The longest address.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// A kind of file: its names, its tool, and the pattern of an address in it.
struct Kind {
    /// The end of its path, or a beginning and an end around `*`.
    names: &'static [&'static str],
    tool: Tool,
    /// One group matches the address.
    pattern: Regex,
}

/// An address within a line.
const ADDRESS: &str = r#"((?:[a-z]+\+)?[a-z]+\\?://[^\s"'<>,;}\])]+)"#;

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kind = |names: &'static [&'static str], tool: Tool, before: &str| Kind {
        names,
        tool,
        pattern: Regex::new(&format!("(?m){before}{ADDRESS}"))
            .expect("a pattern of this file, which a test compiles"),
    };
    let uncommented = r"^[^#\n]*?";
    vec![
        kind(&["package-lock.json", "npm-shrinkwrap.json"], Tool::Npm, r#""resolved"\s*:\s*""#),
        kind(&["yarn.lock"], Tool::Npm, r#"^\s+(?:resolved\s+"|resolution: ".*@)"#),
        kind(&["pnpm-lock.yaml"], Tool::Npm, r#"(?:tarball|repo|registry):\s*['"]?"#),
        kind(&["bun.lock"], Tool::Npm, r#"[\["]"#),
        kind(&[".npmrc", "npmrc"], Tool::Npm, r"^\s*(?:@[\w.-]+:)?registry\s*=\s*"),
        kind(&[".yarnrc.yml", ".yarnrc"], Tool::Npm, r#"^\s*(?:npmRegistryServer:|registry)\s*['"]?"#),
        kind(&["bunfig.toml"], Tool::Npm, r#"^[^#\n]*?(?:registry|url)\s*=\s*""#),
        kind(&["Cargo.lock"], Tool::Cargo, r#"^source = ""#),
        kind(&[".cargo/config.toml", ".cargo/config"], Tool::Cargo, r#"^\s*(?:registry|index|git)\s*=\s*""#),
        kind(&["uv.lock", "poetry.lock", "pdm.lock"], Tool::Pip, r#"(?:\b(?:registry|url|git)\s*=\s*")"#),
        kind(&["Pipfile.lock"], Tool::Pip, r#""url"\s*:\s*""#),
        kind(&["Pipfile", "uv.toml"], Tool::Pip, r#"^[^#\n]*?\b(?:url|index-url|git)\s*=\s*""#),
        kind(
            &["requirements*.txt", "requirements/*.txt"],
            Tool::Pip,
            r"^\s*(?:(?:-i|-f|--[a-z-]+)[\s=]+|[^#\s][^#\n]*@\s*|(?:-e\s+)?)",
        ),
        kind(&["pip.conf"], Tool::Pip, r"^\s*(?:[a-z-]+\s*=\s*(?:\S+\s+)*?|[ \t]+)"),
        kind(&["Gemfile.lock"], Tool::Ruby, r"^\s+remote:\s+"),
        kind(&["Gemfile"], Tool::Ruby, r#"^\s*source[\s(]+['"]"#),
        kind(&[".gemrc", "gemrc", ".bundle/config"], Tool::Ruby, uncommented),
        kind(&["composer.lock"], Tool::Composer, r#""dist"\s*:\s*\{[^}]*?"url"\s*:\s*""#),
        kind(
            &["composer.json", "composer/config.json", ".composer/config.json"],
            Tool::Composer,
            r#""url"\s*:\s*""#,
        ),
        kind(
            &["maven-wrapper.properties", "gradle-wrapper.properties"],
            Tool::Jvm,
            r"^\s*(?:distributionUrl|wrapperUrl)\s*=\s*",
        ),
        kind(
            &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "*.gradle"],
            Tool::Jvm,
            r#"(?:\burl\b\s*=?\s*(?:uri\()?|\bmaven\s*\(|\bsetUrl\()\s*['"]"#,
        ),
        kind(
            &["pom.xml", ".m2/settings.xml"],
            Tool::Jvm,
            r"<(?:repository|pluginRepository|mirror)>(?:\s*<(?:id|name|layout|mirrorOf|releases|snapshots|enabled|updatePolicy)>[^<]*</\w+>|\s*</?(?:releases|snapshots)>)*\s*<url>\s*",
        ),
        kind(
            &["nuget.config", "NuGet.config", "NuGet.Config"],
            Tool::Dotnet,
            r#"<add\s+key="[^"]*"\s+value=""#,
        ),
        kind(&["*.list", "sources.list"], Tool::Apt, r"^\s*deb(?:-src)?\s+(?:\[[^\]\n]*\]\s*)?"),
        kind(&["*.sources"], Tool::Apt, r"^URIs:\s*(?:\S+\s+)*?"),
    ]
});

/// The tool that a file of the repository configures, if it may name addresses.
pub(super) fn repository_kind(path: &str) -> Option<Tool> {
    kind_of(path).map(|kind| kind.tool).filter(|tool| *tool != Tool::Apt)
}

fn kind_of(path: &str) -> Option<&'static Kind> {
    let matches = |pattern: &str| match pattern.split_once('*') {
        Some((before, after)) => {
            let (directory, start) = before.rsplit_once('/').unwrap_or(("", before));
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let placed = directory.is_empty() || parent == directory;
            placed && name.contains(start) && name.ends_with(after)
        }
        None => path == pattern || path.ends_with(&format!("/{pattern}")),
    };
    KINDS.iter().find(|kind| kind.names.iter().any(|pattern| matches(pattern)))
}

/// Whether a file or variable that names an address says which registry is asked for everything. Others name the
/// place of single packages, or further registries.
pub(super) fn names_registry(source: &str) -> bool {
    const FILES: [&str; 22] = [
        ".npmrc",
        "npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        "bunfig.toml",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        ".cargo/config",
        ".cargo/config.toml",
        "pip.conf",
        "uv.toml",
        "uv.lock",
        "Pipfile.lock",
        "Gemfile",
        "Gemfile.lock",
        ".gemrc",
        "gemrc",
        ".bundle/config",
        "composer/config.json",
        ".m2/settings.xml",
        "go/env",
    ];
    let is_file = FILES.iter().any(|file| source == *file || source.ends_with(&format!("/{file}")));
    let upper = source.to_ascii_uppercase();
    let is_variable = !source.contains(['/', '.']) && addresses_in_variable(source, "").is_some();
    is_file
        || (is_variable && !upper.contains("EXTRA") && !upper.contains("FIND_LINKS") && upper != "GOSUMDB")
}

/// The tool that the file at `path` configures, and the addresses that it names, each once.
pub(super) fn addresses_in(path: &str, text: &str) -> Option<(Tool, Vec<String>)> {
    if path.ends_with("go/env") {
        let variable = |line: &str| {
            let (name, value) = line.split_once('=')?;
            addresses_in_variable(name.trim(), value.trim()).map(|(_, addresses)| addresses)
        };
        return Some((Tool::Go, text.lines().filter_map(variable).flatten().collect()));
    }
    let kind = kind_of(path)?;
    let mut addresses: Vec<String> = Vec::new();
    for found in kind.pattern.captures_iter(text).take(ADDRESSES_MAX).filter_map(|found| found.get(1)) {
        let address = origin(found.as_str());
        if !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
    }
    Some((kind.tool, addresses))
}

/// An address up to its path: the rest says nothing about the host, and may be long.
fn origin(address: &str) -> &str {
    let address = &address[..address.floor_char_boundary(ADDRESS_BYTES_MAX)];
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    &address[..end]
}

/// The tool that an environment variable configures, and its addresses.
pub(super) fn addresses_in_variable(name: &str, value: &str) -> Option<(Tool, Vec<String>)> {
    let upper = name.to_ascii_uppercase();
    let tool = match upper.as_str() {
        "PIP_INDEX_URL"
        | "PIP_EXTRA_INDEX_URL"
        | "PIP_FIND_LINKS"
        | "UV_INDEX_URL"
        | "UV_EXTRA_INDEX_URL"
        | "UV_DEFAULT_INDEX"
        | "UV_INDEX"
        | "PIPENV_PYPI_MIRROR" => Tool::Pip,
        "NPM_CONFIG_REGISTRY" | "YARN_NPM_REGISTRY_SERVER" | "YARN_REGISTRY" | "BUN_CONFIG_REGISTRY" => {
            Tool::Npm
        }
        "GOPROXY" | "GOSUMDB" => Tool::Go,
        "RUBYGEMS_HOST" => Tool::Ruby,
        "HEX_MIRROR" => Tool::Elixir,
        _ if upper.starts_with("CARGO_REGISTRIES_") && upper.ends_with("_INDEX") => Tool::Cargo,
        _ if upper.starts_with("CARGO_SOURCE_") && upper.ends_with("_REGISTRY") => Tool::Cargo,
        _ if upper.starts_with("BUNDLE_MIRROR__") => Tool::Ruby,
        _ => return None,
    };
    let words = value.split(|c: char| c.is_whitespace() || c == ',' || c == '|').map(str::trim);
    let address = |word: &str| {
        // A named index, as `NAME=ADDRESS`.
        let word = word.split_once("=http").map_or(word, |(name, _)| &word[name.len() + 1..]);
        if word.contains("://") {
            return Some(origin(word).to_owned());
        }
        // A checksum database is named by its host alone, or with its key.
        let host = word.split('+').next().unwrap_or(word);
        (upper == "GOSUMDB" && host.contains('.')).then(|| format!("https://{host}"))
    };
    Some((tool, words.filter_map(address).collect()))
}
