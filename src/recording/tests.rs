use super::*;
use crate::domain::{InstallationId, IssueNumber, IssueSnapshot, RepositoryId, RepositoryRef};

fn recording(events: &[&str]) -> Recording {
    let at: Timestamp = "2026-11-22T10:00:00.123Z".parse().unwrap();
    let repository = RepositoryRef {
        installation: InstallationId(1),
        id: RepositoryId(2),
        name: "octo/widgets".parse().unwrap(),
    };
    let issue = IssueSnapshot {
        number: IssueNumber(7),
        title: "It is broken".into(),
        body: String::new(),
        author: "ada".parse().unwrap(),
        labels: vec![],
    };
    let trigger = Trigger { labeller_id: 9, ..Trigger::by("grace".parse().unwrap(), repository, issue) };
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        job: "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001".parse().unwrap(),
        generation: 1,
        created_at: at,
        trigger,
    };
    let text = |(sequence, event): (u64, &&str)| StoredEvent { sequence, at, event: (*event).to_owned() };
    Recording { header, events: (1..).zip(events).map(text).collect() }
}

const NOTE: &str = r#"{"event":"note","text":"x"}"#;
const LATER: &str = r#"{"event":"teleported","to":[1, 2.50]}"#;

#[test]
fn written_transcript_is_read_back_byte_for_byte() {
    let written = recording(&[NOTE, LATER]);
    let read = Recording::parse(&written.to_text()).unwrap();
    assert_eq!(read, written);
    insta::assert_snapshot!(written.to_text(), @r#"
    {"format":"mendwright-transcript","version":1,"job":"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001","generation":1,"created_at":"2026-11-22T10:00:00.123Z","trigger":{"repository":{"installation":1,"id":2,"name":"octo/widgets"},"issue":{"number":7,"title":"It is broken","body":"","author":"ada","labels":[]},"labeller":"grace","labeller_id":9,"labeller_is_bot":false,"labelled_at":null,"found":false,"commanded":false}}
    {"sequence":1,"at":"2026-11-22T10:00:00.123Z","event":{"event":"note","text":"x"}}
    {"sequence":2,"at":"2026-11-22T10:00:00.123Z","event":{"event":"teleported","to":[1, 2.50]}}
    "#);
}

#[test]
fn event_of_a_later_version_is_separate_and_not_an_error() {
    let read = Recording::parse(&recording(&[NOTE, LATER]).to_text()).unwrap();
    assert_eq!((read.known_events().len(), read.unknown_events().len()), (1, 1));
    assert_eq!(read.unknown_events()[0].event, LATER);
}

#[test]
fn digest_covers_the_events_up_to_a_number() {
    let two = recording(&[NOTE, LATER]);
    assert_eq!(two.digest(1), recording(&[NOTE]).digest(1));
    assert_ne!(two.digest(1), two.digest(2));
    assert_eq!(two.digest(3), None);
    let changed = recording(&[r#"{"event":"note","text":"y"}"#]);
    assert_ne!(changed.digest(1), two.digest(1));
}

#[test]
fn invalid_transcript_is_an_error_that_names_the_line() {
    let good = recording(&[NOTE, NOTE]).to_text();
    let lines: Vec<&str> = good.lines().collect();
    let newer = lines[0].replace("\"version\":1", "\"version\":2");
    let gap = format!("{}\n{}\n", lines[0], lines[2]);
    let files = ["", "hello", lines[1], &newer, &gap, &good[..good.len() - 9]];
    let errors: Vec<String> =
        files.iter().map(|text| Recording::parse(text).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(errors.join("\n"), @"
    line 1 of the transcript: the file is empty
    line 1 of the transcript: it must be the header of a transcript (expected value at line 1 column 1)
    line 1 of the transcript: it must be the header of a transcript (missing field `format` at line 1 column 82)
    line 1 of the transcript: the format has version 2, and this mendwright reads up to 1; use a newer one
    line 2 of the transcript: it has event 2, but event 1 comes next
    line 3 of the transcript: EOF while parsing a string at line 1 column 74
    ");
}

#[test]
fn line_matches_the_schema() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for line in recording(&[NOTE, LATER]).to_text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&line), "{line}");
    }
    for wrong in ["{}", r#"{"sequence":1,"at":"","event":{}}"#, "[]"] {
        assert!(!schema.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}
