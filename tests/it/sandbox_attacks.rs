//! Attacks from inside a sandbox, and that they fail. The attacks are data in `fixtures/sandbox`; this module
//! runs and judges them: on each backend, in each phase, with a service that runs as root and with one that
//! does not. If a defence is removed, the tests must notice it.

mod as_ordinary_user;
mod connected;
mod data;
mod host;
mod leftovers;
mod lies;
mod posture;
#[path = "sandbox_attacks/prober/main.rs"]
#[expect(dead_code, reason = "a program of its own, compiled here to be held to the house rules")]
mod prober;
mod probes;
mod room;
mod weakened;
mod without_a_sandbox;
