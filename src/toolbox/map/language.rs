//! The languages that are parsed: their file names, and which nodes of their syntax trees define, enclose or
//! name something. Only tables; `outline` reads them.

use std::sync::OnceLock;

use tree_sitter::Language;
use tree_sitter_language::LanguageFn;

/// The kind of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Class,
    Struct,
    Union,
    Enum,
    Interface,
    Trait,
    Type,
    Module,
    Function,
    Method,
    Macro,
    Constant,
    Field,
    /// Declared without a definition, as in a header.
    Declaration,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Struct => "struct",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Interface => "interface",
            Self::Trait => "trait",
            Self::Type => "type",
            Self::Module => "module",
            Self::Function => "function",
            Self::Method => "method",
            Self::Macro => "macro",
            Self::Constant => "constant",
            Self::Field => "field",
            Self::Declaration => "declaration",
        }
    }

    /// Whether definitions inside it are visible as its members.
    pub fn is_container(self) -> bool {
        match self {
            Self::Class
            | Self::Struct
            | Self::Union
            | Self::Enum
            | Self::Interface
            | Self::Trait
            | Self::Module => true,
            Self::Type
            | Self::Function
            | Self::Method
            | Self::Macro
            | Self::Constant
            | Self::Field
            | Self::Declaration => false,
        }
    }
}

/// How a node names what it defines, and when it defines something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Its field `name`.
    Name,
    /// Its field `name`, if it also has a `body`: otherwise the type is only mentioned.
    NameWithBody,
    /// Its field `name`, unless it is inside a function.
    NameOutside,
    /// The identifier at the end of its `declarator` fields.
    Declarator,
    /// The same, if there is a function declarator on the path; outside of functions.
    Prototype,
    /// The identifier on the `left`, outside of functions.
    Left,
    /// `name = function`, or any `name = …` outside of functions.
    Variable,
    /// `left = function`; the name is the last part of the left side.
    AssignedFunction,
    /// `key: function`.
    KeyedFunction,
    /// The first identifier in it, outside of functions.
    FirstIdentifier,
}

/// A language.
pub struct Spec {
    pub name: &'static str,
    /// References lead to definitions in the same family only.
    pub family: u8,
    extensions: &'static [&'static str],
    grammar: LanguageFn,
    definitions: &'static [(&'static str, Kind, Rule)],
    /// Nodes that give their content a container's name without defining the container: the field with the name.
    scopes: &'static [(&'static str, &'static str)],
    /// Leaves that name something.
    names: &'static [&'static str],
}

use Kind::{
    Class, Constant, Declaration, Enum, Field, Function, Interface, Macro, Method, Module, Struct, Trait,
    Type, Union,
};
use Rule::{
    AssignedFunction, Declarator, FirstIdentifier, KeyedFunction, Left, Name, NameOutside, NameWithBody,
    Prototype, Variable,
};

const JAVASCRIPT: &[(&str, Kind, Rule)] = &[
    ("function_declaration", Function, Name),
    ("generator_function_declaration", Function, Name),
    ("class_declaration", Class, Name),
    ("method_definition", Method, Name),
    ("variable_declarator", Constant, Variable),
    ("assignment_expression", Function, AssignedFunction),
    ("pair", Method, KeyedFunction),
];
const TYPESCRIPT: &[(&str, Kind, Rule)] = &[
    ("function_declaration", Function, Name),
    ("generator_function_declaration", Function, Name),
    ("function_signature", Declaration, Name),
    ("class_declaration", Class, Name),
    ("abstract_class_declaration", Class, Name),
    ("interface_declaration", Interface, Name),
    ("type_alias_declaration", Type, Name),
    ("enum_declaration", Enum, Name),
    ("internal_module", Module, Name),
    ("module", Module, Name),
    ("method_definition", Method, Name),
    ("method_signature", Declaration, Name),
    ("abstract_method_signature", Declaration, Name),
    ("public_field_definition", Field, Name),
    ("variable_declarator", Constant, Variable),
    ("assignment_expression", Function, AssignedFunction),
    ("pair", Method, KeyedFunction),
];
const TYPESCRIPT_NAMES: &[&str] =
    &["identifier", "type_identifier", "property_identifier", "shorthand_property_identifier"];

