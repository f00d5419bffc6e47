"""The statements that seal and prove, each over a whole block. The bytes that they hash: docs/billing/ledger.md."""

from __future__ import annotations

from typing import Final

# `placed` (position, id of the entry) -> position, entry_id, legs, digest; %(salt)s blinds the legs.
DIGESTS: Final = """
SELECT placed.position, entry.id AS entry_id, count(leg.id) AS legs,
       sha256('\\x00'::bytea || convert_to(
         concat_ws('|', 'gridfare-entry-1', placed.position, entry.id, coalesce(entry.task_id::text, ''),
                   (extract(epoch FROM entry.posted_at) * 1000000)::bigint, count(leg.id), octet_length(entry.kind),
                   octet_length(entry.key), octet_length(entry.memo), '') || entry.kind || entry.key || entry.memo, 'UTF8')
         || coalesce(string_agg(leg.digest, ''::bytea ORDER BY leg.id), ''::bytea)) AS digest
  FROM placed
  JOIN billing_journalentry entry ON entry.id = placed.id
  LEFT JOIN (
    SELECT leg.id, leg.entry_id,
           sha256(sha256(%(salt)s::bytea || 'leg'::bytea || int8send(leg.id)) || convert_to(
             concat_ws('|', 'gridfare-leg-1', leg.id, account.id, account.kind, coalesce(account.organization_id::text, ''),
                       account.currency, leg.debit_micros, leg.credit_micros), 'UTF8')) AS digest
      FROM placed JOIN billing_leg leg ON leg.entry_id = placed.id JOIN billing_account account ON account.id = leg.account_id
  ) leg ON leg.entry_id = entry.id
 GROUP BY placed.position, entry.id
"""

LOCK: Final = "SELECT pg_try_advisory_xact_lock(%s)"

# Below it every transaction of this database has ended. Those that run in other databases of the server write nothing here and
# hold up nothing; one that nobody can be named for (prepared, or just ending) counts as ours.
HORIZON: Final = """
SELECT least(pg_snapshot_xmax(now.seen), pg_current_xact_id_if_assigned(), (
         SELECT running FROM pg_snapshot_xip(now.seen) running
          WHERE NOT EXISTS (SELECT FROM pg_stat_activity other
                             WHERE other.datname <> current_database() AND other.backend_xid = running::xid)
          ORDER BY running LIMIT 1))::text
  FROM (SELECT pg_current_snapshot() AS seen OFFSET 0) now
"""

# Entries that are not sealed, of transactions that had ended below the horizon. Two more are as safe: those of this very
# transaction, and those whose number no transaction here has had yet: they came with a dump from another server.
SEAL_ENTRIES: Final = f"""
WITH picked AS MATERIALIZED (
  SELECT entry.id, entry.posted_by FROM billing_journalentry entry
   WHERE entry.posted_by >= %(start)s::xid8
     AND (entry.posted_by < %(horizon)s::xid8 OR entry.posted_by = pg_current_xact_id_if_assigned()
          OR entry.posted_by >= pg_snapshot_xmax(pg_current_snapshot()))
     AND NOT EXISTS (SELECT FROM billing_sealedentry sealed WHERE sealed.entry_id = entry.id)
   ORDER BY entry.posted_by, entry.id LIMIT %(most)s
), placed AS MATERIALIZED (
  SELECT id, posted_by, %(last)s + row_number() OVER (ORDER BY posted_by, id) AS position FROM picked
), digested AS MATERIALIZED ({DIGESTS}
), stored AS (
  INSERT INTO billing_sealedentry (position, entry_id, seal_id, digest)
  SELECT position, entry_id, %(seal)s, digest FROM digested ORDER BY position
)
SELECT digest, legs, posted_by::text::numeric FROM digested JOIN placed USING (position) ORDER BY position
"""

_SUMS: Final = """
SELECT leg.account_id, sum(leg.debit_micros)::numeric AS debit, sum(leg.credit_micros)::numeric AS credit
  FROM billing_sealedentry sealed JOIN billing_leg leg ON leg.entry_id = sealed.entry_id
 WHERE sealed.position BETWEEN %(first)s AND %(last)s
 GROUP BY leg.account_id
"""
SEAL_BALANCES: Final = f"""
INSERT INTO billing_accountbalance (account_id, seal_id, debit_micros, credit_micros)
SELECT sums.account_id, %(seal)s, sums.debit + coalesce(before.debit_micros, 0), sums.credit + coalesce(before.credit_micros, 0)
  FROM ({_SUMS}) sums LEFT JOIN LATERAL (
       SELECT debit_micros, credit_micros FROM billing_accountbalance cached
        WHERE cached.account_id = sums.account_id AND cached.seal_id < %(seal)s ORDER BY cached.seal_id DESC LIMIT 1) before ON true
RETURNING account_id, debit_micros, credit_micros
"""

# Every balance at every seal, from the sealed blocks alone; those that are missing are put back.
REBUILD: Final = """
INSERT INTO billing_accountbalance (account_id, seal_id, debit_micros, credit_micros)
SELECT account_id, seal_id, sum(debit) OVER sealed, sum(credit) OVER sealed
  FROM (SELECT leg.account_id, sealed.seal_id, sum(leg.debit_micros)::numeric AS debit, sum(leg.credit_micros)::numeric AS credit
          FROM billing_sealedentry sealed JOIN billing_leg leg ON leg.entry_id = sealed.entry_id
         GROUP BY leg.account_id, sealed.seal_id) block
WINDOW sealed AS (PARTITION BY account_id ORDER BY seal_id)
ON CONFLICT (account_id, seal_id) DO NOTHING
"""

REDIGEST: Final = f"""
WITH placed AS MATERIALIZED (
  SELECT position, entry_id AS id FROM billing_sealedentry WHERE position BETWEEN %(first)s AND %(last)s
)
SELECT digest, legs FROM ({DIGESTS}) digested ORDER BY position
"""

# What the cache says last of each account, beside the sums of all its sealed legs, where the two differ.
UNPROVED: Final = """
SELECT account_id, coalesce(cached.seal_id, (SELECT max(number) FROM billing_ledgerseal)),
       coalesce(cached.debit_micros, 0), coalesce(cached.credit_micros, 0), coalesce(debit, 0), coalesce(credit, 0)
  FROM (SELECT DISTINCT ON (account_id) account_id, seal_id, debit_micros, credit_micros
          FROM billing_accountbalance ORDER BY account_id, seal_id DESC) cached
  FULL JOIN (SELECT leg.account_id, sum(leg.debit_micros)::numeric AS debit, sum(leg.credit_micros)::numeric AS credit
               FROM billing_sealedentry sealed JOIN billing_leg leg ON leg.entry_id = sealed.entry_id
              GROUP BY leg.account_id) legs USING (account_id)
 WHERE (cached.debit_micros, cached.credit_micros) IS DISTINCT FROM (debit, credit)
 ORDER BY account_id
"""
