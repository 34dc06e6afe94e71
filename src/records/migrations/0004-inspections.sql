-- What the hour ledger of each machine says, written by the stages together with their state.
create table service_ledgers (
  machine text primary key references machines (id),
  -- null: no counter, no running time and no meter reading known yet
  hours double precision,
  source text,
  at timestamptz,
  -- the first hour reading: what lies before it is unknown
  start_hours double precision,
  start_at timestamptz,
  volume_m3 double precision,
  start_volume_m3 double precision,
  -- use of the last 31 days: [[UTC day as YYYY-MM-DD, hours, covered ms], …], and the same in m³
  hours_use jsonb not null default '[]',
  volume_use jsonb not null default '[]',
  -- every counter the machine sends: {signal: {value, at, inDoubt}}
  counters jsonb not null default '{}'
);

-- What people say about counters; the stages apply it and say when.
create table counter_corrections (
  id bigint generated always as identity primary key,
  machine text not null references machines (id),
  kind text not null check (kind in ('doubt', 'meter')),
  -- of a doubt: the data-quality event that is decided
  event bigint references data_quality_events (id),
  signal text,
  resolution text check (resolution in ('accept', 'continue', 'set')),
  -- of a meter reading, or what a counter shall be set to
  value double precision,
  at timestamptz not null,
  by text not null,
  note text,
  created_at timestamptz not null default now(),
  applied_at timestamptz,
  check (kind = 'meter' or (event is not null and signal is not null and resolution is not null)),
  check (value is not null or (kind = 'doubt' and resolution <> 'set'))
);
create index counter_corrections_pending on counter_corrections (id) where applied_at is null;
-- one doubt is decided once
create unique index counter_corrections_event on counter_corrections (event);

-- Where a machine stands in its programme, and when that has to be looked at again.
create table programme_checks (
  machine text primary key references machines (id),
  -- when the programme began to watch this machine: calendar points before it are unknown
  joined_at timestamptz not null,
  -- of the machine's record and of the catalogue's tasks, as they were looked at; null: not looked at yet
  revision bigint,
  tasks_digest text,
  start_hours double precision,
  start_volume_m3 double precision,
  next_hours double precision,
  next_volume_m3 double precision,
  next_at timestamptz
);

-- Visits: what stands or will stand as one appointment, of one performer.
create table inspections (
  number bigint generated always as identity,
  id text generated always as ('I-' || lpad(number::text, greatest(6, length(number::text)), '0')) stored primary key,
  machine text not null references machines (id),
  performer text not null check (performer in ('customer', 'service')),
  state text not null check (state in ('unknown', 'upcoming', 'open', 'overdue', 'done', 'skipped')),
  due_hours double precision,
  due_m3 double precision,
  -- the calendar's or the forecast date, whichever is first; null: not known
  due_at timestamptz,
  window_opens_at timestamptz,
  reminded_at timestamptz,
  desk_received_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index inspections_number on inspections (number);
-- the order of lists: what people were told of first, then what will come
create index inspections_order on inspections (reminded_at desc nulls last, number);
create index inspections_machine on inspections (machine, number);
create index inspections_state on inspections (state, number);

-- Due points of tasks. (machine, task, n) is reminded of once, whatever crashes.
create table inspection_items (
  machine text not null references machines (id),
  task text not null,
  -- from 1: the one-time points in their order, then the recurring ones
  n integer not null,
  inspection text not null references inspections (id),
  recurring boolean not null,
  state text not null check (state in ('unknown', 'upcoming', 'open', 'overdue', 'done', 'skipped')),
  due_hours double precision,
  due_m3 double precision,
  -- by the calendar
  due_at timestamptz,
  -- from which date, and after how many intervals, the calendar counts
  calendar_from timestamptz,
  calendar_n integer,
  -- from the mean use
  forecast_at timestamptz,
  window_opens_hours double precision,
  window_closes_hours double precision,
  window_opens_at timestamptz,
  -- when the due point was passed, and at what counter
  reached_at timestamptz,
  reached_hours double precision,
  reached_m3 double precision,
  reminded_at timestamptz,
  primary key (machine, task, n)
);
create index inspection_items_inspection on inspection_items (inspection);
