use super::*;

fn none() -> Known {
    Known::default()
}

#[test]
fn secret_lookalikes_are_redacted() {
    let shapes = [
        "token ghs_16C7e42F292c6912E7710c838347Ae178B4a end",
        "token ghp_16C7e42F292c6912E7710c838347Ae178B4a, end",
        "ghs_1234_0123456789abcdef.eyJhbGciOi.c2lnbmF0dXJl-x end",
        "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
        "x-api-key: sk-ant-api03-abcdefghijklmnop-0123",
        "key=sk-proj-Abcdefghijklm0123",
        "Authorization: Bearer abcdefghijklmnop0123",
        "authorization: basic eC1hY2Nlc3MtdG9rZW46Z2hz0123",
        "jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0x.c2lnbmF0dXJl end",
        "https://x-access-token:hunter2@github.com/o/r",
        "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- z",
        "cut off -----BEGIN PRIVATE KEY-----\\nMIIE",
    ];
    let redacted: Vec<_> = shapes.iter().map(|text| none().redact(text).into_owned()).collect();
    insta::assert_snapshot!(redacted.join("\n"), @r"
    token *** end
    token ***, end
    *** end
    ***
    x-api-key: ***
    key=***
    Authorization: Bearer ***
    authorization: basic ***
    jwt *** end
    https://***@github.com/o/r
    a *** z
    cut off ***
    ");
}

#[test]
fn ordinary_text_is_borrowed_unchanged() {
    for text in [
        "the task-list-of-many-words and risk-free",
        "sk-learn-contrib-and-other-names",
        "a bearer authentication-scheme-name",
        "gh_short, ghs_short",
        "https://example.com:8080/a@b and git@github.com:o/r",
        "commit 0123456789abcdef0123456789abcdef01234567",
    ] {
        assert_eq!(none().redact(text), text);
    }
    assert!(matches!(none().redact("plain words"), Cow::Borrowed("plain words")));
}

#[test]
fn each_line_of_a_known_secret_is_redacted_also_when_escaped() {
    let pem = "-----BEGIN X-----\nMIIEabcdefgh\nQUJDREVGR0g=\n-----END X-----\n";
    let known = Known::of(&[
        (SecretKind::AppKey, pem),
        (SecretKind::ModelKey, "say \"open\" \\ sesame"),
        (SecretKind::ModelKey, "tiny"),
    ]);
    assert_eq!(known.redact("half MIIEabcdefgh\\nQUJDREVGR0g= of it"), "half ***\\n*** of it");
    assert_eq!(known.redact("say \"open\" \\ sesame"), REPLACEMENT);
    assert_eq!(known.redact(r#"{"k":"say \"open\" \\ sesame"}"#), r#"{"k":"***"}"#);
    assert_eq!(known.redact("a tiny house"), "a tiny house");
}

#[test]
fn secret_inside_a_longer_one_is_redacted_with_it() {
    let known = Known::of(&[
        (SecretKind::ModelKey, "inner-secret"),
        (SecretKind::ModelKey, "outer-inner-secret-outer"),
    ]);
    assert_eq!(known.redact("x outer-inner-secret-outer y inner-secret z"), "x *** y *** z");
}

#[test]
fn key_is_found_by_any_part_of_its_binary_form() {
    let binary: Vec<u8> = (0..400_u32).map(|n| (n * 131 % 251) as u8).collect();
    let body = STANDARD.encode(&binary);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n"));
    let known = Known::of(&[(SecretKind::AppKey, &pem)]);
    let part = &binary[31..90];
    let forms = [
        part.to_vec(),
        hex::encode(part).into_bytes(),
        STANDARD.encode(part).into_bytes(),
        part.iter().rev().copied().collect(),
    ];
    for form in forms {
        let found = known.find(&form);
        assert!(found.iter().any(|hit| hit.description.starts_with("the App's private key")), "{form:?}");
    }
    assert!(known.find(&binary[..20]).is_empty(), "the common prefix of all keys is not secret");
}

#[test]
fn key_of_plain_words_does_not_block_the_words() {
    let known = Known::of(&[(SecretKind::ModelKey, "not-needed-here")]);
    assert!(known.find(b"A lock is not needed here.").is_empty());
    assert!(!known.find(b"key = not-needed-here").is_empty());
    assert!(!known.find(hex::encode("not-needed-here").as_bytes()).is_empty());
}

#[test]
fn expired_token_is_no_longer_searched() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    let old = SecretString::from("ghs_oldoldoldold0123456789");
    register_until(SecretKind::InstallationToken, &old, now + hour, now);
    assert!(!known().find(old.expose_secret().as_bytes()).is_empty());
    let new = SecretString::from("ghs_newnewnewnew0123456789");
    register_until(SecretKind::InstallationToken, &new, now + hour * 3, now + hour * 2);
    assert!(known().find(old.expose_secret().as_bytes()).is_empty());
    assert!(!known().find(new.expose_secret().as_bytes()).is_empty());
}
