-- Text of events is compared and sorted by its bytes, whatever the database's locale.

-- Tenants by number: 4 bytes instead of 16 in every event and its index entry. `users_next`: the number of the project's next user.
create table event_projects (
    number integer generated always as identity primary key,
    id uuid not null unique,
    users_next integer not null default 0
);

-- The dense number of each user of a project.
create table event_users (
    project integer not null,
    user_id text collate "C" not null,
    uid integer not null,
    primary key (project, user_id) include (uid)
);

-- One partition for each month of event time, and one for all times before 2000 and after 2099 each. No default partition: what has
-- no partition gets one first. `properties` is json, not jsonb: it keeps the text that the client sent.
-- Columns of fixed length come first, so that none is padded.
create table events (
    id uuid not null,
    timestamp timestamp not null,
    received_at timestamp not null,
    project_id integer not null, -- event_projects.number
    uid integer not null,
    event_id text collate "C",
    event_source text collate "C",
    event_name text collate "C" not null,
    user_id text collate "C" not null,
    session_id text collate "C" not null,
    properties json not null,
    ip_address text collate "C",
    user_agent text collate "C",
    path text collate "C",
    hostname text collate "C",
    referrer_host text collate "C",
    utm_source text collate "C",
    utm_medium text collate "C",
    utm_campaign text collate "C",
    utm_term text collate "C",
    utm_content text collate "C",
    country text collate "C",
    browser text collate "C",
    browser_version text collate "C",
    os text collate "C",
    device text collate "C"
) partition by range (timestamp);

-- The one index: ranges of time, pages, look-ups of imports, deletion.
create index events_project_time on events (project_id, timestamp, id);

-- A project's events, as statements select from them: unlike a subquery a function needs no alias. Inlined by the planner.
create function project_events(project integer) returns setof events language sql stable as
    'select * from events where project_id = $1';

-- The partitions that are attached. `deleted`: rows deleted since it was last written anew.
create table event_partitions (
    month integer primary key, -- months since year 0; 0: all before, 2147483647: all after
    name text not null unique,
    deleted bigint not null default 0
);

-- Rows by project and partition: what is where, without counting.
create table event_counts (
    project integer not null,
    month integer not null,
    count bigint not null,
    primary key (project, month)
) with (fillfactor = 50);

-- Where events ended, by project (its id: the ledger outlives the project's rows) and UTC day of receipt.
create table ledger (
    project_id uuid not null,
    day integer not null,
    outcome text collate "C" not null,
    count bigint not null,
    primary key (project_id, day, outcome)
) with (fillfactor = 50);

-- How far each queue has been stored; null: seen, nothing stored. Its row is the lock of the queue.
create table checkpoints (
    queue uuid primary key,
    position bigint
) with (fillfactor = 50);