const C: &[(&str, Kind, Rule)] = &[
    ("function_definition", Function, Declarator),
    ("declaration", Declaration, Prototype),
    ("struct_specifier", Struct, NameWithBody),
    ("union_specifier", Union, NameWithBody),
    ("enum_specifier", Enum, NameWithBody),
    ("type_definition", Type, Declarator),
    ("preproc_def", Macro, Name),
    ("preproc_function_def", Macro, Name),
    ("enumerator", Constant, Name),
];
const CPP: &[(&str, Kind, Rule)] = &[
    ("function_definition", Function, Declarator),
    ("declaration", Declaration, Prototype),
    ("field_declaration", Declaration, Prototype),
    ("class_specifier", Class, NameWithBody),
    ("struct_specifier", Struct, NameWithBody),
    ("union_specifier", Union, NameWithBody),
    ("enum_specifier", Enum, NameWithBody),
    ("namespace_definition", Module, Name),
    ("alias_declaration", Type, Name),
    ("concept_definition", Type, Name),
    ("type_definition", Type, Declarator),
    ("preproc_def", Macro, Name),
    ("preproc_function_def", Macro, Name),
    ("enumerator", Constant, Name),
];
const C_NAMES: &[&str] = &["identifier", "type_identifier", "field_identifier", "namespace_identifier"];

/// All of them; the index is the language's number.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "rust",
        family: 0,
        extensions: &["rs"],
        grammar: tree_sitter_rust::LANGUAGE,
        definitions: &[
            ("function_item", Function, Name),
            ("function_signature_item", Declaration, Name),
            ("struct_item", Struct, Name),
            ("enum_item", Enum, Name),
            ("union_item", Union, Name),
            ("trait_item", Trait, Name),
            ("type_item", Type, Name),
            ("mod_item", Module, NameWithBody),
            ("macro_definition", Macro, Name),
            ("const_item", Constant, NameOutside),
            ("static_item", Constant, NameOutside),
            ("enum_variant", Constant, Name),
        ],
        scopes: &[("impl_item", "type")],
        names: &["identifier", "type_identifier", "field_identifier"],
    },
    Spec {
        name: "python",
        family: 1,
        extensions: &["py", "pyi", "pyx"],
        grammar: tree_sitter_python::LANGUAGE,
        definitions: &[
            ("function_definition", Function, Name),
            ("class_definition", Class, Name),
            ("assignment", Constant, Left),
        ],
        scopes: &[],
        names: &["identifier"],
    },
    Spec {
        name: "javascript",
        family: 2,
        extensions: &["js", "jsx", "mjs", "cjs"],
        grammar: tree_sitter_javascript::LANGUAGE,
        definitions: JAVASCRIPT,
        scopes: &[],
        names: &["identifier", "property_identifier", "shorthand_property_identifier"],
    },
    Spec {
        name: "typescript",
        family: 2,
        extensions: &["ts", "mts", "cts"],
        grammar: tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
        definitions: TYPESCRIPT,
        scopes: &[],
        names: TYPESCRIPT_NAMES,
    },
    Spec {
        name: "tsx",
        family: 2,
        extensions: &["tsx"],
        grammar: tree_sitter_typescript::LANGUAGE_TSX,
        definitions: TYPESCRIPT,
        scopes: &[],
        names: TYPESCRIPT_NAMES,
    },
    Spec {
        name: "go",
        family: 3,
        extensions: &["go"],
        grammar: tree_sitter_go::LANGUAGE,
        definitions: &[
            ("function_declaration", Function, Name),
            ("method_declaration", Method, Name),
            ("method_elem", Declaration, Name),
            ("type_spec", Type, Name),
            ("type_alias", Type, Name),
            ("const_spec", Constant, NameOutside),
            ("var_spec", Constant, NameOutside),
        ],
        scopes: &[],
        names: &["identifier", "type_identifier", "field_identifier"],
    },
    Spec {
        name: "java",
        family: 4,
        extensions: &["java"],
        grammar: tree_sitter_java::LANGUAGE,
        definitions: &[
            ("class_declaration", Class, Name),
            ("record_declaration", Class, Name),
            ("interface_declaration", Interface, Name),
            ("annotation_type_declaration", Interface, Name),
            ("enum_declaration", Enum, Name),
            ("enum_constant", Constant, Name),
            ("method_declaration", Method, Name),
            ("constructor_declaration", Method, Name),
            ("field_declaration", Field, Declarator),
        ],
        scopes: &[],
        names: &["identifier", "type_identifier"],
    },
    Spec {
        name: "c",
        family: 5,
        extensions: &["c", "h"],
        grammar: tree_sitter_c::LANGUAGE,
        definitions: C,
        scopes: &[],
        names: &["identifier", "type_identifier", "field_identifier"],
    },
    Spec {
        name: "c++",
        family: 5,
        extensions: &["cc", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "h++", "inl", "ipp", "tpp", "cu", "cuh"],
        grammar: tree_sitter_cpp::LANGUAGE,
        definitions: CPP,
        scopes: &[],
        names: C_NAMES,
    },
    Spec {
        name: "ruby",
        family: 6,
        extensions: &["rb", "rake", "gemspec"],
        grammar: tree_sitter_ruby::LANGUAGE,
        definitions: &[
            ("method", Method, Name),
            ("singleton_method", Method, Name),
            ("class", Class, Name),
            ("module", Module, Name),
            ("assignment", Constant, Left),
        ],
        scopes: &[],
        names: &["identifier", "constant"],
    },
    Spec {
        name: "php",
        family: 7,
        extensions: &["php", "phtml"],
        grammar: tree_sitter_php::LANGUAGE_PHP,
        definitions: &[
            ("function_definition", Function, Name),
            ("method_declaration", Method, Name),
            ("class_declaration", Class, Name),
            ("interface_declaration", Interface, Name),
            ("trait_declaration", Trait, Name),
            ("enum_declaration", Enum, Name),
            ("enum_case", Constant, Name),
            ("const_element", Constant, FirstIdentifier),
        ],
        scopes: &[],
        names: &["name"],
    },
];

