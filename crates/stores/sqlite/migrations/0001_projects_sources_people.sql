-- Ids are hyphenated UUIDs, times RFC 3339 in UTC, truth values 0 and 1: readable in the sqlite3 shell.

create table projects (
    id text not null primary key,
    name text not null,
    public_api_key text not null unique,
    private_api_key text not null unique,
    is_active integer not null check (is_active in (0, 1)),
    rate_limit_per_minute integer,
    monthly_event_quota integer,
    retention_days integer,
    aggregation_retention_days integer,
    cors_allowed_origins text not null, -- a JSON array of texts
    sampling_enabled integer not null check (sampling_enabled in (0, 1)),
    sampling_rate real not null,
    sampling_strategy text not null,
    time_zone text not null,
    cookie_identification integer not null check (cookie_identification in (0, 1)),
    created_at text not null,
    updated_at text not null
) strict;

create table sources (
    id text not null primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    description text not null,
    is_active integer not null check (is_active in (0, 1)),
    rate_limit_per_minute integer,
    sampling_enabled integer check (sampling_enabled in (0, 1)),
    sampling_rate real,
    sampling_strategy text,
    created_at text not null,
    unique (project_id, name)
) strict;

create table people (
    id text not null primary key,
    email text not null,
    email_key text not null unique, -- e-mail in lower case: unique without regard to case, in every script
    is_superuser integer not null check (is_superuser in (0, 1)),
    password_hash text not null,
    created_at text not null
) strict;

-- One row that counts every change of the tables above, whoever makes it: servers and commands learn from it
-- that what they hold in memory is old. Triggers, so that an edit in the sqlite3 shell counts as well.
create table changes (
    only_row integer not null primary key check (only_row = 1),
    count integer not null
) strict;
insert into changes (only_row, count) values (1, 0);

create trigger projects_inserted after insert on projects begin update changes set count = count + 1; end;
create trigger projects_updated after update on projects begin update changes set count = count + 1; end;
create trigger projects_deleted after delete on projects begin update changes set count = count + 1; end;
create trigger sources_inserted after insert on sources begin update changes set count = count + 1; end;
create trigger sources_updated after update on sources begin update changes set count = count + 1; end;
create trigger sources_deleted after delete on sources begin update changes set count = count + 1; end;
create trigger people_inserted after insert on people begin update changes set count = count + 1; end;
create trigger people_updated after update on people begin update changes set count = count + 1; end;
create trigger people_deleted after delete on people begin update changes set count = count + 1; end;
