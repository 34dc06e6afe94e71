-- Machines, the devices bound to them, what people changed.
create sequence machine_revision;

create table machines (
  id text primary key check (id ~ '^[A-Za-z0-9._-]{1,64}$'),
  type text not null,
  model text,
  serial text,
  customer text,
  site text,
  region text,
  time_zone text not null default 'UTC',
  delivered_at timestamptz,
  contacts jsonb not null default '[]',
  language text not null default 'en' check (language in ('en', 'zh')),
  state text not null check (state in ('unassigned', 'in_service', 'parked', 'workshop', 'retired')),
  merged_into text references machines (id),
  created_at timestamptz not null default now(),
  -- rises with every change, so that the stages can fetch what changed
  revision bigint not null default nextval('machine_revision')
);
create index machines_revision on machines (revision);

-- Where no row holds, a device belongs to the machine of its own name. `bound_to` is exclusive. A row is never
-- changed: a rebind replaces it, and by rows for what is left of its time.
create table bindings (
  id bigint generated always as identity primary key,
  device text not null,
  machine text not null references machines (id),
  bound_from timestamptz,
  bound_to timestamptz,
  bound_by text not null,
  reason text,
  created_at timestamptz not null default now(),
  replaced_at timestamptz,
  revision bigint not null default nextval('machine_revision'),
  check (bound_from < bound_to)
);
create index bindings_device on bindings (device);
create index bindings_revision on bindings (revision);

-- Stored readings that were found to belong to another machine, until they are moved.
create table history_moves (
  id bigint generated always as identity primary key,
  from_machine text not null,
  to_machine text not null references machines (id),
  measured_from timestamptz,
  measured_to timestamptz,
  moved_at timestamptz
);

-- What the stages know of a machine from its own messages; written with the spool position.
create table machine_status (
  machine text primary key references machines (id),
  last_seen_at timestamptz,
  newest_measured_at timestamptz,
  online boolean,
  latitude double precision,
  longitude double precision,
  position_at timestamptz,
  service_hours double precision,
  service_hours_source text,
  service_hours_at timestamptz,
  volume_m3 double precision
);

-- State of features and detection per machine, committed together with the alarms it led to and the spool position.
create table stage_state (
  machine text primary key references machines (id),
  state jsonb not null
);

-- How far the stages have got in the spool: everything before it is judged and recorded.
create table spool_progress (
  only_row boolean primary key default true check (only_row),
  position bigint not null
);

create table rule_overrides (
  id bigint generated always as identity primary key,
  scope text not null check (scope in ('type', 'model', 'site', 'machine')),
  scope_id text not null,
  rule text not null,
  parameter text not null,
  value double precision not null,
  reason text not null,
  changed_by text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  withdrawn_at timestamptz,
  withdrawn_by text,
  withdrawn_because text,
  revision bigint not null default nextval('machine_revision')
);
create index rule_overrides_revision on rule_overrides (revision);

create table data_quality_events (
  id bigint generated always as identity primary key,
  machine text not null references machines (id),
  signal text,
  kind text not null,
  at timestamptz not null,
  value double precision,
  previous double precision,
  detail text not null,
  confirmed_at timestamptz,
  confirmed_by text,
  resolution text,
  unique (machine, signal, kind, at)
);

create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  by text not null,
  action text not null,
  subject text not null,
  before jsonb,
  after jsonb,
  reason text
);

create table quarantine (
  id bigint generated always as identity primary key,
  -- where it stood in the spool and its place in the message, so that a repeated judgement keeps one entry
  position bigint not null,
  item integer not null,
  received_at timestamptz not null,
  topic text not null,
  reason text not null,
  detail text not null,
  bytes bytea not null,
  state text not null default 'held' check (state in ('held', 'replayed', 'discarded')),
  decided_at timestamptz,
  decided_by text,
  unique (position, item)
);
create index quarantine_held on quarantine (id) where state = 'held';
