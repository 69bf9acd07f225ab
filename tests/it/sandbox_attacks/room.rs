//! A sandbox in which probes are run one after the other, and their evaluation.

use std::sync::Arc;
use std::time::Duration;

use mendwright::domain::{ExitStatus, ProcessOutput};
use mendwright::sandbox::{CallError, CommandSpec, Limits, Root, Sandbox, SandboxSpec, Toolbox};
use tokio::sync::Notify;

use super::data::{Group, Place, Probe, ProbePhase, is_like};
use super::host::{Host, prober};
use crate::backends::{Backend, root};

/// Much longer than any of these commands takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// The path of the prober inside.
const PROBER: &str = "/workspace/prober";

/// The sandbox in which the probes of a place are run.
pub fn spec(backend: Backend, place: Place, phase: ProbePhase, host: &Host) -> SandboxSpec {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let label = format!("attacked-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let root = match root(backend.kind()) {
        Root::Host { .. } => Root::Host { toolchains: vec![host.rights().to_owned()] },
        image @ Root::Image(_) => image,
    };
    let purpose = match phase {
        ProbePhase::Setup => mendwright::sandbox::SandboxPurpose::Setup,
        ProbePhase::Work => mendwright::sandbox::SandboxPurpose::Work,
    };
    let limits = match place {
        Place::Small => Limits {
            memory_bytes_max: 128 << 20,
            pids_max: 64,
            disk_bytes_max: 64 << 20,
            open_files_max: 1024,
            ..Limits::default()
        },
        Place::Shared | Place::OwnProcesses | Place::Connected | Place::Successive => Limits::default(),
    };
    SandboxSpec { root, purpose, limits, ..SandboxSpec::named(label) }
}

/// A running sandbox, with what is needed to replace it if it is lost.
pub struct ProbedSandbox {
    sandbox: Arc<dyn Sandbox>,
    backend: Backend,
    spec: SandboxSpec,
    toolbox: Toolbox,
}

impl ProbedSandbox {
    pub async fn open(sandbox: Arc<dyn Sandbox>, backend: Backend, spec: SandboxSpec) -> Self {
        let toolbox = start_with_prober(sandbox.as_ref(), &spec).await;
        Self { sandbox, backend, spec, toolbox }
    }

    /// Runs the attack, and then the legitimate command. Returns a report if something is wrong.
    pub async fn try_out(&mut self, host: &mut Host, group: &Group, probe: &Probe) -> Option<String> {
        let mut wrong: Vec<String> = self.attack(host, probe).await.err().into_iter().collect();
        wrong.extend(self.legitimate(host, group, probe).await);
        (!wrong.is_empty()).then(|| self.report(group, probe, &wrong))
    }

    fn phase(&self) -> ProbePhase {
        match self.spec.purpose {
            mendwright::sandbox::SandboxPurpose::Setup => ProbePhase::Setup,
            mendwright::sandbox::SandboxPurpose::Work => ProbePhase::Work,
        }
    }

    /// Runs only the legitimate command. Returns why it failed, if it did.
    pub async fn legitimate(&mut self, host: &Host, group: &Group, probe: &Probe) -> Option<String> {
        let (act, expected) = probe.legitimate(group);
        let answer = self.run(host, act).await;
        (!is_like(expected, &answer)).then(|| {
            format!(
                "the legitimate act beside it fails: {act}\n    it answered: {answer}\n    wanted: {expected}"
            )
        })
    }

    /// A report for a person.
    pub fn report(&self, group: &Group, probe: &Probe, wrong: &[String]) -> String {
        format!(
            "{}: {} (in {:?}, {:?})\n  the defence: {}\n  {}",
            group.title,
            probe.name,
            self.backend,
            self.spec.purpose,
            probe.defence,
            wrong.join("\n  ")
        )
    }

    /// Runs only the attack. The error says why it is a breach.
    pub async fn attack(&mut self, host: &mut Host, probe: &Probe) -> Result<(), String> {
        let answer = self.run(host, &probe.attack).await;
        let mut wrong = Vec::new();
        if !is_like(probe.held(self.backend, self.phase()), &answer) {
            wrong.push(format!(
                "the attack: {}\n    it answered: {answer}\n    a defence says: {}",
                probe.attack,
                probe.held(self.backend, self.phase())
            ));
        }
        for secret in host.secrets_in(&answer) {
            wrong.push(format!("the attack: {}\n    it showed the secret {secret}", probe.attack));
        }
        wrong.extend(host.what_happened());
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }

    /// The output of a command, and its exit status unless it exited by itself. A lost sandbox is replaced.
    pub async fn run(&mut self, host: &Host, command: &str) -> String {
        let answer = self.run_concurrently(host, command).await;
        if answer.starts_with("<lost ") {
            let another = start_with_prober(self.sandbox.as_ref(), &self.spec).await;
            std::mem::replace(&mut self.toolbox, another).shut_down().await;
        }
        answer
    }

    /// The same while other commands run.
    pub async fn run_concurrently(&self, host: &Host, command: &str) -> String {
        let command = CommandSpec::shell(&host.script(command, PROBER), DEADLINE);
        match self.toolbox.run(&command).await {
            Ok(result) => describe(&result),
            Err(CallError::RespondToModel(why)) => format!("<told {why}>"),
            Err(CallError::Fatal(lost)) => format!("<lost {lost}>"),
        }
    }

    /// Starts a command, notifies `begun` at its first output, and lets it run until it is dropped or ends.
    pub async fn hold(&self, host: &Host, command: &str, begun: &Notify) {
        let command = CommandSpec::shell(&host.script(command, PROBER), DEADLINE);
        let ended = self.toolbox.run_live(&command, |_, _| begun.notify_one()).await;
        panic!("{:?} has ended: {ended:?}", command.argv);
    }

    pub async fn close(self) {
        self.toolbox.shut_down().await;
    }
}

/// Said and ended.
fn describe(result: &ProcessOutput) -> String {
    let answer = result.output.to_text();
    let answer = answer.trim();
    match &result.ending {
        ExitStatus::Exited { .. } => answer.to_owned(),
        other => format!("{answer}\n<{other:?}>").trim().to_owned(),
    }
}

/// Starts a sandbox with the prober in it.
async fn start_with_prober(sandbox: &dyn Sandbox, spec: &SandboxSpec) -> Toolbox {
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
