//! The brief, and conversations that become long: what the model is shown, what it costs, and that a
//! crash pays for nothing twice. The provider counts its cache as a real one does, and takes nothing
//! but conversations that grow at their end.

use mendwright::demo::scenario::Scenario;
use mendwright::domain::{Message, RecordedEvent, Spend, TranscriptEvent};
use serde_json::{Value, json};

use crate::support::{BINARY, World};

/// Bytes of each note that the model reads: about 2,000 tokens.
const NOTE_BYTES: usize = 8_000;

/// What a model is told that sums up, and nobody else.
const SUMS_UP: &str = "# What happened";

fn fix() -> Value {
    serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap()
}

/// The conversation of `fix`, with so many turns in front that each read another note.
fn after_reading(notes: usize, think: bool) -> Value {
    let mut conversation = fix();
    let mut turns: Vec<Value> = (0..notes)
        .map(|note| {
            let call = json!({"tool": "read_file", "arguments": {"path": format!("notes/{note}.md")}});
            let mut turn = json!({"say": format!("Note {note} next."), "calls": [call]});
            if think {
                turn["think"] = format!("What may note {note} say?").into();
            }
            turn
        })
        .collect();
    turns.append(conversation["turns"].as_array_mut().unwrap());
    // What the first turn of the scenario expects to be shown is elided, or summed up, by now.
    for turn in &mut turns {
        turn.as_object_mut().unwrap().remove("expect");
    }
    conversation["turns"] = turns.into();
    conversation["brief"] = json!([
        {"expect": {"contains": [SUMS_UP]}, "say": "SUMMED UP: slug pushes a dash for each separator (src/lib.rs)."}
    ]);
    conversation
}

async fn world_with_notes(notes: usize, conversation: Value) -> World {
    let text =
        |note: usize| format!("# Note {note}\n{}", "Nothing of use stands here.\n".repeat(NOTE_BYTES / 28));
    let files: Vec<(String, String)> =
        (0..notes).map(|note| (format!("notes/{note}.md"), text(note))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    World::with("fix", Some(conversation), &files).await
}

/// Enough for a long job.
const BUDGET: &str = "[budget]\nturns = 1000\ntool_calls = 5000\ntokens = 1000000000\nusd = 1000.0\n";

async fn played(world: &mut World, model: &str) -> Vec<RecordedEvent> {
    world.start_service_with(&format!("{model}\n{BUDGET}")).await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.transcript().await
}

fn count(transcript: &[RecordedEvent], is: fn(&TranscriptEvent) -> bool) -> usize {
    transcript.iter().filter(|recorded| is(&recorded.event)).count()
}

fn elisions(transcript: &[RecordedEvent]) -> usize {
    count(transcript, |event| matches!(event, TranscriptEvent::ResultsElided { .. }))
}

fn compactions(transcript: &[RecordedEvent]) -> usize {
    count(transcript, |event| matches!(event, TranscriptEvent::Compacted { .. }))
}

fn spend(transcript: &[RecordedEvent]) -> Spend {
    let mut spend = Spend::zero();
    transcript.iter().for_each(|recorded| spend.add(&recorded.event));
    spend
}

/// What part of the prompts came from the provider's cache, in hundredths.
fn cached_share(transcript: &[RecordedEvent]) -> u64 {
    let usage = spend(transcript).usage;
    let prompts = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    usage.cache_read_tokens * 100 / prompts.max(1)
}

/// Requests without tools: briefs and summaries.
fn asked_for_words(world: &World) -> usize {
    world.provider.requests().iter().filter(|request| request.body.get("tools").is_none()).count()
}

#[tokio::test]
async fn a_brief_by_the_cheaper_model_is_checked_shown_and_becomes_the_plan() {
    let mut conversation = fix();
    conversation["brief_model"] = "scripted-small".into();
    conversation["brief"] = json!([{
        "expect": {
            "contains": ["several dashes", "runs_of_separators_become_one_dash", "Dashes are sacred"],
            "not_contains": ["Keep src tidy"],
        },
        "say": "Here it is:\n```json\n{\"files\": [\"src/lib.rs\", \"src/gone.rs\", \"../../etc/passwd\"],\n\
                \"reproduce\": \"Run the suite.\", \"steps\": [\"Read\\nslug\", \"Mend it\"]}\n```",
    }]);
    conversation["turns"][0]["expect"] = json!({
        "contains": [
            "The cause is likely in: src/lib.rs\n", "To see the failure: Run the suite.", "- [ ] Read slug\n- [ ] Mend it",
            "Dashes are sacred", "Keep src tidy", "# Files that may matter",
        ],
        "not_contains": ["gone.rs", "passwd"],
    });
    // The plan stays the brief's, to be found in the pull request.
    for turn in conversation["turns"].as_array_mut().unwrap() {
        turn["calls"].as_array_mut().unwrap().retain(|call| call["tool"] != "update_plan");
    }
    let files = [("AGENTS.md", "Dashes are sacred.\n"), ("src/AGENTS.md", "Keep src tidy.\n")];
    let mut world = World::with("fix", Some(conversation), &files).await;
    let transcript = played(&mut world, "brief_name = \"scripted-small\"").await;
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1, "{}", world.log());
    let body = pulls[0]["body"].as_str().unwrap();
    assert!(body.contains("Read slug") && body.contains("scripted-small"), "{body}");
    assert_eq!(asked_for_words(&world), 1);
    let remark = transcript.iter().find_map(|recorded| match &recorded.event {
        TranscriptEvent::BriefAnswered { remark, usage, .. } => {
            Some((remark.clone().unwrap(), usage.total()))
        }
        _ => None,
    });
    let (remark, tokens) = remark.unwrap();
    assert!(remark.contains("src/gone.rs, ../../etc/passwd"), "{remark}");
    let without: u64 = transcript
        .iter()
        .filter(|recorded| matches!(recorded.event, TranscriptEvent::MessageAdded { .. }))
        .filter_map(|recorded| recorded.event.cost())
        .map(|cost| cost.usage.total())
        .sum();
    assert!(tokens > 300);
    assert_eq!(spend(&transcript).usage.total(), without + tokens, "the brief counts");
    world.end().await;
}

