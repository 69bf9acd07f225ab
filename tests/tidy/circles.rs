//! Circles: files that import each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Imports, imports};
use crate::sources::{Source, sources};

/// Each crate's root file.
const ROOTS: &[&str] = &["src/lib.rs", "src/emulator/lib.rs", "src/protocol/lib.rs", "src/toolbox/main.rs"];

/// Circles that are still there. The list may only become shorter.
const CIRCLES: &[&[&str]] = &[&["src/verdict/steps/candidate.rs", "src/verdict/steps/in_source.rs"]];

type Path = Vec<String>;

struct Module {
    file: String,
    imports: Imports,
}

fn directory(root: &str) -> &str {
    &root[..=root.rfind('/').unwrap()]
}

/// The modules of one crate that are files.
fn modules(root: &str, sources: &[Source]) -> BTreeMap<Path, Module> {
    let is_own = |path: &str| {
        let crates = ROOTS.iter().filter(|other| path.starts_with(directory(other)));
        crates.max_by_key(|other| other.len()) == Some(&root)
    };
    let own = sources.iter().filter(|source| !source.is_test() && is_own(&source.path));
    own.map(|source| {
        let inside = source.path[directory(root).len()..].trim_end_matches(".rs");
        let mut path: Path = inside.split('/').map(str::to_owned).collect();
        if source.path == root || path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let imports = imports(source, &path);
        (path, Module { file: source.path.clone(), imports })
    })
    .collect()
}

/// The module that a path leads to, also through what modules export again.
fn target<'a>(path: &Path, modules: &'a BTreeMap<Path, Module>) -> Option<&'a Path> {
    let mut path = path.clone();
    // A chain of exports is never longer.
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let (found, module) = modules.get_key_value(&path[..depth])?;
        match path.get(depth).and_then(|name| module.imports.exports.get(name)) {
            Some(exported) if *exported != path => {
                path = exported.iter().chain(&path[depth + 1..]).cloned().collect();
            }
            _ => return Some(found),
        }
    }
    None
}

/// Groups of files of which each reaches each other.
fn circles(modules: &BTreeMap<Path, Module>) -> Vec<BTreeSet<String>> {
    let edges = |(path, module): (&'_ Path, &Module)| -> BTreeSet<Path> {
        let targets = module.imports.paths.iter().filter_map(|(_, import)| target(import, modules));
        targets.filter(|target| *target != path).cloned().collect()
    };
    let edges: BTreeMap<&Path, BTreeSet<Path>> =
        modules.iter().map(|(path, module)| (path, edges((path, module)))).collect();
    let reached = |from: &Path| {
        let mut reached: BTreeSet<&Path> = BTreeSet::new();
        let mut open: Vec<&Path> = edges[from].iter().collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(&edges[next]);
            }
        }
        reached
    };
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        modules.keys().map(|path| (path, reached(path))).collect();
    let mut groups: Vec<BTreeSet<String>> = Vec::new();
    for (path, own) in &reached {
        let mutual = own.iter().filter(|other| reached[**other].contains(path));
        let group: BTreeSet<String> = mutual.map(|other| modules[*other].file.clone()).collect();
        if group.len() > 1 && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

#[test]
fn files_never_import_each_other_in_a_circle() {
    let sources = sources();
    let found: Vec<BTreeSet<String>> =
        ROOTS.iter().flat_map(|root| circles(&modules(root, &sources))).collect();
    let known: Vec<BTreeSet<String>> =
        CIRCLES.iter().map(|files| files.iter().map(|file| (*file).to_owned()).collect()).collect();
    let new: Vec<_> = found.iter().filter(|circle| !known.contains(circle)).collect();
    assert!(new.is_empty(), "files import each other in a circle: {new:#?}");
    let gone: Vec<_> = known.iter().filter(|circle| !found.contains(circle)).collect();
    assert!(gone.is_empty(), "take out of CIRCLES what is no circle any more: {gone:#?}");
}
