-- One for each proposal; what was kept first stays.
CREATE TABLE manifests (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    manifest_json TEXT NOT NULL,
    at BIGINT NOT NULL
);
