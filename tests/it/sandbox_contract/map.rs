//! The repository map, its symbols and the syntax check: what they find, and that hostile files cannot break
//! them.

use mendwright::sandbox::Toolbox;
use mendwright::sandbox::protocol::{Edit, EditFile, FindSymbol, RankedRepoMap, RepoMap, WriteFile};

use super::{Backend, in_default_sandbox, ok, refusal, tar_of};

on_every_backend! {
    map_ranks_relevant_files_and_reads_only_changed_ones,
    symbol_is_found_where_it_is_defined_and_used,
    edit_that_breaks_the_syntax_is_made_and_reported,
    hostile_files_neither_break_a_map_nor_delay_it,
    map_works_after_its_process_was_killed,
}

fn project() -> Vec<u8> {
    let files = [
        (
            "shop/cart.py",
            "from shop.price import total_price\n\n\nclass Cart:\n    def checkout(self):\n        return total_price(self.lines)\n",
        ),
        (
            "shop/price.py",
            "def total_price(lines):\n    return sum(round_cents(line) for line in lines)\n\n\ndef round_cents(value):\n    return value\n",
        ),
        ("shop/mail.py", "def send_mail(to):\n    pass\n"),
        (
            "tests/test_cart.py",
            "from shop.cart import Cart\n\n\ndef test_checkout_total_price_is_rounded():\n    assert Cart().checkout() == 0\n",
        ),
        ("web/app.ts", "export function render(page: string): string {\n  return page;\n}\n"),
        ("notes.txt", "total price\n"),
        ("ignored/x.py", "def total_price(): pass\n"),
        (".gitignore", "ignored/\n"),
    ];
    tar_of(files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())), &[])
}

async fn map(toolbox: &Toolbox, text: &str) -> RankedRepoMap {
    let request = RepoMap { text: text.to_owned(), paths: Vec::new(), tokens_max: 1_000 };
    toolbox.repo_map(&request).await.unwrap()
}

async fn map_ranks_relevant_files_and_reads_only_changed_ones(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        toolbox.unpack(project().as_slice()).await.unwrap();
        let first = map(&toolbox, "The total price of the cart is not rounded to cents").await;
        let paths: Vec<&str> = first.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths[..2], ["shop/price.py", "shop/cart.py"], "{}", first.text);
        assert_eq!(
            (first.counts.files, first.counts.read, first.counts.cached),
            (7, 7, 0),
            "{:?}",
            first.counts
        );
        assert!(
            first.text.starts_with(
                "shop/price.py (6 lines)\n     1  def total_price(lines):\n     5  def round_cents"
            ),
            "{}",
            first.text
        );
        assert_eq!(first.files[0].language.as_deref(), Some("python"));
        // A second map of the same tree has the same text.
        let again = map(&toolbox, "The total price of the cart is not rounded to cents").await;
        assert_eq!((again.text, again.counts.read, again.counts.cached), (first.text, 0, 7));
        ok(&toolbox, "printf 'def round_cents(v):\\n    return v\\n' > shop/rounding.py; touch web/app.ts")
            .await;
        let changed = map(&toolbox, "round_cents").await;
        assert_eq!((changed.counts.files, changed.counts.read, changed.counts.cached), (8, 1, 7));
        assert!(changed.files[..2].iter().any(|file| file.path == "shop/rounding.py"), "{}", changed.text);
        let unasked = map(&toolbox, "").await;
        let paths: Vec<&str> = unasked.files.iter().map(|file| file.path.as_str()).collect();
        let used = ["shop/rounding.py", "shop/price.py", "shop/cart.py"];
        assert_eq!(paths[..3], used, "what others use comes first: {}", unasked.text);
        let named = RepoMap { text: String::new(), paths: vec!["shop/mail.py".to_owned()], tokens_max: 200 };
        let named = toolbox.repo_map(&named).await.unwrap();
        assert_eq!(named.files[0].path, "shop/mail.py");
        assert!(named.text.len() <= 800, "{}", named.text.len());
        toolbox
    })
    .await;
}

async fn symbol_is_found_where_it_is_defined_and_used(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        toolbox.unpack(project().as_slice()).await.unwrap();
        let find = async |name: &str| {
            toolbox
                .find_symbol(&FindSymbol { name: name.to_owned(), places_max: 50, body_lines_max: 0 })
                .await
                .unwrap()
        };
        let places = |places: &[mendwright::sandbox::protocol::SymbolLocation]| -> Vec<String> {
            places.iter().map(|p| format!("{}:{} {} {}", p.path, p.line, p.kind, p.text)).collect()
        };
        let found = find("total_price").await;
        assert_eq!(places(&found.definitions), ["shop/price.py:1 function def total_price(lines):"]);
        assert_eq!(
            places(&found.references),
            [
                "shop/cart.py:1 reference from shop.price import total_price",
                "shop/cart.py:6 reference return total_price(self.lines)"
            ]
        );
        let found = find("Cart.checkout").await;
        assert_eq!(found.definitions[0].container.as_deref(), Some("Cart"));
        assert_eq!(found.definitions[0].body, None);
        let whole = async |lines: u32| {
            let request = FindSymbol { name: "Cart".to_owned(), places_max: 50, body_lines_max: lines };
            toolbox.find_symbol(&request).await.unwrap().definitions[0].body.clone().unwrap()
        };
        let body = whole(100).await;
        let class = ["class Cart:", "    def checkout(self):", "        return total_price(self.lines)"];
        assert_eq!((body.first_line, body.left_out), (4, 0));
        assert_eq!(body.lines, class);
        let body = whole(2).await;
        assert_eq!((body.lines.as_slice(), body.left_out), (&class.map(str::to_owned)[..2], 1));
        assert_eq!(find("TOTAL_PRICE").await.names, ["total_price"]);
        let none = find("totl_price").await;
        assert_eq!((none.definitions.len(), none.near), (0, vec!["total_price".to_owned()]));
        assert!(refusal(toolbox.find_symbol(&FindSymbol::default()).await).contains("a name"));
        toolbox
    })
    .await;
}

