-- What people know of the clocks of devices. Where no row holds, a device is taken at its word. `received_to` is
-- exclusive. As with bindings a row is never changed: another replaces it, and rows for what is left of its time.
create table clock_policies (
  id bigint generated always as identity primary key,
  device text not null check (device ~ '^[A-Za-z0-9._-]{1,64}$'),
  kind text not null check (kind in ('offset', 'zone', 'no_clock')),
  -- how far the clock is ahead
  offset_ms bigint check ((kind = 'offset') = (offset_ms is not null)),
  zone text check ((kind = 'zone') = (zone is not null)),
  received_from timestamptz,
  received_to timestamptz,
  set_by text not null,
  reason text not null,
  created_at timestamptz not null default now(),
  replaced_at timestamptz,
  revision bigint not null default nextval('machine_revision'),
  check (received_from < received_to)
);
create index clock_policies_device on clock_policies (device);
create index clock_policies_revision on clock_policies (revision);

-- What arrival said of the clocks of devices, so that a restart does not begin anew; written from time to time. Nobody
-- looks inside, so it is json, which is kept as it comes.
create table device_clocks (
  device text primary key,
  state json not null
);
