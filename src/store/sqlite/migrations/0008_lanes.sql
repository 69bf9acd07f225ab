-- A payload counts once, whatever the id of its delivery, which is not signed.
CREATE INDEX deliveries_by_payload ON deliveries (payload_sha256, received_at);
CREATE INDEX deliveries_by_age ON deliveries (received_at);

-- In each installation's queue, `stop` never waits for anything else (0), and people who are not known to belong to
-- the repository (2) never delay anybody who is (1).
ALTER TABLE asks ADD COLUMN lane BIGINT NOT NULL DEFAULT 1;
CREATE INDEX asks_of_lane ON asks (lane, installation_id, available_at) WHERE done_at IS NULL;
CREATE INDEX asks_of_repository ON asks (repository_id, lane, received_at);
CREATE INDEX asks_by_age ON asks (done_at) WHERE done_at IS NOT NULL;
