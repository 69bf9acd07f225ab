use serde_json::json;

use super::*;

pub(crate) fn manifest() -> Manifest {
    let sha = |digit: char| digit.to_string().repeat(40).parse().unwrap();
    Manifest {
        format: FORMAT.into(),
        version: VERSION,
        mendwright: "0.1.0".into(),
        toolbox_sha256: "1".repeat(64),
        job: "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001".parse().unwrap(),
        generation: 1,
        repository: Repository { name: "octo/widgets".parse().unwrap(), id: RepositoryId(2) },
        issue: Issue { number: IssueNumber(7), sha256: "2".repeat(64) },
        base: Commit { branch: "main".into(), commit: sha('a'), tree: sha('b') },
        head: Commit { branch: "agent-fix/issue-7".into(), commit: sha('c'), tree: sha('d') },
        on_top_of: None,
        suite: Suite {
            test_command: "pytest".into(),
            test_command_source: "`pytest.ini`".into(),
            setup_commands: vec![],
            setup_files: vec![],
            image: None,
            hosts: vec![],
            timeout_milliseconds: 60_000,
            protected_paths: vec![],
            test_paths: vec![],
            proof_required: true,
        },
        sandbox: SandboxUsed { description: "bubblewrap".into(), root: Some("sha256:3".into()) },
        models: vec!["m\u{202e}-1 é 💥".into()],
        prompts: None,
        commands: vec![],
        commands_omitted: 0,
        budget: Allowance { turns: 1, tool_calls: 2, tokens: 3, micro_usd: 4, milliseconds: 5 },
        spent: Spent {
            turns: 1,
            tool_calls: 1,
            input_tokens: 1,
            output_tokens: 1,
            cache_read_tokens: 0,
            cache_write_tokens: 0,
            micro_usd: None,
            milliseconds: 5,
        },
        verdict: VerdictGiven {
            explanation: "It passes.".into(),
            exit_code: 0,
            proof: None,
            flags: vec![],
            failed_before: vec![],
            failed_after: vec![],
        },
        transcript: TranscriptDigest { events: 9, sha256: "4".repeat(64) },
    }
}

#[test]
fn manifest_is_parsed_in_any_layout() {
    let sealed = Sealed::new(manifest());
    let text = sealed.to_text();
    assert!(text.is_ascii(), "{text}");
    assert_eq!(Sealed::parse(&text).unwrap(), sealed);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(Sealed::parse(&value.to_string()).unwrap(), sealed);
}

#[test]
fn every_change_of_a_manifest_is_detected() {
    let value = serde_json::to_value(Sealed::new(manifest())).unwrap();
    let mut changed = Vec::new();
    for (pointer, to) in [
        ("/spent/turns", json!(2)),
        ("/head/tree", json!("e".repeat(40))),
        ("/verdict/proof", json!(["a"])),
        ("/models/0", json!("other")),
        ("/sha256", json!("0".repeat(64))),
    ] {
        let mut copy = value.clone();
        *copy.pointer_mut(pointer).unwrap() = to;
        changed.push(copy);
    }
    let mut more = value.clone();
    more["of_a_later_version"] = json!(true);
    changed.push(more);
    for copy in changed {
        let error = Sealed::parse(&copy.to_string()).unwrap_err();
        assert!(matches!(error, InvalidManifest::Changed { .. }), "{copy}: {error}");
    }
}

#[test]
fn field_of_a_later_version_is_part_of_the_digest_and_no_error() {
    let mut value = serde_json::to_value(Sealed::new(manifest())).unwrap();
    value["of_a_later_version"] = json!({"z": 1, "a": [true, null]});
    let fields = value.as_object_mut().unwrap();
    fields.remove("sha256");
    let digest = digest_of(&value);
    value["sha256"] = json!(digest);
    assert_eq!(Sealed::parse(&value.to_string()).unwrap().sha256, digest);
}

#[test]
fn invalid_manifest_is_described() {
    let newer = json!({"format": FORMAT, "version": 2}).to_string();
    let said: Vec<String> = ["", "{}", &newer, r#"{"format": "mendwright-manifest", "version": 1}"#]
        .iter()
        .map(|text| Sealed::parse(text).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    the manifest text cannot be read: EOF while parsing a value at line 1 column 0
    the manifest text cannot be read: its format is null, not "mendwright-manifest"
    the manifest text cannot be read: it has version 2, and this mendwright reads up to 1; use a newer one
    the manifest text cannot be read: missing field `sha256`
    "#);
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_keys() {
    assert_eq!(
        canonical(&json!({"b": [1, {"d": null, "c": "é\n"}], "a": true})),
        "{\"a\":true,\"b\":[1,{\"c\":\"é\\n\",\"d\":null}]}"
    );
}

#[test]
fn the_schemas_on_file_are_those_of_the_types() {
    for (file, command, schema) in
        [("manifest", "verify", schema()), ("transcript", "transcript", crate::recording::schema())]
    {
        let path = format!("fixtures/schemas/{file}.schema.json");
        let kept =
            std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        let now = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert!(
            kept == now,
            "the types of a {file} have changed; look whether old files can still be read, then write the schema again: \
             cargo run -- {command} --schema > {path}"
        );
    }
}

#[test]
fn a_manifest_keeps_to_its_schema() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    assert!(schema.is_valid(&serde_json::to_value(Sealed::new(manifest())).unwrap()));
}
