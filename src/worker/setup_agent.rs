//! The setup agent: where no plan is good, a model looks for one, in a setup sandbox of its own. It decides nothing:
//! what it proposes counts only if a fresh sandbox, with the proposed commands alone, reaches passing tests, and names
//! a failing test that is added to them.

use std::time::Duration;

use super::context::WorkerContext;
use super::plans::{EventRecorder, PlanTrial, ReadyPlan, TrialError, is_too_large};
use super::stop::Stop;
use crate::agent::{Agent, AgentEnding, AgentRole, Conversation, MeteredModel, prompts};
use crate::domain::{
    AllowedHost, Budget, BudgetExhausted, FOUND_BY_SETUP_AGENT, JobSettings, OperatorNote, RepoPath,
    SetupRecipe, Transcript, TranscriptEvent, is_shortage,
};
use crate::sandbox::protocol::Search;
use crate::sandbox::{CallError, CommandSpec, Toolbox};
use crate::store::Journal;
use crate::testing::{SuiteError, files_of, why_not_the_whole_suite};
use crate::verdict::Verifier;

/// Model calls of one round of a job.
const TURNS_MAX: u32 = 25;
/// Of the job's tool calls, tokens and minutes, the search may use one in so many.
const SHARE: u32 = 3;
/// Places that are looked at where the repository may name a command.
const DOCUMENTED_HITS_MAX: u32 = 200;
/// Refused hosts that are named.
const REFUSED_NAMED_MAX: usize = 10;
/// Proposals that are tried: each is a setup and a run of the suite.
const PROPOSALS_MAX: u32 = 5;
/// Longest text about what was tried, in characters.
const TRIED_CHARS_MAX: usize = 12_000;
/// Programs that are looked for, so that the model need not ask.
const PROGRAMS: &str = "python3 pip3 uv node npm pnpm yarn deno bun go cargo rustc ruby bundle gem java mvn gradle php composer \
                        perl cpanm make cmake ninja meson autoconf gcc g++ clang pkg-config git curl wget";

/// What the setup agent works on.
pub(super) struct SetupSearch<'a> {
    pub(super) context: &'a WorkerContext,
    pub(super) journal: &'a Journal,
    pub(super) trial: &'a PlanTrial<'a>,
    /// The first plan that was detected. The other settings are its.
    pub(super) detected: &'a JobSettings,
    /// The plans that were tried.
    pub(super) plans: &'a [JobSettings],
    /// What came of them, for the model.
    pub(super) tried: &'a str,
}

/// What the setup agent found.
pub(super) enum SetupSearchResult {
    /// A plan that reaches passing tests.
    Found(Box<ReadyPlan>),
    /// Nothing.
    Nothing {
        /// Why, for people.
        why: String,
        /// What the operator has to do about it.
        operator: Option<OperatorNote>,
        /// The daily cap that ended the search.
        daily_cap: Option<BudgetExhausted>,
    },
}

/// The first detected plan, if the setup agent may look for another: the operator pays for it and lets setups download,
/// and nobody wrote other commands.
pub(super) fn searchable<'p>(context: &WorkerContext, plans: &'p [JobSettings]) -> Option<&'p JobSettings> {
    let is_on = context.policy.setup.lets_agent_search();
    plans.iter().find(|plan| is_on && is_detected(plan) && SetupRecipe::of_plan(plan).is_none())
}

