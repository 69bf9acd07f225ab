use super::*;

/// `line kind container.name` of each definition.
fn defined(path: &str, text: &str) -> Vec<String> {
    let outline = outline(&mut Parser::new(), language::of_path(path), text.as_bytes());
    let definitions = outline.definitions.iter().map(|definition| {
        let container = outline.container(definition).map(|name| format!("{name}.")).unwrap_or_default();
        format!("{} {} {container}{}", definition.line, definition.kind.word(), outline.name(definition))
    });
    definitions.collect()
}

#[test]
fn rust() {
    let text = "const MOST: u8 = 1;\nstruct Cart<T> { lines: T }\nimpl<T> Cart<T> {\n    fn pay(&self) { let x = 1; }\n}\n\
                trait Pay { fn pay(&self); }\nmod inner { fn free() {} }\nmacro_rules! sum { () => {} }\nmod elsewhere;\n";
    assert_eq!(
        defined("a.rs", text),
        [
            "1 constant MOST",
            "2 struct Cart",
            "4 method Cart.pay",
            "6 trait Pay",
            "6 declaration Pay.pay",
            "7 module inner",
            "7 function inner.free",
            "8 macro sum"
        ]
    );
}

#[test]
fn python() {
    let text = "LIMIT = 3\nclass Cart:\n    kind = 'x'\n    def pay(self):\n        total = 1\n        def inner(): pass\n\
                @decorated\ndef free(): pass\n";
    assert_eq!(
        defined("a.py", text),
        [
            "1 constant LIMIT",
            "2 class Cart",
            "3 constant Cart.kind",
            "4 method Cart.pay",
            "6 function pay.inner",
            "8 function free"
        ]
    );
}

#[test]
fn javascript_and_typescript() {
    let text = "const fs = require('fs');\nconst LIMIT = 3;\nexport const add = (a, b) => a + b;\nclass Cart {\n  pay() { \
                const x = 1; }\n}\nexports.send = function () {};\nmodule.exports = { load: () => 1, other: 2 };\n";
    let expected = [
        "2 constant LIMIT",
        "3 function add",
        "4 class Cart",
        "5 method Cart.pay",
        "7 function send",
        "8 function load",
    ];
    let without_method = |found: Vec<String>| -> Vec<String> {
        found.into_iter().map(|line| line.replace("8 method load", "8 function load")).collect()
    };
    assert_eq!(without_method(defined("a.js", text)), expected);
    assert_eq!(without_method(defined("a.ts", text)), expected);
    let text = "interface Row { id: number; load(): void }\ntype Id = string;\nenum Kind { A }\nabstract class Cart {\n  \
                total = 0;\n  abstract pay(): void;\n}\nnamespace N { export function f(): void {} }\n";
    assert_eq!(
        defined("a.tsx", text),
        [
            "1 interface Row",
            "1 declaration Row.load",
            "2 type Id",
            "3 enum Kind",
            "4 class Cart",
            "5 field Cart.total",
            "6 declaration Cart.pay",
            "8 module N",
            "8 function N.f"
        ]
    );
}

#[test]
fn go() {
    let text = "package a\nconst Most = 1\nvar all, some int\ntype Cart struct{}\nfunc (c *Cart) Pay() { var x int }\n\
                func Free() {}\ntype Payer interface { Pay() }\n";
    assert_eq!(
        defined("a.go", text),
        [
            "2 constant Most",
            "3 constant all",
            "4 type Cart",
            "5 method Cart.Pay",
            "6 function Free",
            "7 type Payer",
            "7 declaration Payer.Pay"
        ]
    );
}

#[test]
fn java() {
    let text = "package a;\nclass Cart {\n  private int total;\n  Cart() {}\n  void pay() { int x; }\n}\ninterface Payer { \
                void pay(); }\nenum Kind { A }\nrecord Point(int x) {}\n";
    assert_eq!(
        defined("A.java", text),
        [
            "2 class Cart",
            "3 field Cart.total",
            "4 method Cart.Cart",
            "5 method Cart.pay",
            "7 interface Payer",
            "7 method Payer.pay",
            "8 enum Kind",
            "8 constant Kind.A",
            "9 class Point"
        ]
    );
}

