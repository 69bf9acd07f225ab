//! One file taken apart: what it defines, which names it uses, and which words it holds. Depends on
//! the file's content and its language alone, so it is made once for each content.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::language::{self, Action, Kind, Ready, Rule};
use super::memory;
use super::words::{ByHash, CountedWord, counted, hash};

/// For one file to be parsed; past it only its words are known.
const PARSE_MAX: Duration = Duration::from_secs(2);
/// Calls of the parser's progress between two looks at the memory; one is every 100 steps.
const MEMORY_ASKED_EVERY: u32 = 20;
/// Most definitions kept of one file.
const DEFINITIONS_MAX: usize = 5_000;
/// Most different names kept of one file.
const NAMES_MAX: usize = 20_000;
/// Longest name.
const NAME_BYTES_MAX: usize = 120;
/// Longest way through a declarator to its name.
const STEPS_MAX: usize = 24;

/// What is known of a file's content.
#[derive(Debug, Default)]
pub struct Outline {
    /// The number of its language.
    pub language: Option<u8>,
    /// Made by a program, as far as it says so.
    pub generated: bool,
    /// Lines too long for people.
    pub minified: bool,
    /// Its parser was stopped, for want of time or memory.
    pub cut_short: bool,
    pub lines: u32,
    pub definitions: Box<[Definition]>,
    /// Hashes of the names used, in order, each with how often.
    pub used: Box<[(u32, u16)]>,
    pub words: Box<[CountedWord]>,
    /// Words with repetitions.
    pub words_total: u32,
    /// The text of all names, one after the other.
    text: Box<str>,
}

/// A definition in a file.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Of its name.
    pub hash: u32,
    /// From 1.
    pub line: u32,
    pub kind: Kind,
    name: (u32, u8),
    container: (u32, u8),
}

/// A name used, or defined, at a place.
pub struct Place {
    pub line: u32,
    pub defines: bool,
}

impl Outline {
    pub fn name(&self, definition: &Definition) -> &str {
        self.slice(definition.name)
    }

    /// What it is defined in.
    pub fn container(&self, definition: &Definition) -> Option<&str> {
        Some(self.slice(definition.container)).filter(|name| !name.is_empty())
    }

    fn slice(&self, (from, length): (u32, u8)) -> &str {
        let from = from as usize;
        self.text.get(from..from + usize::from(length)).unwrap_or_default()
    }

    /// How often it uses a name.
    pub fn uses(&self, hash: u32) -> u16 {
        self.used.binary_search_by_key(&hash, |(name, _)| *name).map_or(0, |at| self.used[at].1)
    }

    /// Memory it takes, about.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.definitions)
            + size_of_val(&*self.used)
            + size_of_val(&*self.words)
            + self.text.len()
            + 200
    }
}

/// Takes a file's content apart.
pub fn outline(parser: &mut Parser, language: Option<u8>, content: &[u8]) -> Outline {
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    let minified = is_minified(content, lines);
    let (words, words_total) = if minified { (Box::default(), 0) } else { counted(content) };
    let mut outline = Outline {
        generated: says_generated(content),
        minified,
        lines: u32::try_from(lines).unwrap_or(u32::MAX),
        words,
        words_total,
        ..Outline::default()
    };
    let Some(number) = language.filter(|_| !minified) else { return outline };
    let Some((number, tree)) = parsed_best(parser, number, content) else {
        outline.cut_short = true;
        return outline;
    };
    let mut walk = Walk::new(language::ready(number), content);
    walk.over(&tree);
    outline.language = Some(number);
    walk.finish(&mut outline);
    outline
}

/// Where a name stands in a file's code: lines with what it is there, each line once.
pub fn places(parser: &mut Parser, number: u8, content: &[u8], name: &str) -> Vec<Place> {
    let Some((number, tree)) = parsed_best(parser, number, content) else { return Vec::new() };
    let mut walk = Walk::new(language::ready(number), content);
    walk.wanted = Some(name.as_bytes());
    walk.over(&tree);
    let mut places = walk.places;
    places.sort_by_key(|place| (place.line, !place.defines));
    places.dedup_by_key(|place| place.line);
    places
}

/// Parses; a header that is not C is tried as C++.
pub fn parsed_best(parser: &mut Parser, number: u8, content: &[u8]) -> Option<(u8, Tree)> {
    let tree = parsed(parser, number, content)?;
    let cpp = language::cpp();
    let may_be_cpp = language::SPECS[usize::from(number)].name == "c" && tree.root_node().has_error();
    if may_be_cpp
        && looks_like_cpp(content)
        && let Some(other) = parsed(parser, cpp, content)
    {
        return Some((cpp, other));
    }
    Some((number, tree))
}

fn looks_like_cpp(content: &[u8]) -> bool {
    let text = &content[..content.len().min(64 << 10)];
    [&b"class "[..], b"namespace ", b"template", b"public:"]
        .iter()
        .any(|word| text.windows(word.len()).any(|window| window == *word))
}

