-- Who may do what one process at a time does. A row stays when its lease has ended, so that terms grow for ever. No trigger counts it among
-- the changes: it is renewed every few seconds, and nobody needs to read anything anew for it.
create table leases (
    name text primary key,
    holder text not null,
    term bigint not null,
    expires_at timestamp not null -- by the clock of this server
);
