//! Hosts in files as package managers write them, and what is never shown.

use super::*;

fn source(path: &str, text: &str) -> HostSource {
    HostSource { path: path.to_owned(), text: text.to_owned() }
}
fn hosts(path: &str, text: &str) -> String {
    let mut proposal = Proposal::default();
    let (tool, addresses) = addresses_in(path, text).unwrap_or_else(|| panic!("{path} is not known"));
    proposal.add(tool, path, addresses);
    let named = proposal.named.keys().map(|(_, host)| host.clone());
    let unusable = proposal.unusable.iter().map(|one| format!("!{}", one.what.split(' ').next().unwrap()));
    named.chain(unusable).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_lock_file_and_configuration_names_its_hosts() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "package-lock.json",
            "{\"packages\":{\"a\":{\"resolved\": \"https://registry.example.org/a/-/a-1.tgz\",\"funding\":{\"url\":\"https://money.example\"}}}}",
            "registry.example.org",
        ),
        (
            "package-lock.json",
            "\"resolved\": \"git+ssh://git@code.example.org/x.git#1\"",
            "!code.example.org",
        ),
        (
            "yarn.lock",
            "a@^1:\n  version \"1\"\n  resolved \"https://yarn.example.org/a/-/a-1.tgz#0\"\n",
            "yarn.example.org",
        ),
        (
            "yarn.lock",
            "\"a@https://x\":\n  resolution: \"a@https://code.example.org/a.git#commit=1\"\n",
            "code.example.org",
        ),
        (
            "pnpm-lock.yaml",
            "  a@1:\n    resolution: {integrity: x, tarball: https://pnpm.example.org/a.tgz}\n",
            "pnpm.example.org",
        ),
        (
            ".npmrc",
            "# registry=https://no.example\n//npm.example.org/:_authToken=SECRET\n@team:registry=https://npm.example.org/\n",
            "npm.example.org",
        ),
        (".yarnrc.yml", "npmRegistryServer: \"https://berry.example.org\"\n", "berry.example.org"),
        (
            "Cargo.lock",
            "[[package]]\nname = \"a\"\nsource = \"sparse+https://crates.example.org/index/\"\n[[package]]\nsource = \"git+https://code.example.org/a?rev=1#1\"\n",
            "code.example.org crates.example.org",
        ),
        ("Cargo.lock", "source = \"registry+https://code.example.org/index\"\n", "!code.example.org"),
        (
            "/home/x/.cargo/config.toml",
            "[source.mirror]\nregistry = \"sparse+https://user:SECRET@crates.example.org/\"\n",
            "crates.example.org",
        ),
        (
            "uv.lock",
            "source = { registry = \"https://index.example.org/simple\" }\nsdist = { url = \"https://files.example.org/a.tar.gz\", hash = \"x\" }\n",
            "files.example.org index.example.org",
        ),
        (
            "poetry.lock",
            "[package.source]\ntype = \"legacy\"\nurl = \"https://index.example.org/simple\"\n",
            "index.example.org",
        ),
        (
            "Pipfile.lock",
            "{\"_meta\": {\"sources\": [{\"url\": \"https://index.example.org/simple\"}]}}",
            "index.example.org",
        ),
        (
            "requirements-dev.txt",
            "# -i https://no.example\n-i https://a:SECRET@index.example.org/simple\n--extra-index-url=https://more.example.org/\nx @ https://files.example.org/x.whl\n-e git+https://code.example.org/y\nz==1 # https://no.example\n",
            "code.example.org files.example.org index.example.org more.example.org",
        ),
        (
            "/etc/pip.conf",
            "[global]\nindex-url = http://10.1.2.3:8080/simple\nextra-index-url =\n    https://more.example.org/simple\n# find-links = https://no.example\n",
            "more.example.org !10.1.2.3",
        ),
        ("Gemfile.lock", "GEM\n  remote: https://gems.example.org/\n  specs:\n", "gems.example.org"),
        (
            "composer.lock",
            "{\"packages\":[{\"source\":{\"url\":\"https://no.example/a.git\"},\"dist\":{\"type\":\"zip\",\"url\":\"https://zips.example.org/a\"}}]}",
            "zips.example.org",
        ),
        (
            "gradle/wrapper/gradle-wrapper.properties",
            "distributionUrl=https\\://gradle.example.org/d.zip\n",
            "gradle.example.org",
        ),
        (
            "build.gradle.kts",
            "repositories { maven { url = uri(\"https://maven.example.org/m2\") } }\n",
            "maven.example.org",
        ),
        (
            "pom.xml",
            "<url>https://home.example</url><repositories><repository><id>x</id><url>https://maven.example.org</url></repository></repositories>",
            "maven.example.org",
        ),
        (
            "/etc/apt/sources.list",
            "# deb http://no.example x\ndeb [signed-by=/x] http://apt.example.org/debian stable main\n",
            "apt.example.org",
        ),
        (
            "/etc/apt/sources.list.d/x.sources",
            "Types: deb\nURIs: http://apt.example.org/debian\n",
            "apt.example.org",
        ),
        (
            "/home/x/.config/go/env",
            "GOPROXY=https://go.example.org,direct\nGOFLAGS=-mod=mod\n",
            "go.example.org",
        ),
        (".npmrc", "registry=https://${HOST}/\n", "!an"),
        (".npmrc", "registry=https://npm.example.org:8443/\n", "!npm.example.org"),
    ];
    for (path, text, expected) in cases {
        assert_eq!(hosts(path, text), *expected, "{path}: {text}");
    }
}

