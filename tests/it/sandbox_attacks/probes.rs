//! Every probe is held.

use super::data::{Group, Place, Probe, SandboxPurpose, groups};
use super::host::{Host, is_root};
use super::room::{Backend, Room};

held_by_every_backend! {
    every_probe_is_held_while_the_agent_works,
    every_probe_is_held_while_a_repository_is_set_up,
    the_toolbox_survives_what_it_runs,
    nothing_can_be_taken_without_end,
}

async fn every_probe_is_held_while_the_agent_works(backend: Backend) {
    hold(Place::Shared, backend, SandboxPurpose::Work).await;
}

async fn every_probe_is_held_while_a_repository_is_set_up(backend: Backend) {
    hold(Place::Shared, backend, SandboxPurpose::SetUp).await;
}

async fn the_toolbox_survives_what_it_runs(backend: Backend) {
    hold(Place::OwnProcesses, backend, SandboxPurpose::Work).await;
}

async fn nothing_can_be_taken_without_end(backend: Backend) {
    hold(Place::Small, backend, SandboxPurpose::Work).await;
}

/// Runs all probes that are for this kind of place, backend, phase and user, and panics with a
/// report of those that were not held.
async fn hold(place: Place, backend: Backend, phase: SandboxPurpose) {
    let mut host = Host::plant();
    let open =
        async |host: &Host| Room::open(backend.sandbox(), backend, backend.spec(place, phase, host)).await;
    let mut room = open(&host).await;
    let mut broken = Vec::new();
    for (group, probe) in probes(place, backend, phase) {
        broken.extend(room.try_out(&mut host, group, probe).await);
        if place == Place::Small {
            // What was taken and not given back is the next one's no more.
            std::mem::replace(&mut room, open(&host).await).close().await;
        }
    }
    room.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes were not held:\n\n{}\n", broken.len(), broken.join("\n\n"));
}

/// Those that are for this process' user.
pub fn probes(
    place: Place,
    backend: Backend,
    phase: SandboxPurpose,
) -> impl Iterator<Item = (&'static Group, &'static Probe)> {
    let groups = groups().iter().filter(move |group| group.place == place);
    groups
        .flat_map(|group| group.probe.iter().map(move |probe| (group, probe)))
        .filter(move |(_, probe)| probe.is_for(backend, phase, is_root()))
}