async fn edit_that_breaks_the_syntax_is_made_and_reported(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        toolbox.unpack(project().as_slice()).await.unwrap();
        let edit = async |path: &str, old: &str, new: &str| {
            let edits = vec![Edit { old: old.to_owned(), new: new.to_owned(), after_line: None }];
            toolbox.edit_file(&EditFile { path: path.to_owned(), edits }).await.unwrap().faults
        };
        let faults = edit("shop/cart.py", "total_price(self.lines)", "total_price(self.lines").await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].line, faults[0].text.as_str()), (6, "return total_price(self.lines"));
        assert!(ok(&toolbox, "cat shop/cart.py").await.ends_with("self.lines\n"));
        // Errors that existed before the edit are not reported.
        assert_eq!(edit("shop/cart.py", "class Cart:", "class Basket:").await, []);
        assert_eq!(edit("shop/mail.py", "pass", "return to").await, []);
        let write = async |path: &str, content: &str| {
            let write = WriteFile { path: path.to_owned(), content: content.to_owned(), executable: None };
            toolbox.write_file(&write).await.unwrap().faults
        };
        assert_eq!(write("web/app.ts", "export function render( {\n").await.len(), 1);
        assert_eq!(write("new.py", "x = 1\n").await, []);
        assert_eq!(write("words.txt", "((((").await, []);
        toolbox
    })
    .await;
}

async fn hostile_files_neither_break_a_map_nor_delay_it(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let minified = format!("var a={};\n", "function(){return 1}+".repeat((5 << 20) / 21));
        let nested = |open: &str, close: &str| {
            format!("x = {}{}\n", format!("{open}\n").repeat(100_000), format!("{close}\n").repeat(100_000))
        };
        let files = [
            ("a.min.js", minified.clone().into_bytes()),
            ("small.min2.js", minified.as_bytes()[..300_000].to_vec()),
            ("deep.py", nested("(", ")").into_bytes()),
            ("deep.js", nested("[", "]").into_bytes()),
            ("deep.rb", nested("[", "]").into_bytes()),
            ("open.c", "{(\n".repeat(100_000).into_bytes()),
            ("lines.cpp", "a<b<c(\n".repeat(60_000).into_bytes()),
            ("templates.php", "<?php ${\"{$\n".repeat(20_000).into_bytes()),
            ("binary.py", b"def f():\0\0\0\n".to_vec()),
            (
                "garbage.rs",
                (0..200_000_u32)
                    .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .map(|byte| if byte < 8 { b'\n' } else { byte })
                    .collect(),
            ),
            ("quotes.go", "`\"'\n".repeat(50_000).into_bytes()),
            ("good.py", b"def needle_in_the_hay():\n    pass\n".to_vec()),
        ];
        let files = files.map(|(path, content)| (path.to_owned(), content));
        let links = [("loop", "loop"), ("self", "."), ("out", "/"), ("passwd.py", "/etc/passwd")];
        toolbox.unpack(tar_of(files, &links).as_slice()).await.unwrap();
        ok(
            &toolbox,
            r"mkdir dir; printf 'def f(): pass\n' > dir/$(printf 'n\377me.py'); mkfifo pipe.py; chmod 0 dir",
        )
        .await;
        let mapped = map(&toolbox, "needle_in_the_hay").await;
        assert_eq!(mapped.files[0].path, "good.py", "{}", mapped.text);
        assert!(!mapped.text.contains("passwd"), "{}", mapped.text);
        assert_eq!(mapped.counts.not_looked_at, 0, "{:?}", mapped.counts);
        let found = FindSymbol { name: "needle_in_the_hay".to_owned(), places_max: 10, body_lines_max: 0 };
        assert_eq!(toolbox.find_symbol(&found).await.unwrap().definitions.len(), 1);
        let write = WriteFile { path: "deep.py".to_owned(), content: nested("((", ")"), executable: None };
        toolbox.write_file(&write).await.unwrap();
        ok(&toolbox, "chmod 755 dir").await;
        toolbox
    })
    .await;
}

async fn map_works_after_its_process_was_killed(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        toolbox.unpack(project().as_slice()).await.unwrap();
        map(&toolbox, "cart").await;
        // A command may kill processes of its user. Only the cached map is lost.
        let killed = ok(
            &toolbox,
            "for p in /proc/[0-9]*; do grep -qz '^map$' $p/cmdline && kill -9 ${p#/proc/}; done; echo done",
        )
        .await;
        assert_eq!(killed, "done\n");
        let again = map(&toolbox, "cart").await;
        assert_eq!((again.counts.read, again.counts.cached), (7, 0));
        toolbox
    })
    .await;
}
