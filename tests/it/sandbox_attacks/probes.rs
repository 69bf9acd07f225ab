//! Every probe is held by its defence.

use super::data::{Group, Place, Probe, ProbePhase, groups};
use super::host::{Host, is_root};
use super::room::{self, ProbedSandbox};
use crate::backends::Backend;

on_every_backend! {
    every_probe_is_held_while_the_agent_works,
    every_probe_is_held_while_a_repository_is_set_up,
    toolbox_survives_its_commands,
    every_resource_is_limited,
}

async fn every_probe_is_held_while_the_agent_works(backend: Backend) {
    hold(Place::Shared, backend, ProbePhase::Work).await;
}

async fn every_probe_is_held_while_a_repository_is_set_up(backend: Backend) {
    hold(Place::Shared, backend, ProbePhase::Setup).await;
}

async fn toolbox_survives_its_commands(backend: Backend) {
    hold(Place::OwnProcesses, backend, ProbePhase::Work).await;
}

async fn every_resource_is_limited(backend: Backend) {
    hold(Place::Small, backend, ProbePhase::Work).await;
}

/// Runs all probes for this kind of sandbox, backend, phase and user, and panics with a report of those that
/// were not held.
async fn hold(place: Place, backend: Backend, phase: ProbePhase) {
    let mut host = Host::plant();
    let open = async |host: &Host| {
        ProbedSandbox::open(backend.sandbox(), backend, room::spec(backend, place, phase, host)).await
    };
    let mut room = open(&host).await;
    let mut broken = Vec::new();
    for (group, probe) in probes(place, backend, phase) {
        broken.extend(room.try_out(&mut host, group, probe).await);
        if place == Place::Small {
            // Resources that a probe has used up are not available to the next one.
            std::mem::replace(&mut room, open(&host).await).close().await;
        }
    }
    room.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes were not held:\n\n{}\n", broken.len(), broken.join("\n\n"));
}

/// The probes for the user of this process.
pub fn probes(
    place: Place,
    backend: Backend,
    phase: ProbePhase,
) -> impl Iterator<Item = (&'static Group, &'static Probe)> {
    let groups = groups().iter().filter(move |group| group.place == place);
    groups
        .flat_map(|group| group.probe.iter().map(move |probe| (group, probe)))
        .filter(move |(_, probe)| probe.is_for(backend, phase, is_root()))
}
