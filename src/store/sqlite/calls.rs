//! Model calls in SQLite: their reservations, their costs, and the sum of a day's calls. A reservation is
//! written in the transaction that checked the daily caps.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::{Claim, StoreError, UnsettledCall};
use super::rows::{milliseconds, timestamp};
use super::{SqliteStore, Tx, signed};
use crate::domain::{
    BudgetScope, CallCost, DAY, DailyCap, DailyCapReached, DailyCaps, Job, JobId, RecentCall, WorstCase,
    micro_usd,
};

impl SqliteStore {
    pub(in crate::store) async fn write_reservation(
        &self,
        claim: &Claim,
        model: &str,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        if let Err(reached) = self.check_daily_caps(&mut tx, &claim.job, worst, caps, now).await? {
            return Ok(Err(reached));
        }
        self.insert_call(&mut tx, claim, model, now, None, &Amounts::of_worst_case(worst)).await?;
        tx.commit().await.map_err(self.failed("reserving a model call"))?;
        Ok(Ok(()))
    }

    /// Whether the call fits every cap, together with what its day's calls cost or may cost.
    pub(in crate::store) async fn check_daily_caps(
        &self,
        tx: &mut Tx,
        job: &Job,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        let at = &job.trigger.repository;
        let scopes = [
            (BudgetScope::Repository, caps.repository, "repository_id", at.id.0),
            (BudgetScope::Installation, caps.installation, "installation_id", at.installation.0),
        ];
        for (scope, cap, column, id) in scopes {
            if cap == DailyCap::default() {
                continue;
            }
            let calls = self.calls_of_day(tx, column, signed(id), now).await?;
            if let Err(reached) = cap.check(scope, &calls, worst) {
                return Ok(Err(reached));
            }
        }
        Ok(Ok(()))
    }

    async fn calls_of_day(
        &self,
        tx: &mut Tx,
        column: &'static str,
        id: i64,
        now: Timestamp,
    ) -> Result<Vec<RecentCall>, StoreError> {
        // Calls from the future, after the clock was set back, count too.
        let sql = format!(
            "SELECT at, COALESCE(micro_usd, 0) AS micro_usd,
                 input_tokens + output_tokens + cache_read_tokens + cache_write_tokens AS tokens
             FROM calls WHERE {column} = $1 AND at > $2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .bind(milliseconds(now - DAY))
            .fetch_all(&mut **tx)
            .await
            .map_err(self.failed("summing a day's model calls"))?;
        rows.iter().map(|row| day_call(row).map_err(self.unreadable("model call"))).collect()
    }

    async fn insert_call(
        &self,
        tx: &mut Tx,
        claim: &Claim,
        model: &str,
        now: Timestamp,
        sequence: Option<i64>,
        amounts: &Amounts,
    ) -> Result<(), StoreError> {
        let at = &claim.job.trigger.repository;
        sqlx::query(
            "INSERT INTO calls (job_id, number, epoch, sequence, repository_id, installation_id, at, model,
                 input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, micro_usd)
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
             FROM calls WHERE job_id = $1",
        )
        .bind(claim.job.id.to_string())
        .bind(claim.epoch)
        .bind(sequence)
        .bind(signed(at.id.0))
        .bind(signed(at.installation.0))
        .bind(milliseconds(now))
        .bind(model)
        .bind(tokens(amounts.input_tokens))
        .bind(tokens(amounts.output_tokens))
        .bind(tokens(amounts.cache_read_tokens))
        .bind(tokens(amounts.cache_write_tokens))
        .bind(amounts.micro_usd.map(signed))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("recording a model call"))?;
        Ok(())
    }

    /// Records the cost of the job's open call. A cost without a reservation is recorded too, because it was
    /// spent.
    pub(in crate::store) async fn settle(
        &self,
        tx: &mut Tx,
        claim: &Claim,
        sequence: i64,
        cost: &CallCost<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let amounts = Amounts::of(cost);
        let settled = sqlx::query(
            "UPDATE calls SET sequence = $2, model = $3, input_tokens = $4, output_tokens = $5,
                 cache_read_tokens = $6, cache_write_tokens = $7, micro_usd = $8
             WHERE job_id = $1 AND sequence IS NULL",
        )
        .bind(claim.job.id.to_string())
        .bind(sequence)
        .bind(cost.model)
        .bind(tokens(amounts.input_tokens))
        .bind(tokens(amounts.output_tokens))
        .bind(tokens(amounts.cache_read_tokens))
        .bind(tokens(amounts.cache_write_tokens))
        .bind(amounts.micro_usd.map(signed))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("recording the cost of a model call"))?;
        match settled.rows_affected() {
            0 => self.insert_call(tx, claim, cost.model, now, Some(sequence), &amounts).await,
            _ => Ok(()),
        }
    }

    pub(in crate::store) async fn delete_reservation(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        sqlx::query("DELETE FROM calls WHERE job_id = $1 AND sequence IS NULL")
            .bind(claim.job.id.to_string())
            .execute(&mut *tx)
            .await
            .map_err(self.failed("cancelling a model call"))?;
        tx.commit().await.map_err(self.failed("cancelling a model call"))
    }

    pub(in crate::store) async fn read_unsettled_call(
        &self,
        job: JobId,
    ) -> Result<Option<UnsettledCall>, StoreError> {
        let row = sqlx::query(
            "SELECT model, input_tokens, output_tokens, micro_usd FROM calls
             WHERE job_id = $1 AND sequence IS NULL",
        )
        .bind(job.to_string())
        .fetch_optional(self.pool())
        .await
        .map_err(self.failed("looking up an unsettled model call"))?;
        row.map(|row| unsettled_call(&row).map_err(self.unreadable("model call"))).transpose()
    }
}

