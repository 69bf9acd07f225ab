//! What somebody hostile inside a sandbox tries, and that it comes to nothing. The attempts are data
//! in `fixtures/sandbox`; here is how they are run and judged: over each backend, in each phase, by a
//! service that runs as root and by one that does not. A defence that is taken away must be noticed.

/// A test of each named story for each backend.
macro_rules! held_by_every_backend {
    ($($story:ident),* $(,)?) => {
        mod bubblewrap {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::sandbox_attacks::room::Backend::Bubblewrap).await;
            })*
        }
        mod docker {
            $(#[tokio::test]
            #[ignore = "needs Docker"]
            async fn $story() {
                super::$story(crate::sandbox_attacks::room::Backend::Docker).await;
            })*
        }
    };
}

mod as_somebody_else;
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
