-- When an event was imported; NULL for those that were received. Such an event tells a time of receipt of its own, and its id must be
-- claimed from the import on when the index is made anew (state.rs, rebuild).
ALTER TABLE events ADD COLUMN imported_at TIMESTAMP;
