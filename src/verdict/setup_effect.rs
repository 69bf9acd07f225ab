//! Whether the setup, not the source, makes a proposal's tests pass. A proposal that changes lock files or
//! manifests is judged with a setup of its own, and such a setup runs the proposal's scripts: they could
//! leave files behind that change what the tests see. So its tree is run once more with the base's setup.

use super::Verifier;
use super::comparison::{Comparison, Reference};
use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Flag, Sha};
use crate::testing::{SuiteError, run_suite};

impl Verifier<'_> {
    /// A flag if `tree` had a setup of its own and does not reach `reached` with the base's.
    pub(super) async fn flag_if_setup_decides(
        &self,
        tree: &Sha,
        reference: &Reference<'_>,
        reached: &Comparison,
    ) -> Result<Option<Flag>, SuiteError> {
        let mut paths = self.environment.own_setup_paths(tree).await?;
        if paths.is_empty() || !self.defences.base_setup {
            return Ok(None);
        }
        let holds = match self.environment.fresh_with_base_setup(tree, "base-setup").await? {
            Ok(toolbox) => {
                let run = run_suite(&toolbox, self.environment.settings()).await;
                self.environment.note_egress("base-setup", &toolbox);
                toolbox.shut_down().await;
                reference.compare(&self.defences.seen(run?)).is_ok_and(|found| found.fixes_all_of(reached))
            }
            Err(_) => false,
        };
        let count = paths.len() as u64;
        paths.truncate(FLAG_NAMES_MAX);
        Ok((!holds).then_some(Flag::SetupDecides { paths, count }))
    }
}
