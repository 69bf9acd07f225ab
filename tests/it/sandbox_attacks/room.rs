//! A sandbox in which probes are tried one after the other, and the judgement of each.

use std::sync::Arc;
use std::time::Duration;

use mendwright::domain::{CommandResult, Ending};
use mendwright::sandbox::{CallError, CommandSpec, Root, Sandbox, SandboxSpec, Toolbox, sandbox_by_name};
use serde::Deserialize;

use super::data::{self, Group, Phase, Probe, is_like};
use super::host::{Host, prober};

/// Far above what any of these commands takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where the prober lies in there.
const PROBER: &str = "/workspace/prober";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    Bubblewrap,
    Docker,
}

impl Backend {
    pub fn sandbox(self) -> Arc<dyn Sandbox> {
        sandbox_by_name(match self {
            Self::Bubblewrap => "bubblewrap",
            Self::Docker => "docker",
        })
        .unwrap()
    }

    pub fn spec(self, phase: Phase, host: &Host) -> SandboxSpec {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let label = format!("attacked-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let root = match self {
            Self::Bubblewrap => Root::Host { toolchains: vec![host.rights().to_owned()] },
            Self::Docker => Root::Image("mendwright-test:1".to_owned()),
        };
        let phase = match phase {
            Phase::SetUp => mendwright::sandbox::Phase::SetUp,
            Phase::Work => mendwright::sandbox::Phase::Work,
        };
        SandboxSpec { root, phase, ..SandboxSpec::named(label) }
    }
}

/// A running sandbox, and how to have another one should it be lost.
pub struct Room {
    sandbox: Arc<dyn Sandbox>,
    backend: Backend,
    spec: SandboxSpec,
    toolbox: Toolbox,
}

impl Room {
    pub async fn open(sandbox: Arc<dyn Sandbox>, backend: Backend, phase: Phase, host: &Host) -> Self {
        let spec = backend.spec(phase, host);
        Self::open_as(sandbox, backend, spec).await
    }

    pub async fn open_as(sandbox: Arc<dyn Sandbox>, backend: Backend, spec: SandboxSpec) -> Self {
        let toolbox = furnished(sandbox.as_ref(), &spec).await;
        Self { sandbox, backend, spec, toolbox }
    }

    /// The attack, then the legitimate act. What did not hold, in words.
    pub async fn try_out(&mut self, host: &mut Host, group: &Group, probe: &Probe) -> Option<String> {
        let mut wrong: Vec<String> = self.attack(host, probe).await.err().into_iter().collect();
        let (act, expected) = probe.legitimate(group);
        let answer = self.run(host, act).await;
        if !is_like(expected, &answer) {
            wrong.push(format!(
                "the legitimate act beside it fails: {act}\n    it said: {answer}\n    wanted: {expected}"
            ));
        }
        (!wrong.is_empty()).then(|| self.report(group, probe, &wrong))
    }

    fn report(&self, group: &Group, probe: &Probe, wrong: &[String]) -> String {
        format!(
            "{}: {} (in {:?}, {:?})\n  the defence: {}\n  {}",
            group.title,
            probe.name,
            self.backend,
            self.spec.phase,
            probe.defence,
            wrong.join("\n  ")
        )
    }

    /// Only the attack. Why it is a breach, if it is one.
    pub async fn attack(&mut self, host: &mut Host, probe: &Probe) -> Result<(), String> {
        let said = self.run(host, &probe.attack).await;
        let mut wrong = Vec::new();
        if !is_like(probe.held(self.backend), &said) {
            wrong.push(format!(
                "the attack: {}\n    it said: {said}\n    a defence says: {}",
                probe.attack,
                probe.held(self.backend)
            ));
        }
        for secret in host.secrets_in(&said) {
            wrong.push(format!("the attack: {}\n    it showed the secret {secret}", probe.attack));
        }
        wrong.extend(host.what_happened());
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }

    /// What a command says, and its ending where it did not exit by itself.
    pub async fn run(&mut self, host: &Host, command: &str) -> String {
        let command = CommandSpec::shell(&host.script(command, PROBER), DEADLINE);
        match self.toolbox.run(&command).await {
            Ok(result) => {
                if result.duration.as_millis() > 100 {
                    eprintln!(
                        "SLOW {:?} {}",
                        result.duration,
                        &command.argv[2][command.argv[2].len().min(38)..]
                    );
                }
                in_words(&result)
            }
            Err(CallError::Told(why)) => format!("<told {why}>"),
            Err(CallError::Lost(lost)) => {
                let another = furnished(self.sandbox.as_ref(), &self.spec).await;
                std::mem::replace(&mut self.toolbox, another).shut_down().await;
                format!("<lost {lost}>")
            }
        }
    }

    pub async fn close(self) {
        self.toolbox.shut_down().await;
    }
}

/// Said and ended.
pub fn in_words(result: &CommandResult) -> String {
    let said = result.output.to_text();
    let said = said.trim();
    match &result.ending {
        Ending::Exited { .. } => said.to_owned(),
        other => format!("{said}\n<{other:?}>").trim().to_owned(),
    }
}

/// A sandbox with the prober in it.
async fn furnished(sandbox: &dyn Sandbox, spec: &SandboxSpec) -> Toolbox {
    let toolbox = sandbox.start(spec).await.unwrap_or_else(|e| panic!("no sandbox: {e}"));
    let program = std::fs::read(prober()).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, "prober", program.as_slice()).unwrap();
    toolbox.unpack(tar.into_inner().unwrap().as_slice()).await.unwrap();
    toolbox
}

/// The same attacks as they are, for what runs them elsewhere.
pub fn all_shared() -> impl Iterator<Item = (&'static Group, &'static Probe)> {
    let shared = data::groups().iter().filter(|group| group.place == data::Place::Shared);
    shared.flat_map(|group| group.probe.iter().map(move |probe| (group, probe)))
}