#[tokio::test]
async fn a_brief_that_cannot_be_read_is_asked_for_once_more_and_then_gone_without() {
    let mut conversation = fix();
    conversation["brief_model"] = "scripted-small".into();
    conversation["brief"] = json!([
        {"expect": {"contains": ["An earlier answer could not be used: it holds no JSON object"]}, "say": "{\"files\": 7}"},
        {"say": "I would look into src/lib.rs first."},
    ]);
    let mut world = World::of("fix", Some(conversation)).await;
    let transcript = played(&mut world, "brief_name = \"scripted-small\"").await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    assert_eq!(asked_for_words(&world), 2);
    let unusable =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::BriefAnswered { brief: None, .. });
    assert_eq!(count(&transcript, unusable), 2);
    world.end().await;
}

#[tokio::test]
async fn a_crash_after_the_brief_does_not_pay_for_it_twice() {
    let mut conversation = fix();
    conversation["brief"] = json!([{"say": "{\"files\": [\"src/lib.rs\"], \"steps\": [\"Mend it\"]}"}]);
    conversation["turns"][0]["fault"] = json!({"stall": true});
    let mut world = World::of("fix", Some(conversation)).await;
    let model = format!("brief_name = \"scripted-1\"\n{BUDGET}");
    world.start_service_with(&model).await;
    world.label("octo-maintainer").await;
    world.until("the first turn", |world| world.provider.requests().len() == 2).await;
    world.kill_service().await;
    world.start_service_with(&model).await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.stop_service().await;
    assert_eq!(asked_for_words(&world), 1);
    let transcript = world.transcript().await;
    assert_eq!(count(&transcript, |event| matches!(event, TranscriptEvent::BriefAnswered { .. })), 1);
    world.end().await;
}

#[tokio::test]
async fn a_job_of_two_hundred_turns_stays_within_the_context_and_is_read_from_the_cache() {
    let mut conversation = after_reading(200, false);
    conversation["context_tokens"] = 40_000.into();
    let mut world = world_with_notes(200, conversation).await;
    let transcript = played(&mut world, "context_tokens = 40000").await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    assert_eq!(world.provider.overflows(), 0);
    let (elisions, share) = (elisions(&transcript), cached_share(&transcript));
    println!(
        "203 turns: {elisions} elisions, {} compactions, {share} % of the prompts from the cache",
        compactions(&transcript)
    );
    // In chunks: a cache that is lost each turn is none.
    assert!((5..=70).contains(&elisions), "{elisions}");
    assert_eq!(world.provider.rewrites(), elisions);
    assert!(share >= 75, "{share} % of the prompts came from the cache");
    world.end().await;
}

