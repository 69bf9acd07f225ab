//! Names the programs that a command could not find, and the package that has them.

use std::collections::BTreeSet;

use super::outdated_tools::outdated_tools;

/// The most programs that are named.
const NAMED_MAX: usize = 5;

/// Debian's package of a program whose name differs from its package's (packages.debian.org, "Contents").
const PACKAGES: [(&str, &str); 34] = [
    ("aclocal", "automake"),
    ("autoreconf", "autoconf"),
    ("bundle", "ruby-bundler"),
    ("c++", "g++"),
    ("cabal", "cabal-install"),
    ("cc", "gcc"),
    ("cpanm", "cpanminus"),
    ("ctest", "cmake"),
    ("dotnet", "dotnet-sdk-8.0 (from Microsoft's repository)"),
    ("gem", "ruby"),
    ("glibtoolize", "libtool"),
    ("go", "golang-go"),
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
    ("lein", "leiningen"),
    ("libtoolize", "libtool"),
    ("mix", "elixir"),
    ("msgfmt", "gettext"),
    ("mvn", "maven"),
    ("ninja", "ninja-build"),
    ("node", "nodejs"),
    ("nosetests", "python3-nose"),
    ("npx", "npm"),
    ("php", "php-cli"),
    ("pip", "python3-pip"),
    ("pip3", "python3-pip"),
    ("pkg-config", "pkgconf"),
    ("prove", "perl"),
    ("pytest", "python3-pytest"),
    ("python", "python3"),
    ("rspec", "ruby-rspec"),
    ("stack", "haskell-stack"),
    ("tclsh", "tcl"),
    ("xvfb-run", "xvfb"),
];

/// What an output says that the root file system lacks: programs, or a newer toolchain. Empty if it says nothing of it.
pub(crate) fn lacking(output: &str) -> String {
    let sentences = [missing_programs(output), outdated_tools(output)];
    sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A sentence on the programs that an output says are missing; empty if it names none. `sh: 1: cmake: not found`,
/// `bash: cmake: command not found`, `make: autoconf: No such file or directory`, `env: 'tclsh': No such file…`.
fn missing_programs(output: &str) -> String {
    let missing: BTreeSet<&str> = output.lines().filter_map(missing_in).collect();
    let named: Vec<String> = missing
        .into_iter()
        .take(NAMED_MAX)
        .map(|program| {
            let package = PACKAGES.iter().find(|(name, _)| *name == program).map(|(_, package)| *package);
            format!("`{program}` (Debian's package {})", package.unwrap_or(program))
        })
        .collect();
    match named.as_slice() {
        [] => String::new(),
        [one] => format!("The sandbox does not have {one}: use an image that has it (`image:`)."),
        more => {
            format!("The sandbox does not have {}: use an image that has them (`image:`).", more.join(", "))
        }
    }
}

fn missing_in(line: &str) -> Option<&str> {
    let line = line.trim();
    let before = line
        .strip_suffix(": not found")
        .or_else(|| line.strip_suffix(": command not found"))
        .or_else(|| {
            let (before, _) = line.split_once(": No such file or directory")?;
            let by_starter = ["make", "env", "/usr/bin/env", "gmake"];
            let starter = before.split([':', '[']).next().unwrap_or_default();
            by_starter.contains(&starter).then_some(before)
        })?;
    let program = before.rsplit(": ").next()?.trim_matches(['\'', '"', '`', '‘', '’']);
    let is_name = !program.is_empty()
        && program.len() < 40
        && program.chars().all(|c| c.is_ascii_alphanumeric() || "+-_.".contains(c));
    is_name.then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_named_with_its_package() {
        let of = |output: &str| missing_programs(output);
        let lines = [
            of("sh: 1: cmake: not found"),
            of("/bin/sh: 3: autoreconf: not found\nmake: *** [Makefile:3: x] Error 127"),
            of("./runtest: line 8: tclsh: command not found"),
            of("make: tclsh: No such file or directory\nbash: line 1: pnpm: command not found"),
            of("env: ‘node’: No such file or directory"),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        The sandbox does not have `cmake` (Debian's package cmake): use an image that has it (`image:`).
        The sandbox does not have `autoreconf` (Debian's package autoconf): use an image that has it (`image:`).
        The sandbox does not have `tclsh` (Debian's package tcl): use an image that has it (`image:`).
        The sandbox does not have `pnpm` (Debian's package pnpm), `tclsh` (Debian's package tcl): use an image that has them (`image:`).
        The sandbox does not have `node` (Debian's package nodejs): use an image that has it (`image:`).
        ");
        for other in ["a test: not found anywhere", "FAIL: open /x/y: No such file or directory", "ok", ""] {
            assert_eq!(of(other), "", "{other}");
        }
    }

    #[test]
    fn packages_are_sorted_so_that_one_is_found_by_eye() {
        assert!(PACKAGES.is_sorted());
    }
}
