-- Commands that people gave in comments, until they are carried out and answered. A comment counts
-- once, however often GitHub tells of it.
CREATE TABLE asks (
    id TEXT PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    comment_id BIGINT NOT NULL,
    ask_json TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    available_at BIGINT NOT NULL,
    done_at BIGINT,
    -- What came of it, for whoever looks.
    result TEXT,
    UNIQUE (repository_id, comment_id)
);
CREATE INDEX asks_due ON asks (available_at, received_at) WHERE done_at IS NULL;