fn parsed(parser: &mut Parser, number: u8, content: &[u8]) -> Option<Tree> {
    parser.set_language(&language::ready(number).language).ok()?;
    let until = Instant::now() + PARSE_MAX;
    let mut asked = 0_u32;
    let mut within_bounds = |_: &tree_sitter::ParseState| {
        asked += 1;
        let memory_is_short = asked.is_multiple_of(MEMORY_ASKED_EVERY) && memory::is_short();
        match Instant::now() < until && !memory_is_short {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    let options = ParseOptions::new().progress_callback(&mut within_bounds);
    let tree =
        parser.parse_with_options(&mut |at, _| content.get(at..).unwrap_or_default(), None, Some(options));
    // One that was broken off would otherwise be gone on with.
    parser.reset();
    if tree.is_none() {
        memory::give_back();
    }
    tree
}

fn is_minified(content: &[u8], lines: usize) -> bool {
    content.len() > 20_000 && content.len() / (lines + 1) > 250
}

fn says_generated(content: &[u8]) -> bool {
    let head = &content[..content.len().min(1_000)];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    [
        "do not edit",
        "@generated",
        "autogenerated",
        "auto-generated",
        "automatically generated",
        "generated by",
    ]
    .iter()
    .any(|word| head.contains(word))
}

struct Scope {
    end: usize,
    kind: Option<Kind>,
    name: (u32, u8),
}

struct Walk<'a> {
    ready: &'static Ready,
    content: &'a [u8],
    /// What we are in, outermost first.
    scopes: Vec<Scope>,
    text: String,
    definitions: Vec<Definition>,
    /// Where the names of definitions begin: these are no uses.
    named_at: HashSet<usize>,
    used: ByHash<u16>,
    wanted: Option<&'a [u8]>,
    places: Vec<Place>,
}

impl<'a> Walk<'a> {
    fn new(ready: &'static Ready, content: &'a [u8]) -> Self {
        Self {
            ready,
            content,
            scopes: Vec::new(),
            text: String::new(),
            definitions: Vec::new(),
            named_at: HashSet::new(),
            used: ByHash::default(),
            wanted: None,
            places: Vec::new(),
        }
    }

    fn over(&mut self, tree: &Tree) {
        let mut cursor = tree.walk();
        loop {
            self.enter(cursor.node());
            if cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
            }
        }
    }

    fn enter(&mut self, node: Node<'_>) {
        match self.ready.action(node.kind_id()) {
            Action::Nothing => {}
            Action::Name => self.use_name(node),
            Action::Scope(field) => {
                self.leave(node.start_byte());
                let name = node.child_by_field_name(field).and_then(|named| self.leaf(named));
                let name = name.map_or((0, 0), |leaf| self.keep(leaf.byte_range()));
                self.scopes.push(Scope { end: node.end_byte(), kind: None, name });
            }
            Action::Define(kind, rule) => {
                self.leave(node.start_byte());
                self.define(node, kind, rule);
            }
        }
    }

    fn leave(&mut self, at: usize) {
        while self.scopes.last().is_some_and(|scope| scope.end <= at) {
            self.scopes.pop();
        }
    }

    fn use_name(&mut self, node: Node<'_>) {
        let range = node.byte_range();
        if self.named_at.contains(&range.start) || range.len() > NAME_BYTES_MAX {
            return;
        }
        let Some(name) = self.content.get(range) else { return };
        if self.wanted == Some(name) {
            self.places.push(Place { line: line_of(node), defines: false });
        }
        if self.used.len() < NAMES_MAX {
            let count = self.used.entry(hash(name)).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    fn define(&mut self, node: Node<'_>, kind: Kind, rule: Rule) {
        let in_function =
            self.scopes.iter().any(|scope| matches!(scope.kind, Some(Kind::Function | Kind::Method)));
        let field = |name| node.child_by_field_name(name);
        let value_kind = |name| field(name).map(|value| value.kind()).and_then(function_kind);
        let mut kind = kind;
        let named = match rule {
            Rule::Name => field("name"),
            Rule::NameWithBody => field("body").and_then(|_| field("name")),
            Rule::NameOutside => field("name").filter(|_| !in_function),
            Rule::Declarator => field("declarator").filter(|_| kind != Kind::Field || !in_function),
            Rule::Prototype => {
                field("declarator").filter(|declarator| !in_function && has_function_declarator(*declarator))
            }
            Rule::Left => field("left")
                .filter(|left| !in_function && (left.kind() == "identifier" || left.kind() == "constant")),
            Rule::Variable => {
                let function = value_kind("value");
                kind = function.unwrap_or(kind);
                let is_import = field("value").is_some_and(|value| {
                    let function = value.child_by_field_name("function");
                    function.is_some_and(|f| self.content.get(f.byte_range()) == Some(b"require"))
                });
                field("name").filter(|name| {
                    name.kind() == "identifier" && !is_import && (function.is_some() || !in_function)
                })
            }
            Rule::AssignedFunction => {
                kind = value_kind("right").unwrap_or(kind);
                field("left")
                    .filter(|left| left.kind() == "member_expression" && value_kind("right").is_some())
            }
            Rule::KeyedFunction => field("key")
                .filter(|key| key.kind() == "property_identifier" && value_kind("value").is_some()),
            Rule::FirstIdentifier => node.named_child(0).filter(|_| !in_function),
        };
        let Some(named) = named else { return };
        let qualifier = self.qualifier(node, named);
        let Some(leaf) = self.leaf(named) else { return };
        let range = leaf.byte_range();
        if range.is_empty() || range.len() > NAME_BYTES_MAX || self.definitions.len() == DEFINITIONS_MAX {
            return;
        }
        let Some(bytes) = self.content.get(range.clone()) else { return };
        let within = self.scopes.last();
        if kind == Kind::Function && within.is_some_and(|scope| scope.kind.is_none_or(Kind::is_container)) {
            // A function in a namespace or a module is one all the same.
            let in_module = within.is_some_and(|scope| scope.kind == Some(Kind::Module));
            kind = if in_module { Kind::Function } else { Kind::Method };
        }
        let named_scope =
            self.scopes.iter().rev().find(|scope| scope.name.1 > 0).map_or((0, 0), |scope| scope.name);
        self.named_at.insert(range.start);
        if self.wanted == Some(bytes) {
            self.places.push(Place { line: line_of(leaf), defines: true });
        }
        let hash = hash(bytes);
        let name = self.keep(range);
        let container = match qualifier {
            Some(qualifier) => self.keep(qualifier.byte_range()),
            None => named_scope,
        };
        self.definitions.push(Definition { hash, line: line_of(leaf), kind, name, container });
        self.scopes.push(Scope { end: node.end_byte(), kind: Some(kind), name });
    }

    /// `Type` of `Type::method` (C++) and of `func (t *Type) Method` (Go).
    fn qualifier<'t>(&self, node: Node<'t>, named: Node<'t>) -> Option<Node<'t>> {
        if let Some(receiver) = node.child_by_field_name("receiver") {
            let mut within = receiver;
            for _ in 0..STEPS_MAX {
                if within.kind() == "type_identifier" {
                    return Some(within);
                }
                let next = within.child_by_field_name("type").or_else(|| {
                    let last = within.named_child_count().checked_sub(1)?;
                    within.named_child(u32::try_from(last).ok()?)
                });
                within = next?;
            }
            return None;
        }
        let mut within = named;
        let mut scope = None;
        for _ in 0..STEPS_MAX {
            if let Some(found) = within.child_by_field_name("scope") {
                scope = Some(found);
            }
            match next_step(within) {
                Some(next) => within = next,
                None => break,
            }
        }
        scope.and_then(|scope| self.leaf(scope))
    }

    /// The leaf that is the name.
    fn leaf<'t>(&self, named: Node<'t>) -> Option<Node<'t>> {
        let mut within = named;
        for _ in 0..STEPS_MAX {
            if within.child_count() == 0 {
                return Some(within);
            }
            within = next_step(within)?;
        }
        None
    }

    /// Keeps a name's text.
    fn keep(&mut self, range: std::ops::Range<usize>) -> (u32, u8) {
        let bytes = self.content.get(range).unwrap_or_default();
        let from = self.text.len();
        self.text.push_str(&String::from_utf8_lossy(bytes));
        let length = self.text.len() - from;
        match (u32::try_from(from), u8::try_from(length)) {
            (Ok(from), Ok(length)) => (from, length),
            _ => {
                self.text.truncate(from);
                (0, 0)
            }
        }
    }

    fn finish(self, outline: &mut Outline) {
        let mut used: Vec<(u32, u16)> = self.used.into_iter().collect();
        used.sort_unstable();
        outline.used = used.into_boxed_slice();
        outline.definitions = self.definitions.into_boxed_slice();
        outline.text = self.text.into_boxed_str();
    }
}

fn next_step(node: Node<'_>) -> Option<Node<'_>> {
    ["name", "declarator", "property", "field", "type", "attribute"]
        .iter()
        .find_map(|field| node.child_by_field_name(field))
        .or_else(|| node.named_child(0))
}

fn has_function_declarator(declarator: Node<'_>) -> bool {
    let mut within = declarator;
    for _ in 0..STEPS_MAX {
        if within.kind() == "function_declarator" {
            return true;
        }
        match within.child_by_field_name("declarator") {
            Some(next) => within = next,
            None => return false,
        }
    }
    false
}

/// What a value defines when a name is given to it.
fn function_kind(kind: &str) -> Option<Kind> {
    match kind {
        "arrow_function" | "function_expression" | "generator_function" => Some(Kind::Function),
        "class" => Some(Kind::Class),
        _ => None,
    }
}

fn line_of(node: Node<'_>) -> u32 {
    u32::try_from(node.start_position().row).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests;