#[tokio::test]
async fn reasoning_that_is_signed_is_never_cut_off_from_what_it_was_signed_with() {
    let mut conversation = after_reading(40, true);
    conversation["context_tokens"] = 40_000.into();
    conversation["brief_model"] = "scripted-small".into();
    let mut world = world_with_notes(40, conversation).await;
    let transcript = played(&mut world, "context_tokens = 40000\n").await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    assert_eq!((world.provider.overflows(), elisions(&transcript)), (0, 0));
    let times = compactions(&transcript);
    assert!((1..=5).contains(&times), "{times}");
    assert_eq!(asked_for_words(&world), times);
    let shown = world.provider.requests().last().unwrap().body.to_string();
    for kept in ["SUMMED UP: slug", "Turns so far: ", "several dashes", "runs_of_separators_become_one_dash"]
    {
        assert!(shown.contains(kept), "{kept} is not in {shown}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_finds_the_conversation_too_long_is_asked_again_with_less() {
    for think in [false, true] {
        let mut conversation = after_reading(12, think);
        conversation["context_tokens"] = 17_000.into();
        let mut world = world_with_notes(12, conversation).await;
        // We are told that there is much more room than there is.
        let transcript = played(&mut world, "context_tokens = 1000000").await;
        assert_eq!(world.pulls().len(), 1, "{}", world.log());
        assert!(world.provider.overflows() > 0);
        let (elisions, compactions) = (elisions(&transcript), compactions(&transcript));
        assert!(
            if think { compactions > 0 && elisions == 0 } else { elisions > 0 },
            "{elisions} {compactions}"
        );
        world.end().await;
    }
}

#[tokio::test]
async fn a_conversation_that_cannot_become_shorter_ends_in_an_honest_escalation() {
    let mut conversation = fix();
    conversation["context_tokens"] = 500.into();
    let mut world = World::of("fix", Some(conversation)).await;
    played(&mut world, "").await;
    assert_eq!(world.pulls().len(), 0);
    assert_eq!(world.provider.overflows(), 1);
    let comments = world.comments().join("\n");
    assert!(comments.contains("the conversation is too long for scripted-1"), "{comments}");
    world.end().await;
}

#[tokio::test]
async fn a_crash_after_a_summary_shows_the_same_and_does_not_pay_for_it_twice() {
    let mut conversation = after_reading(12, true);
    conversation["context_tokens"] = 17_000.into();
    // Where the first summary is due; it hangs once for each conversation that comes so far.
    let due = 6;
    conversation["turns"][due]["fault"] = json!({"stall": true});
    let mut world = world_with_notes(12, conversation).await;
    let model = format!("context_tokens = 1000000\n{BUDGET}");
    world.start_service_with(&model).await;
    world.label("octo-maintainer").await;
    let hangs = |world: &World| {
        let requests = world.provider.requests();
        let last =
            requests.last().map(|request| (request.turn, request.body.to_string().contains("SUMMED UP")));
        last == Some((Some(due), true))
    };
    world.until("the turn after the summary", hangs).await;
    world.kill_service().await;
    let before = world.provider.requests().last().unwrap().body.clone();
    let summaries = asked_for_words(&world);
    world.start_service_with(&model).await;
    world
        .until("the same turn again", |world| {
            let requests = world.provider.requests();
            requests.iter().filter(|request| request.body == before).count() == 2
        })
        .await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.stop_service().await;
    assert_eq!(summaries, 1);
    let transcript = world.transcript().await;
    assert_eq!(asked_for_words(&world), compactions(&transcript));
    world.end().await;
}

#[tokio::test]
async fn a_job_with_summaries_is_done_again() {
    let mut conversation = after_reading(40, true);
    conversation["context_tokens"] = 40_000.into();
    let mut world = world_with_notes(40, conversation).await;
    let transcript = played(&mut world, "context_tokens = 40000\n").await;
    assert!(compactions(&transcript) > 0);
    world.stop_service().await;
    let mendwright = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(BINARY);
        let output = command.args(arguments).current_dir(world.directory.path()).output().await.unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}\n{}", said[0], said[1]);
        said
    };
    let job = world.job().await.to_string();
    let [text, _] = mendwright(&["transcript", &job, "--json", "--data-dir", "data"]).await;
    std::fs::write(world.directory.path().join("recorded.jsonl"), text).unwrap();
    let bare = "github/octo-org/example.git";
    let [out, err] = mendwright(&["replay", "recorded.jsonl", "--repo", bare]).await;
    let turns = count(&transcript, |event| {
        matches!(event, TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. })
    });
    assert!(out.starts_with(&format!("{turns} of {turns} recorded turns were done again; ")), "{out}");
    // The recorded model holds more than ours did; where it is full, it is summed up again, without words.
    assert!(err.contains("summ"), "{err}");
    world.end().await;
}
