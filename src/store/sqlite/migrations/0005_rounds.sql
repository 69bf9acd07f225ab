-- Reviews and comments at lines ask for something, too; GitHub counts the ids of each kind by themselves.
CREATE TABLE asks_of_all_kinds (
    id TEXT PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    said_in TEXT NOT NULL,
    comment_id BIGINT NOT NULL,
    ask_json TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    available_at BIGINT NOT NULL,
    done_at BIGINT,
    result TEXT,
    UNIQUE (repository_id, said_in, comment_id)
);
INSERT INTO asks_of_all_kinds (id, repository_id, said_in, comment_id, ask_json, received_at, available_at, done_at, result)
SELECT id, repository_id, 'comment', comment_id, ask_json, received_at, available_at, done_at, result FROM asks;
DROP TABLE asks;
ALTER TABLE asks_of_all_kinds RENAME TO asks;
CREATE INDEX asks_due ON asks (available_at, received_at) WHERE done_at IS NULL;

-- One manifest for each round that proposed something.
CREATE TABLE manifests_of_rounds (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    round BIGINT NOT NULL,
    manifest_json TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (job_id, round)
);
INSERT INTO manifests_of_rounds (job_id, round, manifest_json, at) SELECT job_id, 1, manifest_json, at FROM manifests;
DROP TABLE manifests;
ALTER TABLE manifests_of_rounds RENAME TO manifests;

-- Which job opened a pull request.
CREATE INDEX effects_by_reference ON effects (repository_id, reference);