#[test]
fn c_and_cpp() {
    let text = "#define MOST 3\nstruct cart { int total; };\nstatic int *pay(struct cart *c) { int x; return 0; }\n\
                int later(int);\ntypedef struct cart cart_t;\nenum kind { A };\n";
    assert_eq!(
        defined("a.c", text),
        [
            "1 macro MOST",
            "2 struct cart",
            "3 function pay",
            "4 declaration later",
            "5 type cart_t",
            "6 enum kind",
            "6 constant kind.A"
        ]
    );
    let text = "namespace shop {\nclass Cart {\n public:\n  void pay();\n  int total() const { return 1; }\n};\n}\n\
                void shop::Cart::pay() {}\ntemplate <class T> T id(T t) { return t; }\nusing Id = int;\n";
    let expected = [
        "1 module shop",
        "2 class shop.Cart",
        "4 declaration Cart.pay",
        "5 method Cart.total",
        "8 function Cart.pay",
        "9 function id",
        "10 type Id",
    ];
    assert_eq!(defined("a.cpp", text), expected);
    // A header that is not C.
    assert_eq!(defined("a.h", text), expected);
}

#[test]
fn ruby_and_php() {
    let text = "module Shop\n  LIMIT = 3\n  class Cart\n    def pay\n      x = 1\n    end\n    def self.load; end\n  end\nend\n";
    assert_eq!(
        defined("a.rb", text),
        [
            "1 module Shop",
            "2 constant Shop.LIMIT",
            "3 class Shop.Cart",
            "4 method Cart.pay",
            "7 method Cart.load"
        ]
    );
    let text = "<?php\nnamespace Shop;\nconst MOST = 3;\nclass Cart {\n  const KIND = 1;\n  public function pay() {}\n}\n\
                interface Payer { function pay(); }\ntrait T {}\nfunction free() {}\n";
    assert_eq!(
        defined("a.php", text),
        [
            "3 constant MOST",
            "4 class Cart",
            "5 constant Cart.KIND",
            "6 method Cart.pay",
            "8 interface Payer",
            "8 method Payer.pay",
            "9 trait T",
            "10 function free"
        ]
    );
}

#[test]
fn a_name_is_used_where_it_is_not_defined() {
    let text = "def pay(cart):\n    return pay(cart.total)\n";
    let outline = outline(&mut Parser::new(), language::of_path("a.py"), text.as_bytes());
    assert_eq!(
        (outline.uses(hash(b"pay")), outline.uses(hash(b"cart")), outline.uses(hash(b"other"))),
        (1, 2, 0)
    );
    let places = places(&mut Parser::new(), language::of_path("a.py").unwrap(), text.as_bytes(), "pay");
    let places: Vec<(u32, bool)> = places.iter().map(|place| (place.line, place.defines)).collect();
    assert_eq!(places, [(1, true), (2, false)]);
}

#[test]
fn the_whole_definition_is_known_by_its_lines() {
    let cases = [
        (
            "a.py",
            "x = 1\n\nclass A:\n    def pay(self):\n        return 1\n\n    def other(self): pass\n",
            (4, 4, 5),
        ),
        ("a.c", "static int\npay(int x)\n{\n  return x;\n}\nint other;\n", (2, 1, 5)),
        ("a.rs", "/// Doc.\nfn pay() {\n    let x = 1;\n}\n", (2, 2, 4)),
        ("a.js", "const pay = (x) => {\n  return x;\n};\n", (1, 1, 3)),
    ];
    for (path, text, expected) in cases {
        let found = places(&mut Parser::new(), language::of_path(path).unwrap(), text.as_bytes(), "pay");
        let definition = found.iter().find(|place| place.defines).unwrap();
        assert_eq!((definition.line, definition.body.0, definition.body.1), expected, "{path}");
    }
}

#[test]
fn what_no_person_wrote_is_known() {
    let generated =
        outline(&mut Parser::new(), Some(0), b"// Code generated by x. DO NOT EDIT.\nfn a() {}\n");
    assert!(generated.generated && !generated.minified);
    let minified =
        outline(&mut Parser::new(), language::of_path("a.js"), "var a=1;".repeat(5_000).as_bytes());
    assert!(minified.minified && minified.words.is_empty());
}
