//! What one job leaves behind is not visible to the next one, or to a concurrent one.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::data::{Place, ProbePhase, is_like};
use super::host::Host;
use super::probes::probes;
use super::room::{self, ProbedSandbox};
use crate::backends::Backend;

on_every_backend! {
    job_leaves_nothing_to_the_next_one_or_a_concurrent_one,
}

async fn job_leaves_nothing_to_the_next_one_or_a_concurrent_one(backend: Backend) {
    let mut host = Host::plant();
    let open = async |host: &Host| {
        ProbedSandbox::open(
            backend.sandbox(),
            backend,
            room::spec(backend, Place::Successive, ProbePhase::Work, host),
        )
        .await
    };
    let mut first = open(&host).await;
    let mut broken = Vec::new();
    let (held, ended): (Vec<_>, Vec<_>) = probes(Place::Successive, backend, ProbePhase::Work)
        .partition(|(_, probe)| probe.before.as_ref().unwrap().starts_with("prober hold"));
    for (_, probe) in &ended {
        first.run(&host, probe.before.as_ref().unwrap()).await;
        // The probe must see it in the same sandbox.
        let output = first.run(&host, &probe.attack).await;
        let is_setting = probe.name == "left-as-a-limit-or-setting";
        if is_like(probe.held(backend, ProbePhase::Work), &output) && !is_setting {
            broken.push(format!("{}: it is not visible in the same sandbox either: {output}", probe.name));
        }
    }
    let mut second = open(&host).await;
    {
        let begun: Vec<Notify> = held.iter().map(|_| Notify::new()).collect();
        let commands = held.iter().zip(&begun);
        let holding: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = commands
            .map(|((_, probe), begun)| {
                Box::pin(first.hold(&host, probe.before.as_ref().unwrap(), begun)) as _
            })
            .collect();
        let neighbour = async {
            join_all(begun.iter().map(Notify::notified)).await;
            let mut seen = Vec::new();
            for (_, probe) in &held {
                seen.push((probe, first.run_concurrently(&host, &probe.attack).await));
            }
            let mut reports = Vec::new();
            for (probe, answer) in seen {
                if is_like(probe.held(backend, ProbePhase::Work), &answer) {
                    reports
                        .push(format!("{}: nothing is seen of it in the same sandbox: {answer}", probe.name));
                }
                let answer = second.run_concurrently(&host, &probe.attack).await;
                if !is_like(probe.held(backend, ProbePhase::Work), &answer) {
                    reports.push(format!("{} (beside a neighbour): it answered: {answer}", probe.name));
                }
            }
            reports
        };
        tokio::select! {
            _ = join_all(holding) => unreachable!("they hold until they are dropped"),
            reports = neighbour => broken.extend(reports),
        }
    }
    for (group, probe) in &ended {
        broken.extend(second.try_out(&mut host, group, probe).await);
    }
    first.close().await;
    let mut third = open(&host).await;
    for (group, probe) in held.iter().chain(&ended) {
        broken.extend(third.try_out(&mut host, group, probe).await);
    }
    second.close().await;
    third.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes were not held:\n\n{}\n", broken.len(), broken.join("\n\n"));
}
