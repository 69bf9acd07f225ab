//! A gate at which requests wait until a story opens it, so that a story can act at a known moment.

use tokio::sync::watch;

/// Closed until it is opened, and open from then on.
pub(crate) struct Gate {
    is_open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { is_open: watch::Sender::new(false) }
    }
}

impl Gate {
    /// Lets through all that waits and all that comes.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.is_open.receiver_count()
    }

    /// Returns when the gate is open.
    pub(crate) async fn opened(&self) {
        // An error means that the gate was dropped: there is nothing to wait for.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gate_that_is_opened_lets_through_what_waits_and_what_comes() {
        let gate = std::sync::Arc::new(Gate::default());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.opened().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(gate.waiting(), 1);
        gate.open();
        waiting.await.unwrap();
        assert_eq!(gate.waiting(), 0);
        gate.opened().await;
    }
}
