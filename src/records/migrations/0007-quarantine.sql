-- Quarantine by sender, within a byte budget: entries that lost their bytes stay, and beyond a number of them only the
-- number is left.
alter table quarantine
  -- the device whose topic it is, or whom a gateway's set names; '' where the topic names nobody
  add column device text not null default '',
  -- of the bytes that came, whether they are still there or not
  add column size integer not null default 0,
  add column bytes_dropped_at timestamptz,
  alter column bytes drop not null;

update quarantine set
  size = octet_length(bytes),
  device = coalesce(substring(topic from '(?:^|/)(?:machines|gateways)/([A-Za-z0-9._-]{1,64})/'), '');

create index quarantine_held_of_device on quarantine (device, reason, id) where state = 'held';
create index quarantine_bytes_of_device on quarantine (device, id) where bytes is not null;
create index quarantine_without_bytes on quarantine (device) where bytes is null;

-- What `quarantine` holds of each sender, kept up in the transactions that change it.
create table quarantine_tallies (
  device text not null,
  reason text not null,
  -- entries that nobody decided on; of them those without bytes; bytes of the others
  held bigint not null default 0,
  held_without_bytes bigint not null default 0,
  held_bytes bigint not null default 0,
  -- entries in any state whose bytes are there: what the budget is for
  kept_entries bigint not null default 0,
  kept_bytes bigint not null default 0,
  -- entries that lost their bytes, ever
  stripped bigint not null default 0,
  -- those of them of which only this number is left, and the span in which they came
  merged bigint not null default 0,
  merged_from timestamptz,
  merged_to timestamptz,
  primary key (device, reason)
);
insert into quarantine_tallies (device, reason, held, held_bytes, kept_entries, kept_bytes)
select device, reason, count(*) filter (where state = 'held'), coalesce(sum(size) filter (where state = 'held'), 0),
  count(*), sum(size)
from quarantine
group by device, reason;

-- Decisions on many entries at once, worked off in the background.
create table quarantine_bulks (
  id bigint generated always as identity primary key,
  action text not null check (action in ('replay', 'discard')),
  filter jsonb not null,
  -- senders of the type that the filter names, as they were then; null: it names none
  devices text[],
  state text not null default 'running' check (state in ('running', 'done', 'cancelled')),
  -- how far it has got in the ids of entries, and the last one that it is for: what is replayed may come back later
  position bigint not null default 0,
  until bigint not null,
  decided bigint not null default 0,
  -- entries that have no bytes to replay
  skipped bigint not null default 0,
  started_at timestamptz not null,
  started_by text not null,
  reason text,
  ended_at timestamptz,
  cancelled_by text
);
create index quarantine_bulks_running on quarantine_bulks (id) where state = 'running';