/// No call has more tokens. A provider that reports more must not overflow the sums.
const TOKENS_MAX: u64 = 1 << 50;

/// The numbers of a row of `calls`.
struct Amounts {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    micro_usd: Option<u64>,
}

impl Amounts {
    fn of_worst_case(worst: WorstCase) -> Self {
        Self {
            input_tokens: worst.input_tokens,
            output_tokens: worst.output_tokens,
            cache_read_tokens: 0,
            cache_write_tokens: 0,
            micro_usd: worst.usd.map(micro_usd),
        }
    }

    fn of(cost: &CallCost<'_>) -> Self {
        Self {
            input_tokens: cost.usage.input_tokens,
            output_tokens: cost.usage.output_tokens,
            cache_read_tokens: cost.usage.cache_read_tokens,
            cache_write_tokens: cost.usage.cache_write_tokens,
            micro_usd: cost.usd.map(micro_usd),
        }
    }
}

fn tokens(count: u64) -> i64 {
    signed(count.min(TOKENS_MAX))
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, String> {
    let number: i64 = row.try_get(column).map_err(|error| format!("column {column}: {error}"))?;
    u64::try_from(number).map_err(|_| format!("column {column}: {number}"))
}

fn day_call(row: &SqliteRow) -> Result<RecentCall, String> {
    let at: i64 = row.try_get("at").map_err(|error| format!("column at: {error}"))?;
    Ok(RecentCall { at: timestamp(at)?, micro_usd: count(row, "micro_usd")?, tokens: count(row, "tokens")? })
}

fn unsettled_call(row: &SqliteRow) -> Result<UnsettledCall, String> {
    let micro: Option<i64> =
        row.try_get("micro_usd").map_err(|error| format!("column micro_usd: {error}"))?;
    Ok(UnsettledCall {
        model: row.try_get("model").map_err(|error| format!("column model: {error}"))?,
        worst: WorstCase {
            input_tokens: count(row, "input_tokens")?,
            output_tokens: count(row, "output_tokens")?,
            usd: micro.map(|micro| micro as f64 / 1e6),
        },
    })
}

#[cfg(test)]
mod tests;
