-- Each installation has a queue of its own: what one does never delays another's commands.
ALTER TABLE asks ADD COLUMN installation_id BIGINT NOT NULL DEFAULT 0;
UPDATE asks SET installation_id = COALESCE(json_extract(ask_json, '$.repository.installation'), 0)
WHERE done_at IS NULL AND json_valid(ask_json);
CREATE INDEX asks_of_installation ON asks (installation_id, available_at) WHERE done_at IS NULL;
