//! The brief: one question to a cheaper model, answered with JSON. The answer is not trusted: if it cannot
//! be read, the model is asked once more, and then the work goes on without a brief. Paths that do not exist
//! are dropped, and texts are cut.
//!
//! The prompt describes the JSON in words, because some providers refuse a forced tool call and others do
//! not support schemas.

use serde::Deserialize;

use super::Material;
use super::instructions::{Instructions, format_instructions};
use crate::agent::metered_model::{Completion, ModelCallError};
use crate::agent::{Agent, AgentError, Conversation, prompts};
use crate::domain::{AssistantBlock, Message, RepoPath, TranscriptEvent, WorkBrief};
use crate::model::ModelRequest;

/// Requests for one brief.
const ATTEMPTS_MAX: usize = 2;
/// Longest answer, in tokens.
const ANSWER_TOKENS_MAX: u32 = 2_000;
const FILES_MAX: usize = 10;
const STEPS_MAX: usize = 12;
const STEP_CHARS_MAX: usize = 300;
const REPRODUCE_CHARS_MAX: usize = 1_000;

/// The answer in the form that the prompt asks for.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    reproduce: String,
    #[serde(default)]
    steps: Vec<String>,
}

impl Agent<'_> {
    /// The brief: the recorded one, or a new one. `None` if no brief is to be written, or if none could be.
    pub(super) async fn ask_planner(
        &self,
        state: &mut Conversation,
        material: &Material,
        instructions: &Instructions,
    ) -> Result<Option<WorkBrief>, AgentError> {
        let Some(metered_model) = self.planner else { return Ok(None) };
        while state.brief.is_none() && state.brief_remarks.len() < ATTEMPTS_MAX {
            let request = request(material, instructions, state.brief_remarks.last());
            let event = match metered_model.ask(&mut state.spend, &request).await {
                Ok(paid) => self.read(paid).await?,
                Err(ModelCallError::Store(error)) => return Err(error.into()),
                Err(error @ (ModelCallError::Exhausted(_) | ModelCallError::Unusable(_))) => {
                    let text = format!("the work begins without a brief: {error}");
                    self.record(state, &[TranscriptEvent::Note { text }]).await?;
                    return Ok(None);
                }
            };
            self.record(state, &[event]).await?;
        }
        Ok(state.brief.clone())
    }

    /// The event that records an answer.
    async fn read(&self, paid: Completion) -> Result<TranscriptEvent, AgentError> {
        let (brief, remark) = match parse(&paid.reply.blocks) {
            Ok(answer) => {
                let (files, missing) = self.existing(answer.files).await?;
                let remark = (!missing.is_empty())
                    .then(|| format!("paths that do not exist were left out: {}", missing.join(", ")));
                let steps = answer.steps.iter().map(|step| line(step, STEP_CHARS_MAX));
                let brief = WorkBrief {
                    files,
                    reproduce: line(&answer.reproduce, REPRODUCE_CHARS_MAX),
                    steps: steps.filter(|step| !step.is_empty()).take(STEPS_MAX).collect(),
                };
                (Some(brief), remark)
            }
            Err(why) => (None, Some(why)),
        };
        Ok(TranscriptEvent::BriefAnswered {
            brief,
            remark,
            usage: paid.reply.usage,
            usd: paid.usd,
            model: paid.reply.model,
            milliseconds: paid.milliseconds,
        })
    }

    /// Splits the paths into files of the base and paths that do not exist.
    async fn existing(&self, paths: Vec<String>) -> Result<(Vec<String>, Vec<String>), AgentError> {
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for path in paths.into_iter().take(FILES_MAX) {
            let exists = match path.trim_start_matches("./").parse::<RepoPath>() {
                Ok(path) if self.workspace.base_contains(&path).await? => Some(path.to_string()),
                Ok(_) | Err(_) => None,
            };
            match exists {
                Some(path) if !files.contains(&path) => files.push(path),
                Some(_) => {}
                None => missing.push(line(&path, 200)),
            }
        }
        Ok((files, missing))
    }
}

fn request(material: &Material, instructions: &Instructions, remark: Option<&String>) -> ModelRequest {
    let Material { issue, suite, map } = material;
    let again = remark.map_or_else(String::new, |remark| {
        format!("\nAn earlier answer could not be used: {remark}. Answer with the JSON object alone.\n")
    });
    ModelRequest {
        anchor: None,
        system: prompts::BRIEF.to_owned(),
        messages: vec![Message::User {
            text: format!("{issue}\n{suite}\n{map}{}{again}", format_instructions(instructions)),
        }],
        tools: [].into(),
        output_tokens_max: ANSWER_TOKENS_MAX,
    }
}

/// The JSON object in an answer, with any text around it.
fn parse(blocks: &[AssistantBlock]) -> Result<Answer, String> {
    let words: String = blocks
        .iter()
        .map(|block| match block {
            AssistantBlock::Text { text } => text.as_str(),
            AssistantBlock::ToolCall(_) | AssistantBlock::Opaque { .. } => "",
        })
        .collect();
    let object = words.find('{').zip(words.rfind('}')).filter(|(begin, end)| begin < end);
    let Some((begin, end)) = object else { return Err("it holds no JSON object".to_owned()) };
    let answer: Answer = serde_json::from_str(&words[begin..=end])
        .map_err(|error| format!("its JSON does not fit: {error}"))?;
    match answer.files.is_empty() && answer.reproduce.trim().is_empty() && answer.steps.is_empty() {
        true => Err("it says nothing".to_owned()),
        false => Ok(answer),
    }
}

/// Joins a text into one line, so that a step of a plan cannot become a heading or two steps.
fn line(text: &str, chars_max: usize) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Answer, String> {
        parse(&[AssistantBlock::Text { text: text.to_owned() }])
    }

    #[test]
    fn json_object_is_found_in_surrounding_text_and_invalid_answers_are_described() {
        let fenced = parsed("Sure!\n```json\n{\"files\": [\"a.rs\"], \"steps\": [\"x\"]}\n```\n").unwrap();
        assert_eq!((fenced.files.len(), fenced.reproduce.as_str(), fenced.steps.len()), (1, "", 1));
        let why = |text: &str| parsed(text).err().unwrap();
        assert_eq!(why("I cannot."), "it holds no JSON object");
        assert_eq!(why("} {"), "it holds no JSON object");
        assert_eq!(why("{}"), "it says nothing");
        assert!(why("{\"files\": \"a\"}").starts_with("its JSON does not fit: invalid type"));
    }

    #[test]
    fn a_step_is_one_line_and_bounded() {
        assert_eq!(line("  # a\n\n- [x] b\t c ", 100), "# a - [x] b c");
        assert_eq!(line(&"é".repeat(500), STEP_CHARS_MAX).chars().count(), STEP_CHARS_MAX);
    }
}
