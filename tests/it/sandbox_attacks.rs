//! Attacks from inside a sandbox, and that they fail. The attacks are data in `fixtures/sandbox`; this module
//! runs and judges them: on each backend, in each phase, with a service that runs as root and with one that
//! does not. If a defence is removed, the tests must notice it.

/// A test of each named story for each backend.
macro_rules! on_every_backend {
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
