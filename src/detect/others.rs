//! Kinds of project whose manifest at the root says everything.

use super::{Candidate, RootListing};

/// .NET: a solution, or a project.
pub(super) fn dotnet(root: &RootListing) -> Option<Candidate> {
    let of_kind = |ending: &str| {
        let named: Vec<&str> = root.files_in("").filter(|name| name.ends_with(ending)).collect();
        (!named.is_empty()).then_some(named)
    };
    let named = [".sln", ".slnx", ".csproj", ".fsproj"].into_iter().find_map(of_kind)?;
    let candidate = Candidate::new(".NET", named[0], &["dotnet test"]);
    Some(match named.as_slice() {
        [only] => candidate.set_up_by("dotnet restore", *only).tested_by("dotnet test", *only),
        [first, ..] => candidate.untested(
            "there are several solutions or projects at the root, and dotnet takes one",
            format!("dotnet test {}", super::shell_quoting::quoted(first)),
        ),
        [] => return None,
    })
}

/// Elixir: mix.
pub(super) fn elixir(root: &RootListing) -> Option<Candidate> {
    root.has_file("mix.exs").then(|| {
        let command = "mix local.hex --force && mix local.rebar --force && mix deps.get";
        Candidate::new("Elixir", "mix.exs", &["mix test"])
            .set_up_by(command, "mix.exs")
            .tested_by("mix test", "mix.exs")
    })
}

/// What a manifest says: its file (or ending, with `*`), language, setup and test command.
const MANIFESTS: &[(&str, &str, &str, &str)] = &[
    ("Package.swift", "Swift", "swift package resolve", "swift test"),
    ("stack.yaml", "Haskell", "stack build --test --only-dependencies", "stack test"),
    (
        "*.cabal",
        "Haskell",
        "cabal update && cabal build --enable-tests --only-dependencies all",
        "cabal test all",
    ),
    ("dune-project", "OCaml", "opam install --yes --deps-only --with-test .", "dune runtest"),
    ("gleam.toml", "Gleam", "gleam deps download", "gleam test"),
    ("build.sbt", "Scala", "sbt update Test/compile", "sbt test"),
    ("project.clj", "Clojure", "lein deps", "lein test"),
    ("rebar.config", "Erlang", "rebar3 get-deps", "rebar3 eunit"),
    ("shard.yml", "Crystal", "shards install", "crystal spec"),
];

/// Any of [`MANIFESTS`], and Zig, whose build file must have a test step.
pub(super) fn by_manifest(root: &RootListing) -> Option<Candidate> {
    if let Some(text) = root.text("build.zig") {
        let candidate = Candidate::new("Zig", "build.zig", &["zig build test"]);
        return Some(match text.contains(".step(\"test\"") {
            true => candidate.tested_by("zig build test", "the step test in build.zig"),
            false => candidate.untested("build.zig has no step named test", "zig build test"),
        });
    }
    MANIFESTS.iter().find_map(|(manifest, language, setup, test)| {
        let found = match manifest.strip_prefix('*') {
            Some(ending) => root.files_in("").find(|name| name.ends_with(ending))?,
            None => root.first(&[*manifest])?,
        };
        Some(Candidate::new(language, found, &[]).set_up_by(*setup, found).tested_by(*test, found))
    })
}
