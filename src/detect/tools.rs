//! Tools that a plan needs and the root file system may not have: package managers and test drivers. Each is brought
//! by another package manager, into the home directory, and only if it is not there already. `~/.local/bin` is in
//! every sandbox's search path.

use super::shell_quoting::quoted;
use super::{Detected, Plan};

/// The command that brings a Python tool (uv, Poetry, PDM, Pipenv, tox, nox) into an environment of its own, so
/// that it never meets the packages of the repository or of the root file system.
pub(super) fn python_tool(tool: &str) -> String {
    format!(
        "command -v {tool} >/dev/null || {{ python3 -m venv ~/.tools/{tool} && ~/.tools/{tool}/bin/python -m pip \
         install {tool} && mkdir -p ~/.local/bin && ln -sf ~/.tools/{tool}/bin/{tool} ~/.local/bin/; }}"
    )
}

/// The command that brings a tool from the npm registry. `package` may name a version, which is then installed
/// whatever version is there: a lock file may not be read by another one.
pub(super) fn npm_tool(tool: &str, package: &str) -> String {
    let install = format!("npm install --global --prefix ~/.local {}", quoted(package));
    match package.trim_start_matches('@').contains('@') {
        true => install,
        false => format!("command -v {tool} >/dev/null || {install}"),
    }
}

/// The command that brings Node of a major version, if the one that is there is older. npm has it as a package.
pub(super) fn node(major: u32) -> String {
    format!(
        "node -e 'process.exit(Number(process.versions.node.split(\".\")[0]) < {major})' || npm install --global \
         --prefix ~/.local node@{major}"
    )
}

/// The command that brings Bundler.
pub(super) fn bundler() -> String {
    "command -v bundle >/dev/null || gem install --user-install --bindir ~/.local/bin bundler".to_owned()
}

/// The command that brings cpanm, next to the modules that it will install ([`PERL_LIBRARY`]).
pub(super) fn cpanm() -> String {
    format!(
        "command -v cpanm >/dev/null || {{ mkdir -p ~/.local/bin && PERL_MM_USE_DEFAULT=1 \
         PERL_MM_OPT=\"INSTALL_BASE=$HOME/perl5\" cpan -T App::cpanminus && ln -sf {PERL_LIBRARY}/bin/cpanm \
         ~/.local/bin/ && command -v cpanm >/dev/null; }}"
    )
}

/// Where Perl modules are installed that a repository requires.
pub(super) const PERL_LIBRARY: &str = "~/perl5";

/// The command, with the programs of the repository's virtual environment before all others.
pub(super) fn in_virtual_environment(command: &str) -> String {
    format!("export PATH=\"$PWD/.venv/bin:$PATH\"; {command}")
}

/// The command that makes the repository's virtual environment.
pub(super) const VIRTUAL_ENVIRONMENT: &str = "python3 -m venv .venv";

/// The plan, with the tools brought first that its commands call: a workflow has them from actions of its own.
pub(super) fn with_tools(mut plan: Plan) -> Plan {
    let calls = |tool: &str| {
        plan.setup.iter().chain([&plan.test]).any(|command| {
            command.value.split([';', '&', '|', '(', '\n']).any(|part| {
                part.split_whitespace().find(|word| !word.contains('=')).is_some_and(|word| word == tool)
            })
        })
    };
    let python = ["uv", "poetry", "pdm", "pipenv", "tox", "nox"]
        .into_iter()
        .filter(|tool| calls(tool))
        .map(python_tool);
    let npm = ["pnpm", "yarn", "bun"].into_iter().filter(|tool| calls(tool)).map(|tool| npm_tool(tool, tool));
    let others = calls("bundle").then(bundler).into_iter().chain(calls("cpanm").then(cpanm));
    let source = "a tool that the commands call";
    let brought: Vec<_> =
        python.chain(npm).chain(others).map(|command| Detected::new(command, source)).collect();
    plan.setup.splice(0..0, brought);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_that_a_plan_calls_are_brought_first() {
        let detected = |command: &str| Detected::new(command, "");
        let plan = |setup: &[&str], test: &str| {
            let plan =
                Plan { setup: setup.iter().map(|command| detected(command)).collect(), test: detected(test) };
            with_tools(plan).setup.into_iter().map(|command| command.value).collect::<Vec<_>>()
        };
        assert_eq!(
            plan(&["pnpm install"], "CI=1 pnpm test"),
            [npm_tool("pnpm", "pnpm"), "pnpm install".to_owned()]
        );
        assert_eq!(plan(&[], "cd x && tox -e py"), [python_tool("tox")]);
        assert_eq!(plan(&["echo pnpm"], "make test"), ["echo pnpm"]);
    }

    #[test]
    fn tool_is_brought_only_if_it_is_not_there_or_a_version_is_named() {
        insta::assert_snapshot!(
            [
                python_tool("uv"),
                npm_tool("pnpm", "pnpm"),
                npm_tool("pnpm", "pnpm@9.1.0"),
                npm_tool("yarn", "@yarnpkg/cli-dist"),
                bundler(),
            ]
            .join("\n"),
            @r"
        command -v uv >/dev/null || { python3 -m venv ~/.tools/uv && ~/.tools/uv/bin/python -m pip install uv && mkdir -p ~/.local/bin && ln -sf ~/.tools/uv/bin/uv ~/.local/bin/; }
        command -v pnpm >/dev/null || npm install --global --prefix ~/.local pnpm
        npm install --global --prefix ~/.local pnpm@9.1.0
        command -v yarn >/dev/null || npm install --global --prefix ~/.local @yarnpkg/cli-dist
        command -v bundle >/dev/null || gem install --user-install --bindir ~/.local/bin bundler
        "
        );
    }
}
