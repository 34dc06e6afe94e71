-- The state of a machine's stages is written seldom: what its messages said since then is read again from the spool.

alter table stage_state
  add column position bigint not null default 0, -- what stands before it in the spool is in the state
  add column waits boolean not null default false; -- something of it goes on with time alone

update stage_state set
  position = coalesce((select position from spool_progress), 0),
  waits = jsonb_path_exists(state,
    '$ ? (exists(@.late[*]) || exists(@.detector.pending[*]) || exists(@.detector.rules.*.levels.*) || exists(@.detector.faults.codes.*))');

-- From here on the spool is read again for states that were not written.
alter table spool_progress add column states_from bigint;

create index stage_state_waiting on stage_state (machine) where waits;