#[test]
fn hosts_are_proposed_for_the_tools_that_set_up_uses_and_no_credential_is_shown() {
    let setup = [Detected::new("npm ci", "package-lock.json"), Detected::new("cargo fetch", "Cargo.lock")];
    let repository = [
        source("package-lock.json", "\"resolved\": \"https://npm.example.org/a\""),
        source("Cargo.lock", "source = \"registry+https://code.example.org/index\""),
        source("requirements.txt", "-i https://me:SECRET@index.example.org/simple"),
    ];
    let worker = [source("/root/.npmrc", "registry=https://token:SECRET@npm.example.org/")];
    let environment = [
        ("GOPROXY".to_owned(), "https://u:SECRET@go.example.org|direct".to_owned()),
        ("UV_INDEX".to_owned(), "own=https://index.example.org/x".to_owned()),
        ("HOME".to_owned(), "https://no.example".to_owned()),
    ];
    let proposed = propose_hosts(&setup, &repository, &worker, environment.clone());
    assert!(!format!("{proposed:?}").contains("SECRET"));
    insta::assert_json_snapshot!(proposed, @r#"
    {
      "hosts": [
        {
          "host": "index.crates.io",
          "named_by": [
            "the default of cargo"
          ]
        },
        {
          "host": "npm.example.org",
          "named_by": [
            "package-lock.json",
            "/root/.npmrc of this machine"
          ]
        },
        {
          "host": "static.crates.io",
          "named_by": [
            "the default of cargo"
          ]
        }
      ],
      "not_needed": [
        {
          "host": "go.example.org",
          "named_by": [
            "the environment variable GOPROXY"
          ]
        },
        {
          "host": "index.example.org",
          "named_by": [
            "requirements.txt",
            "the environment variable UV_INDEX"
          ]
        }
      ],
      "unusable": [
        {
          "what": "code.example.org (Cargo.lock)",
          "why": "stands in Cargo.lock as the registry's identity; cargo may ask another host for it"
        }
      ],
      "unnamed": []
    }
    "#);
    // `make deps` may use any of them.
    let unknown = propose_hosts(&[Detected::new("make deps", "x")], &repository, &worker, environment);
    assert_eq!(unknown.hosts.len(), 3, "{unknown:?}");
    assert_eq!(propose_hosts(&[], &[], &[], []), ProposedHosts::default());
}

#[test]
fn complete_line_names_the_defaults_of_every_tool_unless_another_registry_is_configured() {
    let line = |command: &str, repository: &[HostSource], environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let proposed = propose_hosts(&[Detected::new(command, "x")], repository, &[], environment);
        proposed.as_toml().trim_start_matches("[sandbox]\nallowed_hosts = ").trim().to_owned()
    };
    let pypi = r#"["files.pythonhosted.org", "pypi.org"]"#;
    for (command, expected) in [
        ("cargo fetch", r#"["index.crates.io", "static.crates.io"]"#),
        ("python3 -m pip install -e .", pypi),
        ("uv sync", pypi),
        ("npm ci", r#"["registry.npmjs.org"]"#),
        ("yarn install", r#"["registry.yarnpkg.com"]"#),
        ("corepack enable && yarn install", r#"["registry.npmjs.org", "registry.yarnpkg.com"]"#),
        ("go mod download", r#"["proxy.golang.org", "sum.golang.org"]"#),
        ("mvn -B dependency:resolve", r#"["repo.maven.apache.org"]"#),
        ("bundle install", r#"["index.rubygems.org", "rubygems.org"]"#),
        ("mix deps.get", r#"["builds.hex.pm", "repo.hex.pm"]"#),
    ] {
        assert_eq!(line(command, &[], &[]), expected, "{command}");
    }
    let mirror = [source("pip.conf", "[global]\nindex-url = https://index.example.org/simple\n")];
    assert_eq!(line("pip install -e .", &mirror, &[]), r#"["index.example.org"]"#);
    assert_eq!(
        line("npm ci", &[], &[("NPM_CONFIG_REGISTRY", "https://npm.example.org/")]),
        r#"["npm.example.org"]"#
    );
    // A package from elsewhere is no other registry, and an index that is named has its files on its other host.
    let one = [source("requirements.txt", "x @ https://files.example.org/x.whl\ny\n")];
    assert_eq!(
        line("pip install -r requirements.txt", &one, &[]),
        r#"["files.example.org", "files.pythonhosted.org", "pypi.org"]"#
    );
    let index = [source("uv.lock", "source = { registry = \"https://pypi.org/simple\" }\n")];
    assert_eq!(line("uv sync", &index, &[]), pypi);
    let apt = propose_hosts(&[Detected::new("apt-get install x", "x")], &[], &[], []);
    assert_eq!((apt.hosts.len(), apt.unnamed.len()), (0, 1));
}

#[test]
fn tool_is_recognised_in_a_command_and_every_default_is_a_host_that_can_be_allowed() {
    for row in DEFAULTS {
        for host in row.hosts {
            assert_eq!(
                crate::domain::AllowedHost::parse(host).map(|host| host.to_string()),
                Ok((*host).to_owned())
            );
        }
    }
    assert!(
        Tool::Jvm.is_used_by("sh ./mvnw -B test") && Tool::Pip.is_used_by("X=1 python3 -m pip install -e .")
    );
    assert!(!Tool::Go.is_used_by("echo go.mod") && !Tool::Npm.is_used_by("npm-check"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[a-z:/@.\"= \n\\\\<>+{}é]{0,120}", which in 0usize..12) {
        let path = ["package-lock.json", "yarn.lock", "Cargo.lock", "uv.lock", "requirements.txt", "/etc/pip.conf", "pom.xml", ".npmrc", "composer.lock", "x.sources", ".config/go/env", "build.gradle"][which];
        let all = [source(path, &text)];
        let _ = propose_hosts(&[], &all, &all, [("GOPROXY".to_owned(), text.clone()), ("GOSUMDB".to_owned(), text.clone())]);
    }
}
