-- Until when GitHub is asked nothing for an installation: its rate limit, which outlives the service.
CREATE TABLE pauses (
    installation_id BIGINT PRIMARY KEY,
    paused_until BIGINT NOT NULL
);
