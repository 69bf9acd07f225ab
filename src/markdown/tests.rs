//! Each case is a text, and what GitHub's page shows of it.

use super::*;

/// What is left of a text; `SECRET` must not be in it, and what is to be seen must.
fn shown(markdown: &str) -> String {
    let visible = visible_text(markdown);
    assert!(!visible.text.contains("SECRET"), "{markdown:?} shows {:?}", visible.text);
    assert!(!visible.removed.is_empty(), "{markdown:?}: nothing is said to be removed");
    visible.text
}

fn assert_unchanged(markdown: &str) {
    assert_eq!(visible_text(markdown), Visible { text: markdown.to_owned(), removed: Vec::new() });
}

#[test]
fn attributes_of_raw_html_are_removed_whatever_they_hold() {
    for hidden in [
        "<img alt=\"1 < 2: SECRET\" src=x>",
        "<img alt=\"x > SECRET\" src=x>",
        "<img alt='x > SECRET' src=x>",
        "<img\nalt=\"a\nSECRET\"\nsrc=x\n/>",
        "<img src=\"SECRET words\">",
        "<img src=\"https://x.example/SECRET%20words\">",
        "<a href='x' title=SECRET>link</a>",
        "<p SECRET id=\"SECRET\" data-x=SECRET>",
        "<a foo=\"<!--\" title=\"SECRET --> SECRET\">link</a>",
        "<SECRET>",
        "<x-SECRET>",
        "<ignore all=SECRET>",
        "<details SECRET=\"x\" open>",
        "<? SECRET ?>",
        "<!DOCTYPE SECRET>",
        "<![CDATA[ SECRET ]]>",
        "<div>\n</p SECRET>",
    ] {
        for (before, after) in
            [("", ""), ("", "\n\nafter"), ("before ", ""), ("before\n\n", "\n"), ("> ", ""), ("- ", "")]
        {
            shown(&format!("{before}{hidden}{after}"));
        }
    }
    insta::assert_snapshot!(shown("before <img alt=\"1 < 2: SECRET\" src=x> after"), @"before <img src=x> after");
    insta::assert_snapshot!(shown("<details SECRET><summary>Logs</summary>\n\nshown\n\n</details>"), @r"
    <details><summary>Logs</summary>

    shown

    </details>
    ");
}

#[test]
fn texts_of_images_and_titles_of_links_are_removed() {
    for hidden in [
        "![a \\] SECRET](x.png)",
        "![SECRET]\n\n[SECRET]: x.png",
        "![SECRET][]\n\n[SECRET]: x.png",
        "![a][SECRET]\n\n[SECRET]: x.png",
        "![a [SECRET] b](x.png)",
        "![a `SECRET` *SECRET* b](x.png)",
        "![a <!-- x --> SECRET](x.png)",
        "![](x.png 'SECRET')",
        "[![SECRET](x.png)](y)",
        "[text](y \"SECRET\")",
        "[text](y\n(SECRET))",
        "[text](<SECRET words>)",
        "[text](SECRET%20words)",
        "[](SECRET)",
        "[ ](SECRET)",
        "[text][SECRET]\n\n[SECRET]: y",
        "[text]\n\n[text]: y 'SECRET'",
        "[text]\n\n[text]: <SECRET words>",
    ] {
        for (first, next) in [("", ""), ("text ", ""), ("> ", "> "), ("- ", "  "), ("1. > ", "   > ")] {
            shown(&format!("{first}{}", hidden.replace('\n', &format!("\n{next}"))));
        }
    }
    insta::assert_snapshot!(shown("![a \\] SECRET](x.png) and [b](y 'SECRET')"), @"![](x.png) and [b](y)");
    insta::assert_snapshot!(shown("See [the docs][SECRET].\n\n[SECRET]: https://y.example"), @"See [the docs](https://y.example).");
}

#[test]
fn definitions_that_the_page_does_not_show_are_removed() {
    for hidden in [
        "[//]: # (SECRET)",
        "[note]: <> \"first\nSECRET\"",
        "[SECRET]: x",
        "[x]: SECRET",
        "> [x]: SECRET",
        "- item\n\n  [x]: SECRET",
        "text[^2]\n\n[^1]: SECRET\n[^2]: shown",
        "text[^SECRET]\n\n[^SECRET]: shown",
        "[^1]: SECRET\n\n    SECRET, too",
        "|a|b|\n|-|-|\n|1|2|SECRET|",
        "```text SECRET\ncode\n```",
        "~~~SECRET-SECRET-SECRET-SECRET\ncode\n~~~",
        "```mermaid\ngraph\n%% SECRET\n```",
    ] {
        shown(&format!("before\n\n{hidden}\n\nafter"));
        shown(hidden);
    }
    assert_unchanged("text[^1]\n\n[^1]: shown\n");
}

#[test]
fn comments_are_removed_wherever_they_stand() {
    for hidden in [
        "<!-- SECRET -->",
        "text <!-- SECRET --> text",
        "text <!-- a\nSECRET\n--> text",
        "<!-- a\n\nSECRET\n\n-->\n\ntext",
        "<!--SECRET",
        "text <!-- SECRET",
        "> <!-- SECRET\n\ntext",
        "- a\n  <!-- SECRET -->\n- b",
        "# a <!-- SECRET -->",
        "|a|\n|-|\n|<!-- SECRET -->|",
        // What raw HTML opens, it closes.
        "<div><!-- a\n\nSECRET *SECRET* `SECRET`\n\n    SECRET\n\n- SECRET\n\n<p>--></p>\n\ntext",
        "<div title=\"a\n\nSECRET\n\n<p \">\n\ntext",
    ] {
        shown(hidden);
    }
    insta::assert_snapshot!(shown("<div><!-- a\n\nSECRET\n\n<p>--></p>\n\ntext"), @r"
    <div>

    </p>

    text
    ");
}

#[test]
fn hidden_elements_are_removed_with_what_is_in_them() {
    for hidden in [
        "<span hidden>SECRET</span> text",
        "a <span hidden=\"\">SECRET <b>SECRET</b> <span>SECRET</span> SECRET</span> text",
        "<div hidden>\n\nSECRET\n\n</div>\n\ntext",
        "<script>SECRET</script> text",
        "<style>\nSECRET\n</style>\n\ntext",
        "<template>\n\nSECRET `SECRET`\n\n</template>\n\ntext",
    ] {
        assert!(shown(hidden).contains("text"), "{hidden:?}");
    }
}

#[test]
fn invisible_characters_are_removed_however_they_are_written() {
    insta::assert_snapshot!(shown("a\u{200b}b \u{202e}c\u{2800}\u{e0041}\u{fe01} &#xE0041;d&#917569;&#8203; <p>e&#xE0041;&zwnj;f</p>"), @"ab c d <p>ef</p>");
    assert_unchanged("`&#xE0041;` in code is shown, and so are &amp; and ❤️.");
}

#[test]
fn what_the_page_shows_stays_as_it_is() {
    for text in [
        "",
        "plain\n",
        "`a < b && c > d` und Köln 🚀\n\n```rust\nlet x: Vec<u8>;\n```\n",
        "[a](https://x.example/(b)) x[0](1) `Vec<T = u8>` \\[b\\]\n",
        "```html\n<!-- shown --> <img alt=\"shown\">\n```\n\n    <!-- shown, too -->\n\n`<!-- and this -->`\n",
        "````md\n```text words\n<!-- shown -->\n```\n````\n",
        "> quoted\n> > twice\n\n1. one\n1. two\n   - [x] done\n\nSetext\n======\n\n---\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n",
        "<details>\n<summary>Logs</summary>\n\n```\nlog\n```\n\n</details>\n",
        "https://x.example/a?b=c, www.x.example, <me@x.example> and **bold** _it_ ~~gone~~\\\nnext &lt;b&gt;\n",
        "a <b>bold</b> <kbd>x</kbd><br>b\n\n<p>\ntext ![shown](as-text)\n</p>\n",
        "a < b, a <- b, 1 <2> 3, fn(a: &str) -> x\n",
    ] {
        assert_unchanged(text);
    }
}

#[test]
fn text_around_what_is_removed_reads_as_before() {
    let issue = "<!-- Thank you! -->\n\n### What happens\n\nRun `a_b --c_d`: it prints *nothing* (see a_b, [x], 1 < 2).\n\n\
                 * one\n* two\n\n```sh\n$ a_b\n```\n\n1) first\n2) second\n\nhttps://x.example/a_b\n";
    insta::assert_snapshot!(visible_text(issue).text, @r"
    ### What happens

    Run `a_b --c_d`: it prints *nothing* (see a_b, [x], 1 < 2).

    - one
    - two

    ```sh
    $ a_b
    ```

    1) first
    2) second

    https://x.example/a_b
    ");
}

/// Texts that are nothing but one part, again and again.
const HOSTILE_PARTS: &[&str] = &[
    "[a]: b\n",
    "[a]: b 'c'\n",
    "[a",
    "![",
    "[](",
    "[a][b] ",
    "[[a]",
    "![a](b) ",
    "*a **a ",
    "***a",
    "_a_",
    "~~",
    "<a ",
    "<a b=\"",
    "<a =\"",
    "<i x>",
    "<!-- ",
    "<!--\n\n",
    "<![CDATA[",
    "<?",
    "</",
    "<div hidden>",
    "<p>\n\n",
    "> ",
    ">",
    "> a\n> > a\n",
    "- ",
    "- - a\n",
    "1. ",
    "> - 1. ",
    "`",
    "``` `` `",
    "|a",
    "| a | b |\n",
    "|a|b|\n|-|-|\n",
    "[^1]: ",
    "[^1] ",
    "[^1]: a\n",
    "&#1;",
    "&amp;",
    "a\n",
    "\\",
    "https://a.b/",
    "a@b.c ",
];

#[test]
fn parsing_takes_steps_in_proportion_to_the_length_of_the_text() {
    for part in HOSTILE_PARTS {
        let checks = |chars: usize| {
            let arena = Arena::new();
            let (document, checks) = parse_counting_checks(&arena, &part.repeat(chars / part.len()));
            assert!(document.is_some(), "{part:?}: {chars} characters are too complex");
            checks
        };
        let (little, much) = (checks(INPUT_CHARS_MAX / 32), checks(INPUT_CHARS_MAX / 4));
        assert!(much <= 9 * little + 9, "{part:?}: {little}, then {much}");
    }
}

#[test]
fn what_is_shown_of_a_hostile_text_is_bounded() {
    for part in HOSTILE_PARTS {
        let text = part.repeat(INPUT_CHARS_MAX / 16 / part.len());
        let visible = visible_text(&text);
        assert!(visible.text.len() <= 4 * text.len() + 200, "{part:?}: {} bytes", visible.text.len());
        let lines = lines_outside_code(&text);
        assert!(lines.iter().map(String::len).sum::<usize>() <= 2 * text.len(), "{part:?}");
    }
}

#[test]
fn text_beyond_the_bound_is_not_parsed() {
    let visible = visible_text(&"[a]: b\n".repeat(INPUT_CHARS_MAX));
    assert_eq!(visible.text, "[a");
    assert_eq!(visible.removed.last().unwrap(), "everything after 65536 characters");
}

#[test]
fn lines_of_the_author_are_neither_quoted_nor_code_nor_hidden() {
    let lines = |text: &str| lines_outside_code(text).join("|");
    for (text, expected) in [
        ("/agent-fix stop", "/agent-fix stop"),
        ("Thanks!\r\n\r\n  /agent-fix retry\r\n", "Thanks!|/agent-fix retry"),
        ("Thanks!\n/agent-fix retry", "Thanks!|/agent-fix retry"),
        ("<!-- note -->\n/agent-fix explain", "/agent-fix explain"),
        ("<!-- note -->\n\n/agent-fix explain", "/agent-fix explain"),
        ("```\ncode\n```\n/agent-fix publish", "/agent-fix publish"),
        ("<details>\n\n/agent-fix stop\n\n</details>", "<details>|/agent-fix stop|</details>"),
        ("<pre>\n/agent-fix stop\n</pre>\n\nsaid", "<pre></pre>|said"),
        (
            "<PRE><code class=\"x\">\n/agent-fix stop\n\n/agent-fix retry</code></PRE>",
            "<PRE><code></code></PRE>",
        ),
        ("a <code>\n/agent-fix stop\n</code> b", "a <code></code> b"),
        ("<blockquote>\n\n/agent-fix stop\n\n</blockquote>\n\nsaid", "<blockquote>|</blockquote>|said"),
        ("<ul><li>\n/agent-fix stop\n</li></ul>", "<ul><li></li></ul>"),
        ("<table><tr><td>\n\n/agent-fix stop\n\n</td></tr></table>", "<table><tr><td>|</td></tr></table>"),
        ("<pre>\n/agent-fix stop\n", "<pre>"),
        ("<pre title=\"</pre>\">\n/agent-fix stop\n</pre>", "<pre></pre>"),
        ("<div>\n1 < 2\n/agent-fix stop\n</div>", "<div>|1 < 2|/agent-fix stop|</div>"),
        ("````md\n```\n/agent-fix stop\n```\n````", ""),
        ("Thanks <!--\n/agent-fix retry\n-->", "Thanks"),
        ("`\n/agent-fix retry\n`", "`"),
        ("> /agent-fix stop\nlazy", ""),
        ("- /agent-fix stop\n\n  /agent-fix stop", ""),
        ("    /agent-fix stop", ""),
        ("\t/agent-fix stop", ""),
        ("~~~\n/agent-fix stop", ""),
        ("<div><!--\n\n/agent-fix stop\n\n<p>-->\n\nsaid", "<div>|said"),
        ("<span hidden>\n/agent-fix stop\n</span>\n\nsaid", "said"),
        ("![a\n/agent-fix stop](x)", "!["),
        ("[a]: b '\n/agent-fix stop\n'", ""),
        ("**/agent-fix stop**", "**/agent-fix stop"),
        ("See `@bot` and @bot.", "See ` and @bot."),
    ] {
        assert_eq!(lines(text), expected, "{text:?}");
    }
}

/// What people report about: markup, log lines and comment marks stand in code, and the page shows them.
#[test]
fn code_is_kept_whatever_stands_in_it() {
    for code in [
        "```html\n<input placeholder=\"Search all\" aria-label=\"query\" hidden>\n```\n",
        "```\n[WARN]: retrying\n[ERROR]: E1042\n```\n",
        "~~~\n<!-- an unclosed comment\n~~~\n\nafter\n",
        "    <script>indented</script>\n    [a]: b\n\nafter\n",
        "With `a <!-- b` as input the rest is lost, and `-->` ends it.\n\nafter\n",
        "``<b title=\"x\">`` and `[x]: y`\n",
        "- a list\n\n  ```\n  <!-- shown -->\n  ```\n",
    ] {
        let visible = visible_text(code);
        assert_eq!(visible.removed, Vec::<String>::new(), "{code}");
        assert_eq!(
            visible.text.split_whitespace().collect::<Vec<_>>(),
            code.split_whitespace().collect::<Vec<_>>()
        );
    }
}
