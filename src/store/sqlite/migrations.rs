//! The schema's migrations. A released migration is never changed; a new one is added.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Every migration, in order.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "jobs", include_str!("migrations/0001_jobs.sql")),
    (2, "calls", include_str!("migrations/0002_calls.sql")),
    (3, "manifests", include_str!("migrations/0003_manifests.sql")),
    (4, "asks", include_str!("migrations/0004_asks.sql")),
    (5, "rounds", include_str!("migrations/0005_rounds.sql")),
    (6, "pauses", include_str!("migrations/0006_pauses.sql")),
    (7, "ask_queues", include_str!("migrations/0007_ask_queues.sql")),
    (8, "lanes", include_str!("migrations/0008_lanes.sql")),
    (9, "plans", include_str!("migrations/0009_plans.sql")),
    (10, "recipes", include_str!("migrations/0010_recipes.sql")),
];

/// Updates a database to the current schema.
pub(super) fn migrator() -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}
