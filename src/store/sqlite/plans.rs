//! The plan that was last used for each repository.

use jiff::Timestamp;
use sqlx::Row;

use super::rows::milliseconds;
use super::{SqliteStore, signed};
use crate::domain::RepositoryId;
use crate::store::{RememberedPlan, StoreError};

impl SqliteStore {
    /// As [`Store::remember_plan`](crate::store::Store::remember_plan).
    pub(super) async fn write_plan(
        &self,
        repository: RepositoryId,
        plan: &RememberedPlan,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let save = self.failed("saving a plan");
        let recipe = plan.recipe.as_ref().map(serde_json::to_string).transpose();
        let recipe = recipe.map_err(|error| save(sqlx::Error::Encode(error.into())))?;
        sqlx::query(
            "INSERT INTO plans (repository_id, plan, recipe, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository_id)
                 DO UPDATE SET plan = excluded.plan, recipe = excluded.recipe, at = excluded.at",
        )
        .bind(signed(repository.0))
        .bind(&plan.identity)
        .bind(recipe)
        .bind(milliseconds(now))
        .execute(self.pool())
        .await
        .map_err(&save)?;
        Ok(())
    }

    /// As [`Store::remembered_plan`](crate::store::Store::remembered_plan).
    pub(super) async fn read_plan(
        &self,
        repository: RepositoryId,
    ) -> Result<Option<RememberedPlan>, StoreError> {
        let read = self.failed("reading a plan");
        let row = sqlx::query("SELECT plan, recipe FROM plans WHERE repository_id = $1")
            .bind(signed(repository.0))
            .fetch_optional(self.pool())
            .await
            .map_err(&read)?;
        let Some(row) = row else { return Ok(None) };
        let recipe: Option<String> = row.try_get("recipe").map_err(&read)?;
        // Without it, the setup agent looks again.
        let recipe = recipe.and_then(|recipe| serde_json::from_str(&recipe).ok());
        Ok(Some(RememberedPlan { identity: row.try_get("plan").map_err(&read)?, recipe }))
    }
}
