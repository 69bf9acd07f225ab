//! The plan, and conversations that become long: what the model is shown, what it costs, and that no
//! crash pays twice. The emulated provider counts its cache as a real one does, and accepts only
//! conversations that grow at their end.

use mendwright::domain::{Message, RecordedEvent, Spend, TranscriptEvent};
use serde_json::json;

use crate::support::{BINARY, Script, World, conversation, fix};

/// Bytes of each note that the model reads: about 2,000 tokens.
const NOTE_BYTES: usize = 8_000;

/// The instruction that only a model that summarises is given.
const SUMMARISES: &str = "# What happened";

/// The fix, after so many turns that each read another note.
fn after_reading(notes: usize, thinks: bool) -> Script {
    let mut script = conversation();
    for note in 0..notes {
        script = script.turn(&format!("Note {note} next.")).read(&format!("notes/{note}.md"));
        if thinks {
            script.turns()[note]["think"] = format!("What may note {note} say?").into();
        }
    }
    script = script.then(fix());
    // What the turns of the fix expect has been elided, or summarised, by then.
    for turn in script.turns() {
        turn.as_object_mut().unwrap().remove("expect");
    }
    let summary = json!([{
        "expect": {"contains": [SUMMARISES]},
        "say": "SUMMARY: slug writes a dash for each separator (src/slug.sh).",
    }]);
    script.with("brief", summary)
}

