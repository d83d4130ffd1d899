-- One row per store: who it is, and when it was last opened (see index::Identity).
CREATE TABLE identity (store UUID, session UUID);

-- Tenants by number. `users_next`: no number below it may be given to another user of the project.
CREATE TABLE projects (number UINTEGER, id UUID, users_next UINTEGER);

-- No key and no index: duplicates are kept out before they get here (docs/decisions/event-store.md).
-- `project_id` holds projects.number: a UUID column that repeats is bit-packed, and unpacking it costs more than the rest of a query.
-- `id` is not compressed for the same reason.
CREATE TABLE events (
    id UUID USING COMPRESSION uncompressed,
    project_id UINTEGER,
    event_id VARCHAR,
    event_source VARCHAR,
    event_name VARCHAR,
    user_id VARCHAR,
    uid UINTEGER,
    session_id VARCHAR,
    properties JSON USING COMPRESSION zstd,
    timestamp TIMESTAMP,
    received_at TIMESTAMP,
    ip_address VARCHAR,
    user_agent VARCHAR,
    path VARCHAR,
    hostname VARCHAR,
    referrer_host VARCHAR,
    utm_source VARCHAR,
    utm_medium VARCHAR,
    utm_campaign VARCHAR,
    utm_term VARCHAR,
    utm_content VARCHAR,
    country VARCHAR,
    browser VARCHAR,
    browser_version VARCHAR,
    os VARCHAR,
    device VARCHAR
);

-- Where events ended, by project (its id: the ledger outlives the project's rows) and UTC day of receipt.
CREATE TABLE ledger (project_id UUID, day INTEGER, outcome VARCHAR, count UBIGINT);

-- How far each queue has been stored.
CREATE TABLE checkpoints (queue UUID, position UBIGINT);

-- What appends have to say to the tables above and to projects.users_next, one row per fact; each row fills one of the three groups.
-- Folded into them with every checkpoint (append/progress.rs).
CREATE TABLE progress (
    queue UUID,
    position UBIGINT,
    project_id UUID,
    day INTEGER,
    outcome VARCHAR,
    count UBIGINT,
    project UINTEGER,
    users_next UINTEGER
);
