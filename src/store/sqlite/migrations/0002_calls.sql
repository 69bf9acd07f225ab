-- One row for each model call. It is made before the call, with the most that the call can cost, and
-- changed once, by the event that says what it did cost; until then `sequence` is null. A row that
-- nobody changes goes on counting as the most: the provider may have billed it.
CREATE TABLE calls (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    -- The event of the job's transcript that tells of it.
    sequence BIGINT,
    repository_id BIGINT NOT NULL,
    installation_id BIGINT NOT NULL,
    -- When it was about to be made.
    at BIGINT NOT NULL,
    model TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    -- Null where the model has no price.
    micro_usd BIGINT,
    PRIMARY KEY (job_id, number)
);
-- A job has one call at a time.
CREATE UNIQUE INDEX calls_one_open ON calls (job_id) WHERE sequence IS NULL;
CREATE INDEX calls_by_repository ON calls (repository_id, at);
CREATE INDEX calls_by_installation ON calls (installation_id, at);

-- What was spent before there were caps for installations counts for none.
INSERT INTO calls (job_id, number, epoch, sequence, repository_id, installation_id, at, model,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, micro_usd)
SELECT job_id, sequence, 0, sequence, repository_id, -1, at, model,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, micro_usd
FROM spend;
DROP TABLE spend;
