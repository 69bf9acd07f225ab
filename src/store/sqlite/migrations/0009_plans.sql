-- The plan that was last used for a repository. `plan` stands for its commands and their sources.
CREATE TABLE plans (
    repository_id INTEGER PRIMARY KEY,
    plan          TEXT    NOT NULL,
    at            INTEGER NOT NULL
) STRICT;
