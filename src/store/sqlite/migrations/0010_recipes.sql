-- The commands of a plan that the setup agent found, as JSON.
ALTER TABLE plans ADD COLUMN recipe TEXT;
