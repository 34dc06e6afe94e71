-- Work proposed for machines, its cases at the built-in service desk, and what waits to go onto the queue.
create table jobs (
  number bigint generated always as identity,
  id text generated always as ('J-' || lpad(number::text, greatest(6, length(number::text)), '0')) stored primary key,
  -- `<machine>/<component>/<failure mode>`
  key text not null,
  machine text not null references machines (id),
  component text not null,
  failure_mode text not null,
  -- rises with every message on the queue
  revision integer not null default 1,
  -- the highest that was reached; a fall changes nothing
  severity text not null check (severity in ('S2', 'S3', 'S4')),
  priority text not null check (priority in ('P1', 'P2', 'P3', 'P4')),
  state text not null default 'proposed' check (state in ('proposed', 'ticketed', 'done', 'withdrawn')),
  title jsonb not null,
  action jsonb not null,
  reason jsonb not null,
  evidence jsonb not null,
  parts jsonb not null,
  alarm_ids text[] not null,
  due_at timestamptz not null,
  -- when a person said that this proposal shall be done, which opens a ticket whatever its priority
  accepted_at timestamptz,
  accepted_by text,
  -- when a person withdrew it, or when its ticket was closed or cancelled
  ended_at timestamptz,
  ended_by text,
  end_reason text,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index jobs_one_open on jobs (key) where state in ('proposed', 'ticketed');
create unique index jobs_number on jobs (number);
create index jobs_machine on jobs (machine, number);

create table tickets (
  number bigint generated always as identity,
  id text generated always as ('T-' || lpad(number::text, greatest(6, length(number::text)), '0')) stored primary key,
  key text not null,
  -- a job leads to one ticket at most, however often the queue delivers it
  job text not null unique references jobs (id),
  machine text not null references machines (id),
  component text not null,
  failure_mode text not null,
  -- of the job, as the desk has seen it last
  revision integer not null,
  severity text not null check (severity in ('S2', 'S3', 'S4')),
  priority text not null check (priority in ('P1', 'P2', 'P3', 'P4')),
  state text not null default 'new' check (state in (
    'new', 'triaged', 'dispatched', 'accepted', 'en_route', 'on_site', 'waiting_parts', 'repaired', 'verified',
    'customer_confirmed', 'callback_done', 'closed', 'escalated_region', 'escalated_hq', 'reopened', 'cancelled')),
  title jsonb not null,
  action jsonb not null,
  reason jsonb not null,
  parts jsonb not null,
  warranty text not null check (warranty in ('in_warranty', 'expired', 'unknown')),
  due_at timestamptz not null,
  -- the ticket of the same key that was closed less than 30 days before this one was opened
  repeat_of text references tickets (id),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  closed_at timestamptz
);
create unique index tickets_one_open on tickets (key) where state not in ('closed', 'cancelled');
create index tickets_key on tickets (key, closed_at);
create unique index tickets_number on tickets (number);
create index tickets_machine on tickets (machine, number);

create table ticket_events (
  id bigint generated always as identity primary key,
  ticket text not null references tickets (id),
  at timestamptz not null,
  kind text not null check (kind in ('opened', 'state', 'severity', 'alarm', 'comment')),
  by text not null,
  state text,
  note text
);
create index ticket_events_ticket on ticket_events (ticket, id);

create table outbox (
  -- also the id of the job on the queue; random, because a queue on another server may outlive these records
  id uuid primary key default gen_random_uuid(),
  -- the order of publishing
  position bigint generated always as identity unique,
  name text not null check (name in ('proactive-maintenance', 'inspection-reminder')),
  payload jsonb not null,
  created_at timestamptz not null default now(),
  published_at timestamptz
);
create index outbox_waiting on outbox (position) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;