/// What to do at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Nothing,
    Name,
    Scope(&'static str),
    Define(Kind, Rule),
}

/// A loaded language.
pub struct Ready {
    pub language: Language,
    actions: Vec<Action>,
}

impl Ready {
    /// What to do at a node of that kind.
    pub fn action(&self, kind_id: u16) -> Action {
        self.actions.get(usize::from(kind_id)).copied().unwrap_or(Action::Nothing)
    }
}

/// The number of the language of a file.
pub fn of_path(path: &str) -> Option<u8> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = match name.rsplit_once('.') {
        Some((_, extension)) => extension.to_ascii_lowercase(),
        None if name == "Rakefile" || name == "Gemfile" => "rb".to_owned(),
        None => return None,
    };
    let number = SPECS.iter().position(|spec| spec.extensions.contains(&extension.as_str()))?;
    u8::try_from(number).ok()
}

/// The number of the language to try on a `.h` that is not C.
pub fn cpp() -> u8 {
    SPECS.iter().position(|spec| spec.name == "c++").and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

/// The language with that number, loaded at its first use.
pub fn ready(number: u8) -> &'static Ready {
    static READY: [OnceLock<Ready>; 16] = [const { OnceLock::new() }; 16];
    READY[usize::from(number)].get_or_init(|| {
        let spec = &SPECS[usize::from(number)];
        let language = Language::new(spec.grammar);
        let action = |id: u16| {
            let Some(kind) = language.node_kind_for_id(id).filter(|_| language.node_kind_is_named(id)) else {
                return Action::Nothing;
            };
            if spec.names.contains(&kind) {
                return Action::Name;
            }
            if let Some((_, field)) = spec.scopes.iter().find(|(name, _)| *name == kind) {
                return Action::Scope(field);
            }
            let found = spec.definitions.iter().find(|(name, _, _)| *name == kind);
            found.map_or(Action::Nothing, |(_, kind, rule)| Action::Define(*kind, *rule))
        };
        let count = u16::try_from(language.node_kind_count()).unwrap_or(u16::MAX);
        let actions = (0..count).map(action).collect();
        Ready { language, actions }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_node_that_is_named_here_is_one_of_its_grammar() {
        for (number, spec) in (0..).zip(SPECS) {
            let language = &ready(number).language;
            let known = |kind: &str| language.id_for_node_kind(kind, true) != 0;
            let kinds = spec.definitions.iter().map(|(kind, _, _)| *kind);
            let kinds =
                kinds.chain(spec.scopes.iter().map(|(kind, _)| *kind)).chain(spec.names.iter().copied());
            let unknown: Vec<&str> = kinds.filter(|kind| !known(kind)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", spec.name);
        }
    }

    #[test]
    fn a_file_is_known_by_its_ending() {
        let name = |path| of_path(path).map(|number| SPECS[usize::from(number)].name);
        assert_eq!(name("src/a.RS"), Some("rust"));
        assert_eq!(name("a/Rakefile"), Some("ruby"));
        assert_eq!(name("a.py/README"), None);
        assert_eq!(name(".rs"), Some("rust"));
    }
}
