-- Alarms with the states of ISA-18.2, and what happened to them.
create table alarms (
  number bigint generated always as identity,
  id text generated always as ('A-' || lpad(number::text, greatest(6, length(number::text)), '0')) stored primary key,
  machine text not null references machines (id),
  -- one alarm per machine and key: `<signal>.<high|low>`, `fault.<sa>.<spn>.<fmi>`, `no_data`
  key text not null,
  rule text not null,
  component text not null,
  failure_mode text not null,
  signal text,
  severity text not null check (severity in ('S1', 'S2', 'S3', 'S4')),
  state text not null check (state in ('unacknowledged', 'acknowledged', 'returned', 'normal', 'shelved', 'suppressed')),
  historical boolean not null default false,
  value double precision,
  limit_value double precision,
  unit text,
  since timestamptz not null,
  raised_at timestamptz not null,
  cleared_at timestamptz,
  received_at timestamptz not null,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text,
  suppressed_by text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index alarms_machine on alarms (machine, key, raised_at);
create index alarms_open on alarms (machine) where state <> 'normal';

create table alarm_events (
  id bigint generated always as identity primary key,
  alarm text not null references alarms (id),
  kind text not null check (kind in ('raised', 'severity', 'cleared', 'acknowledged', 'suppressed', 'unsuppressed', 'shelved', 'unshelved')),
  at timestamptz not null,
  severity text not null,
  value double precision,
  limit_value double precision,
  by text,
  note text,
  created_at timestamptz not null default now(),
  -- set when advise has made of it what there is to make
  advised_at timestamptz
);
create index alarm_events_alarm on alarm_events (alarm);
create index alarm_events_pending on alarm_events (id) where advised_at is null;
