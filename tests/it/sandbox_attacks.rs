//! What somebody hostile inside a sandbox tries, and that it comes to nothing. The attempts are data
//! in `fixtures/sandbox`; here is how they are run and judged: over each backend, in each phase, by a
//! service that runs as root and by one that does not. A defence that is taken away must be noticed.

mod data;
mod host;
#[path = "sandbox_attacks/prober/main.rs"]
#[expect(dead_code, reason = "a program of its own, compiled here to be held to the house rules")]
mod prober;
mod room;
mod without_a_sandbox;

use data::{Group, Phase, Probe, groups};
use host::Host;
use room::{Backend, Room};

/// Runs all probes that are for this room's kind, backend, phase and user, and panics with a report
/// of those that did not hold.
async fn hold(backend: Backend, phase: Phase) {
    let mut host = Host::plant();
    let mut room = Room::open(backend.sandbox(), backend, phase, &host).await;
    let mut broken = Vec::new();
    for (group, probe) in probes(data::Place::Shared, backend, phase) {
        broken.extend(room.try_out(&mut host, group, probe).await);
    }
    room.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes did not hold:\n\n{}\n", broken.len(), broken.join("\n\n"));
}

fn probes(
    place: data::Place,
    backend: Backend,
    phase: Phase,
) -> impl Iterator<Item = (&'static Group, &'static Probe)> {
    let groups = groups().iter().filter(move |group| group.place == place);
    groups
        .flat_map(|group| group.probe.iter().map(move |probe| (group, probe)))
        .filter(move |(_, probe)| probe.is_for(backend, phase, host::is_root()))
}

mod bubblewrap {
    use super::*;

    #[tokio::test]
    async fn every_probe_holds_while_the_agent_works() {
        hold(Backend::Bubblewrap, Phase::Work).await;
    }

    #[tokio::test]
    async fn every_probe_holds_while_a_repository_is_set_up() {
        hold(Backend::Bubblewrap, Phase::SetUp).await;
    }
}
