-- Times are milliseconds since 1970-01-01 UTC. Identifiers are text. Both SQLite and PostgreSQL
-- accept every type and clause used here.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    issue_number BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    trigger_json TEXT NOT NULL,
    state TEXT NOT NULL,
    is_final BIGINT NOT NULL DEFAULT 0,
    outcome_json TEXT,
    cancel_why TEXT,
    -- A trigger that came while the job was being called off: the next job, once this one has ended.
    restart_json TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    available_at BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0,
    epoch BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    UNIQUE (repository_id, issue_number, generation)
);
-- One job at a time for an issue, whatever arrives how often.
CREATE UNIQUE INDEX jobs_one_active ON jobs (repository_id, issue_number) WHERE is_final = 0;
CREATE INDEX jobs_claimable ON jobs (available_at, created_at) WHERE is_final = 0;

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    event TEXT NOT NULL,
    action TEXT,
    payload_sha256 TEXT NOT NULL,
    request_json TEXT,
    job_id TEXT REFERENCES jobs (id),
    received_at BIGINT NOT NULL
);

-- Append-only: no statement in this module updates or deletes a row.
CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    sequence BIGINT NOT NULL,
    at BIGINT NOT NULL,
    event_json TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
);

-- What was done to the world, so that it is done once. A row without a reference was begun and
-- perhaps not finished: look there before doing it again.
CREATE TABLE effects (
    repository_id BIGINT NOT NULL,
    issue_number BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    kind TEXT NOT NULL,
    reference TEXT,
    begun_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (repository_id, issue_number, generation, kind)
);

-- One row for each model call, from the provider's own count.
CREATE TABLE spend (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    sequence BIGINT NOT NULL,
    repository_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    model TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    micro_usd BIGINT,
    PRIMARY KEY (job_id, sequence)
);
CREATE INDEX spend_by_repository ON spend (repository_id, at);
