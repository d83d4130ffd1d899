-- Times are UTC, as microseconds tell them (timestamp without time zone everywhere).

create table projects (
    id uuid primary key,
    name text not null,
    public_api_key text not null unique,
    private_api_key text not null unique,
    is_active boolean not null,
    rate_limit_per_minute bigint,
    monthly_event_quota bigint,
    retention_days bigint,
    aggregation_retention_days bigint,
    cors_allowed_origins text[] not null,
    sampling_enabled boolean not null,
    sampling_rate double precision not null,
    sampling_strategy text not null,
    time_zone text not null,
    cookie_identification boolean not null,
    created_at timestamp not null,
    updated_at timestamp not null
);

create table sources (
    id uuid primary key,
    project_id uuid not null references projects (id) on delete cascade,
    name text collate "C" not null,
    description text not null,
    is_active boolean not null,
    rate_limit_per_minute bigint,
    sampling_enabled boolean,
    sampling_rate double precision,
    sampling_strategy text,
    created_at timestamp not null,
    unique (project_id, name)
);

create table people (
    id uuid primary key,
    email text not null,
    email_key text collate "C" not null unique, -- e-mail in lower case: unique without regard to case, in every script
    is_superuser boolean not null,
    password_hash text not null,
    created_at timestamp not null
);

-- One row that counts every change of the tables above, whoever makes it: servers and commands learn from it that what they hold in memory
-- is old. Triggers, so that an edit in psql counts as well. A sequence would not do: it moves before the change is visible.
create table changes (
    only_row integer primary key check (only_row = 1),
    count bigint not null
);
insert into changes (only_row, count) values (1, 0);

create function count_change() returns trigger language plpgsql as
    'begin update changes set count = count + 1; return null; end';

create trigger projects_changed after insert or update or delete on projects for each row execute function count_change();
create trigger sources_changed after insert or update or delete on sources for each row execute function count_change();
create trigger people_changed after insert or update or delete on people for each row execute function count_change();
