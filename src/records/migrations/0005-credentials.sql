-- Who may log in at the embedded broker, and what for. A row is never deleted: where there is one, nobody connects
-- without logging in.
create table credentials (
  -- the user name; what stands in its topics too
  id text primary key check (id ~ '^[A-Za-z0-9._-]{1,64}$'),
  kind text not null check (kind in ('machine', 'gateway', 'bridge')),
  -- how its secret is checked, never the secret; null: it has none and shows a certificate
  verifier text,
  connections integer check (connections > 0),
  messages_per_second double precision check (messages_per_second > 0),
  packet_bytes integer check (packet_bytes > 0),
  created_at timestamptz not null,
  created_by text not null,
  rotated_at timestamptz,
  rotated_by text,
  revoked_at timestamptz,
  revoked_by text,
  -- when it logged in last, at most once an hour
  last_used_at timestamptz,
  revision bigint not null default nextval('machine_revision')
);
create index credentials_revision on credentials (revision);

-- For whom a bridge may publish; and a gateway, where it has any. They need not be registered.
create table credential_machines (
  credential text not null references credentials (id),
  machine text not null check (machine ~ '^[A-Za-z0-9._-]{1,64}$'),
  primary key (credential, machine)
);