/// The hosts that an event says were refused.
fn refused_hosts(event: &TranscriptEvent) -> Vec<String> {
    let TranscriptEvent::Egress { report, .. } = event else { return Vec::new() };
    let mut hosts: Vec<String> = report.refusals().map(|refusal| format!("`{}`", refusal.host)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.truncate(REFUSED_NAMED_MAX);
    hosts
}

/// Whether nobody wrote the commands of a plan.
fn is_detected(plan: &JobSettings) -> bool {
    plan.test_command_detected && (plan.setup_detected || plan.setup_commands.is_empty())
}

/// The plan of a recipe, with the other settings of `detected`.
pub(super) fn plan_of(recipe: &SetupRecipe, detected: &JobSettings) -> JobSettings {
    JobSettings {
        test_command: recipe.test.clone(),
        test_command_source: FOUND_BY_SETUP_AGENT.to_owned(),
        test_command_detected: true,
        setup_commands: recipe.setup.clone(),
        setup_source: FOUND_BY_SETUP_AGENT.to_owned(),
        setup_detected: true,
        setup_files: Vec::new(),
        setup_left_out: None,
        ..detected.clone()
    }
}

/// The plans with that of a recipe before them, if nobody wrote commands.
pub(super) fn with_recipe(plans: Vec<JobSettings>, recipe: Option<&SetupRecipe>) -> Vec<JobSettings> {
    let found = plans.first().filter(|first| is_detected(first)).zip(recipe);
    let found = found.map(|(detected, recipe)| plan_of(recipe, detected));
    found.into_iter().chain(plans).collect()
}

impl SetupSearch<'_> {
    /// Lets the model look, within its part of the budget, and tries what it proposes.
    pub(super) async fn run(&self) -> Result<SetupSearchResult, Stop> {
        let events = self.journal.transcript().await?;
        let transcript = Transcript::new(&events);
        let detected = self.detected.clone();
        let Some(budget) = self.budget(transcript, &detected.budget) else {
            let why = "it has used up its part of the budget".to_owned();
            return Ok(SetupSearchResult::Nothing { why, operator: None, daily_cap: None });
        };
        let settings = JobSettings { budget, ..detected };
        let spend = transcript.spend();
        let mut begin = Vec::new();
        let version = prompts::version();
        if transcript.prompts() != Some(&version) {
            begin.push(TranscriptEvent::Instructed { prompts: version });
        }
        begin.push(TranscriptEvent::SetupAgentStarted {
            usd_max: (settings.budget.usd_max - spend.usd.unwrap_or_default()).max(0.0),
            turns_max: settings.budget.turns_max - spend.turns,
        });
        self.journal.append(&begin).await?;
        let permitted = self.trial.permit(&settings).map_err(Stop::environment)?;
        let environment = self.trial.environment(&permitted).await?;
        let toolbox = environment.for_trying_setups().await?;
        let mut state = Conversation::after_spending(spend);
        let searched = Box::pin(self.search(&settings, &toolbox, &mut state)).await;
        environment.note_egress("setup agent", &toolbox);
        toolbox.shut_down().await;
        let mut events = environment.take_events();
        let refused: Vec<String> = events.iter().flat_map(refused_hosts).collect();
        let result = match searched {
            Ok(SetupSearchResult::Nothing { why, operator, daily_cap }) if !refused.is_empty() => {
                let why = format!(
                    "{why}\n\nBy hand, the model asked for hosts that are not allowed: {}. Allow those that you know.",
                    refused.join(", ")
                );
                Ok(SetupSearchResult::Nothing { why, operator, daily_cap })
            }
            searched => searched,
        };
        let (recipe, why) = match &result {
            Ok(SetupSearchResult::Found(ready)) => (SetupRecipe::of_plan(&ready.plan), None),
            Ok(SetupSearchResult::Nothing { why, .. }) => (None, Some(why.clone())),
            Err(_) => (None, Some("it was interrupted".to_owned())),
        };
        events.push(TranscriptEvent::SetupAgentEnded { recipe, why });
        self.journal.append(&events).await?;
        result
    }

    /// The job's budget, lowered to what is left of the agent's part of it; `None`: nothing is.
    fn budget(&self, transcript: Transcript<'_>, job: &Budget) -> Option<Budget> {
        let (all, own) = (transcript.spend(), transcript.current_round().setup_agent_spend());
        let usd = self.context.policy.setup.agent_usd - own.usd.unwrap_or_default();
        let turns = TURNS_MAX.saturating_sub(own.turns);
        // The rest is for the agent that fixes.
        let tool_calls = (job.tool_calls_max / SHARE).saturating_sub(own.tool_calls);
        let tokens = (job.tokens_max / u64::from(SHARE)).saturating_sub(own.usage.total());
        let time = (job.time_max / SHARE).saturating_sub(own.time);
        if usd <= 0.0 || turns == 0 {
            return None;
        }
        // A limit that is not lowered here holds for the agent as for the job.
        let mut budget = job.clone();
        budget.usd_max = budget.usd_max.min(all.usd.unwrap_or_default() + usd);
        budget.turns_max = budget.turns_max.min(all.turns + turns).max(all.turns);
        budget.tool_calls_max = budget.tool_calls_max.min(all.tool_calls.saturating_add(tool_calls));
        budget.tokens_max = budget.tokens_max.min(all.usage.total().saturating_add(tokens));
        budget.time_max = budget.time_max.min(all.time + time);
        Some(budget)
    }

    async fn search(
        &self,
        settings: &JobSettings,
        toolbox: &Toolbox,
        state: &mut Conversation,
    ) -> Result<SetupSearchResult, Stop> {
        let policy = &self.context.policy;
        let metered_model = MeteredModel {
            model: self.context.model.as_ref(),
            journal: self.journal,
            budget: &settings.budget,
            caps: &policy.caps,
        };
        let agent = Agent {
            role: AgentRole::Setup { variables: policy.setup.variables.clone() },
            metered_model,
            output_tokens_max: policy.output_tokens_max,
            context_tokens: policy.context_tokens,
            planner: None,
            summarizer: metered_model,
            summarizer_context_tokens: policy.context_tokens,
            toolbox,
            workspace: self.trial.workspace,
            settings,
            abilities: Default::default(),
            scripts: None,
            journal: self.journal,
        };
        let task = self.task(toolbox).await?;
        agent.tell(state, &task).await?;
        let mut proposals = 0;
        let (mut operator, mut daily_cap) = (None, None);
        let why = loop {
            let (recipe, call) = match agent.run(state).await? {
                AgentEnding::ProposedSetup(recipe, call) => (recipe, call),
                AgentEnding::Asked(missing) => break missing,
                AgentEnding::Exhausted(limit) => {
                    let why = format!("it was ended: {limit}");
                    daily_cap = matches!(limit, BudgetExhausted::Day(_)).then_some(limit);
                    break why;
                }
                AgentEnding::ModelUnusable(why) if is_shortage(&why) => return Err(Stop::ended_by(why)),
                AgentEnding::ModelUnusable(why) => break format!("the model cannot be used: {why}"),
                AgentEnding::Finished(finish) => break finish.summary,
            };
            let (why, note) = match self.try_recipe(&recipe).await? {
                Ok(ready) => return Ok(SetupSearchResult::Found(ready)),
                Err(refused) => refused,
            };
            operator = note.or(operator);
            proposals += 1;
            if proposals == PROPOSALS_MAX {
                break format!("{PROPOSALS_MAX} proposals did not work. The last: {why}");
            }
            let answer = format!("It does not count: {why}");
            // As for the baseline, the time of a trial is not the agent's.
            agent.answer_call(state, call, &answer, Duration::ZERO, Vec::new()).await?;
        };
        Ok(SetupSearchResult::Nothing { why, operator, daily_cap })
    }

    /// Tries the commands in fresh sandboxes. `Err`: why they do not count, for the model and for people, and what the
    /// operator has to do about it.
    async fn try_recipe(
        &self,
        recipe: &SetupRecipe,
    ) -> Result<Result<Box<ReadyPlan>, (String, Option<OperatorNote>)>, Stop> {
        if let Some(why) = why_not_the_whole_suite(&recipe.test) {
            return Ok(Err((format!("the test command `{}`: {why}.", recipe.test), None)));
        }
        let tried = match self.trial.try_alone(plan_of(recipe, self.detected), self.journal).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(refused)) => return Ok(Err(refused)),
            Err(TrialError::NoneUsable { why, operator }) => return Ok(Err((why, operator))),
            Err(TrialError::Suite(error)) if is_too_large(&error) => {
                return Ok(Err((error.to_string(), None)));
            }
            Err(TrialError::Suite(error)) => return Err(error.into()),
            Err(TrialError::Record(error)) => return Err(error.into()),
        };
        let checked = self.why_not_believed(recipe, &tried).await;
        self.journal.record(tried.environment.take_events()).await?;
        match checked? {
            None => Ok(Ok(Box::new(tried))),
            Some(why) => {
                tried.toolbox.shut_down().await;
                Ok(Err((why, None)))
            }
        }
    }

    /// Why passing tests do not show that the suite runs.
    async fn why_not_believed(
        &self,
        recipe: &SetupRecipe,
        ready: &ReadyPlan,
    ) -> Result<Option<String>, SuiteError> {
        let is_detected =
            |plan: &JobSettings| SetupRecipe::of_plan(plan).is_none() && plan.test_command == recipe.test;
        let is_known_command = self.plans.iter().any(is_detected);
        if !ready.baseline.report.is_known()
            && !is_known_command
            && !self.is_documented(recipe, ready).await?
        {
            return Ok(Some(
                "the tests pass, but the command does not report them in a format that is known, and no file of the \
                 repository names its last part. Use the command that the repository documents, or the runner's own."
                    .to_owned(),
            ));
        }
        let verifier = Verifier::new(&ready.environment, &ready.baseline);
        let files: Vec<RepoPath> =
            files_of(&recipe.test).iter().filter_map(|file| file.parse().ok()).collect();
        match verifier.why_setup_decides(&files).await? {
            None => Ok(verifier.base_reports_failures().await?.err()),
            why => Ok(why),
        }
    }

    /// Whether a file of the repository has the last part of the test command, word for word.
    async fn is_documented(&self, recipe: &SetupRecipe, ready: &ReadyPlan) -> Result<bool, SuiteError> {
        let last = recipe.test.rsplit("&&").next().unwrap_or_default().trim().to_owned();
        let search = Search {
            pattern: last,
            literal: true,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: DOCUMENTED_HITS_MAX,
        };
        let hits = match ready.toolbox.search(&search).await {
            Ok(found) => found.lines,
            Err(CallError::RespondToModel(_)) => Vec::new(),
            Err(CallError::Fatal(error)) => return Err(error.into()),
        };
        for path in hits.iter().filter_map(|hit| hit.path.parse::<RepoPath>().ok()) {
            if self.trial.workspace.base_contains(&path).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first message.
    async fn task(&self, toolbox: &Toolbox) -> Result<String, Stop> {
        let root = self.trial.workspace.base_directory("").await?;
        let find = format!("for name in {PROGRAMS}; do command -v \"$name\"; done; true");
        let found = toolbox
            .run(&CommandSpec::shell(&find, self.detected.test_timeout))
            .await
            .map_err(SuiteError::from)?;
        let programs: Vec<String> = found
            .output
            .to_text()
            .lines()
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect();
        // Messages may be published, and the names of internal hosts are the operator's.
        let is_public = |host: &&AllowedHost| host.address_range().is_none();
        let hosts = self.context.policy.setup.allowed_hosts.iter().filter(is_public);
        let hosts: Vec<&str> = hosts.map(AllowedHost::name).collect();
        let tried: String = self.tried.chars().take(TRIED_CHARS_MAX).collect();
        Ok(format!(
            "# Top of the repository\n\n{}\n\n# Programs that are here\n\n{}\n\n# Hosts that a setup can reach\n\n{}\n\n\
             # What was tried\n\n{tried}\n",
            root.join("  "),
            programs.join(" "),
            hosts.join(" "),
        ))
    }
}