async fn world_with_notes(notes: usize, script: Script) -> World {
    let text =
        |note: usize| format!("# Note {note}\n{}", "Nothing of use stands here.\n".repeat(NOTE_BYTES / 28));
    let files: Vec<(String, String)> =
        (0..notes).map(|note| (format!("notes/{note}.md"), text(note))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    World::builder().script(script).files(&files).start().await
}

/// Enough for a long job.
const BUDGET: &str = "[budget]\nturns = 1000\ntool_calls = 5000\ntokens = 1000000000\nusd = 1000.0\n";

/// Runs the job to its end. Returns its transcript.
async fn run(world: &mut World, model: &str) -> Vec<RecordedEvent> {
    world.start_service_with(&format!("{model}\n{BUDGET}")).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
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
fn cached_percent(transcript: &[RecordedEvent]) -> u64 {
    let usage = spend(transcript).usage;
    let prompts = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    usage.cache_read_tokens * 100 / prompts.max(1)
}

/// How many requests had no tools: those for plans and summaries.
fn requests_without_tools(world: &World) -> usize {
    world.provider.requests().iter().filter(|request| request.body.get("tools").is_none()).count()
}

#[tokio::test]
async fn plan_of_the_cheaper_model_is_checked_and_becomes_the_plan_of_the_job() {
    let plan = json!([{
        "expect": {
            "contains": ["several dashes", "runs_of_separators_become_one_dash", "Dashes are sacred"],
            "not_contains": ["Keep src tidy"],
        },
        "say": "Here it is:\n```json\n{\"files\": [\"src/slug.sh\", \"src/gone.rs\", \"../../etc/passwd\"],\n\
                \"reproduce\": \"Run the suite.\", \"steps\": [\"Read\\nslug\", \"Fix it\"]}\n```",
    }]);
    let expect = json!({
        "contains": [
            "The cause is likely in: src/slug.sh\n", "To see the failure: Run the suite.", "- [ ] Read slug\n- [ ] Fix it",
            "Dashes are sacred", "Keep src tidy", "# Files that may matter",
        ],
        "not_contains": ["gone.rs", "passwd"],
    });
    let mut script =
        fix().with("brief_model", json!("scripted-small")).with("brief", plan).expect_at(0, expect);
    // The plan stays as it is, to be found in the pull request.
    for turn in script.turns() {
        turn["calls"].as_array_mut().unwrap().retain(|call| call["tool"] != "update_plan");
    }
    let files = [("AGENTS.md", "Dashes are sacred.\n"), ("src/AGENTS.md", "Keep src tidy.\n")];
    let mut world = World::builder().script(script).files(&files).start().await;
    let transcript = run(&mut world, "brief_name = \"scripted-small\"").await;
    let body = world.pull()["body"].as_str().unwrap().to_owned();
    assert!(body.contains("Read slug") && body.contains("scripted-small"), "{body}");
    assert_eq!(requests_without_tools(&world), 1);
    let plan = transcript.iter().find_map(|recorded| match &recorded.event {
        TranscriptEvent::BriefAnswered { remark, usage, .. } => {
            Some((remark.clone().unwrap(), usage.total()))
        }
        _ => None,
    });
    let (remark, tokens) = plan.unwrap();
    assert!(remark.contains("src/gone.rs, ../../etc/passwd"), "{remark}");
    let turns = transcript
        .iter()
        .filter(|recorded| matches!(recorded.event, TranscriptEvent::MessageAdded { .. }))
        .filter_map(|recorded| recorded.event.cost())
        .map(|cost| cost.usage.total())
        .sum::<u64>();
    assert!(tokens > 300);
    assert_eq!(spend(&transcript).usage.total(), turns + tokens, "the plan is charged");
    world.end().await;
}

#[tokio::test]
async fn invalid_plan_is_requested_once_more_and_then_left_out() {
    let plans = json!([
        {"expect": {"contains": ["An earlier answer could not be used: it holds no JSON object"]}, "say": "{\"files\": 7}"},
        {"say": "I would look into src/slug.sh first."},
    ]);
    let script = fix().with("brief_model", json!("scripted-small")).with("brief", plans);
    let mut world = World::scripted(script).await;
    let transcript = run(&mut world, "brief_name = \"scripted-small\"").await;
    world.pull();
    assert_eq!(requests_without_tools(&world), 2);
    let is_invalid =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::BriefAnswered { brief: None, .. });
    assert_eq!(count(&transcript, is_invalid), 2);
    world.end().await;
}

#[tokio::test]
async fn crash_after_the_plan_does_not_pay_for_it_twice() {
    let plan = json!([{"say": "{\"files\": [\"src/slug.sh\"], \"steps\": [\"Fix it\"]}"}]);
    let mut world = World::scripted(fix().with("brief", plan).stall_at(0)).await;
    let model = format!("brief_name = \"scripted-1\"\n{BUDGET}");
    world.start_service_with(&model).await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    world.start_service_with(&model).await;
    world.jobs_ended(1).await;
    world.pull();
    assert_eq!(requests_without_tools(&world), 1);
    let transcript = world.transcript().await;
    assert_eq!(count(&transcript, |event| matches!(event, TranscriptEvent::BriefAnswered { .. })), 1);
    world.end().await;
}

#[tokio::test]
async fn job_of_sixty_turns_fits_the_context_and_is_read_from_the_cache() {
    let script = after_reading(60, false).with("context_tokens", json!(40_000));
    let mut world = world_with_notes(60, script).await;
    let transcript = run(&mut world, "context_tokens = 40000").await;
    world.pull();
    assert_eq!(world.provider.overflows(), 0);
    let (elisions, percent) = (elisions(&transcript), cached_percent(&transcript));
    println!(
        "63 turns: {elisions} elisions, {} compactions, {percent} % of the prompts from the cache",
        compactions(&transcript)
    );
    // Several results are elided together: each time costs the cache.
    assert!((2..=25).contains(&elisions), "{elisions}");
    assert_eq!(world.provider.rewrites(), elisions);
    assert!(percent >= 75, "{percent} % of the prompts came from the cache");
    world.end().await;
}

#[tokio::test]
async fn signed_reasoning_is_never_separated_from_what_it_was_signed_with() {
    let script = after_reading(40, true).with("context_tokens", json!(40_000));
    let mut world = world_with_notes(40, script.with("brief_model", json!("scripted-small"))).await;
    let transcript = run(&mut world, "context_tokens = 40000\n").await;
    world.pull();
    assert_eq!((world.provider.overflows(), elisions(&transcript)), (0, 0));
    let times = compactions(&transcript);
    assert!((1..=5).contains(&times), "{times}");
    assert_eq!(requests_without_tools(&world), times);
    let shown = world.provider.requests().last().unwrap().body.to_string();
    for kept in ["SUMMARY: slug", "Turns so far: ", "several dashes", "runs_of_separators_become_one_dash"] {
        assert!(shown.contains(kept), "{kept} is not in {shown}");
    }
    world.end().await;
}

#[tokio::test]
async fn conversation_that_the_provider_finds_too_long_is_sent_again_shortened() {
    for thinks in [false, true] {
        let script = after_reading(12, thinks).with("context_tokens", json!(17_000));
        let mut world = world_with_notes(12, script).await;
        // The configuration claims much more room than there is.
        let transcript = run(&mut world, "context_tokens = 1000000").await;
        world.pull();
        assert!(world.provider.overflows() > 0);
        let (elisions, compactions) = (elisions(&transcript), compactions(&transcript));
        let is_expected = if thinks { compactions > 0 && elisions == 0 } else { elisions > 0 };
        assert!(is_expected, "{elisions} {compactions}");
        world.end().await;
    }
}

#[tokio::test]
async fn conversation_that_cannot_become_shorter_escalates() {
    let mut world = World::scripted(fix().with("context_tokens", json!(500))).await;
    run(&mut world, "").await;
    assert_eq!(world.pulls().len(), 0);
    assert_eq!(world.provider.overflows(), 1);
    let comments = world.comments().join("\n");
    assert!(comments.contains("the conversation is too long for scripted-1"), "{comments}");
    world.end().await;
}

#[tokio::test]
async fn crash_after_a_summary_shows_the_same_and_does_not_pay_for_it_twice() {
    // The first summary is due there. The turn hangs once for each conversation that comes so far.
    let due = 6;
    let script = after_reading(12, true).with("context_tokens", json!(17_000)).stall_at(due);
    let mut world = world_with_notes(12, script).await;
    let model = format!("context_tokens = 1000000\n{BUDGET}");
    world.start_service_with(&model).await;
    world.label("octo-maintainer").await;
    let hangs = |world: &World| {
        let requests = world.provider.requests();
        let last =
            requests.last().map(|request| (request.turn, request.body.to_string().contains("SUMMARY: ")));
        last == Some((Some(due), true))
    };
    world.until("the turn after the summary", hangs).await;
    world.kill_service().await;
    let before = world.provider.requests().last().unwrap().body.clone();
    let summaries = requests_without_tools(&world);
    world.start_service_with(&model).await;
    world.jobs_ended(1).await;
    world.pull();
    let same = world.provider.requests().iter().filter(|request| request.body == before).count();
    assert_eq!((same, summaries), (2, 1));
    let transcript = world.transcript().await;
    assert_eq!(requests_without_tools(&world), compactions(&transcript));
    world.end().await;
}

#[tokio::test]
async fn job_with_summaries_is_replayed() {
    let script = after_reading(40, true).with("context_tokens", json!(40_000));
    let mut world = world_with_notes(40, script).await;
    let transcript = run(&mut world, "context_tokens = 40000\n").await;
    assert!(compactions(&transcript) > 0);
    world.stop_service().await;
    let mendwright = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(BINARY);
        let output = command.args(arguments).current_dir(world.directory.path()).output().await.unwrap();
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}\n{}", texts[0], texts[1]);
        texts
    };
    let job = world.job().await.to_string();
    let [text, _] = mendwright(&["transcript", &job, "--json", "--data-dir", "data"]).await;
    std::fs::write(world.directory.path().join("recorded.jsonl"), text).unwrap();
    let bare = "github/octo-org/example.git";
    let [out, err] = mendwright(&["replay", "recorded.jsonl", "--repo", bare]).await;
    let turns = count(&transcript, |event| {
        matches!(event, TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. })
    });
    assert!(out.starts_with(&format!("Replayed {turns} of {turns} recorded turns; ")), "{out}");
    // The recorded model has a larger context than ours. If it is full, it is summarised again.
    assert!(err.contains("summ"), "{err}");
    world.end().await;
}
