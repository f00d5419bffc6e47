"""The statements that claim, record and put right deliveries, each over a whole set."""

from __future__ import annotations

from typing import Final

OPEN: Final = "state IN ('pending', 'sending')"

# What is due and first of its subject, of endpoints that are on: of each as many as it may be asked at once, fewer by those under
# way. Endpoints in trouble share a part of the places, so that however many there are, the others find some free.
# A row that somebody else claims just now is skipped; one that changed meanwhile is looked at again before it is taken.
CLAIM: Final = f"""
WITH busy AS (
  SELECT endpoint_id, count(*) AS running FROM marketplace_webhookdelivery
   WHERE state = 'sending' AND due_at > %(now)s GROUP BY endpoint_id
), ready AS (
  SELECT due.id, e.troubled, row_number() OVER (PARTITION BY e.troubled ORDER BY due.due_at, due.id) AS place
    FROM marketplace_webhookendpoint e LEFT JOIN busy ON busy.endpoint_id = e.id
    CROSS JOIN LATERAL (
      SELECT d.id, d.due_at FROM marketplace_webhookdelivery d
       WHERE d.endpoint_id = e.id AND d.{OPEN} AND d.due_at <= %(now)s
         AND NOT EXISTS (SELECT FROM marketplace_webhookdelivery x
                          WHERE x.endpoint_id = d.endpoint_id AND x.subject = d.subject AND x.event_id < d.event_id AND x.{OPEN})
       ORDER BY d.due_at, d.id
       LIMIT greatest(CASE WHEN e.troubled THEN 1 ELSE %(each)s END - coalesce(busy.running, 0), 0)) due
   WHERE e.disabled_at IS NULL
), picked AS (
  SELECT d.id FROM marketplace_webhookdelivery d JOIN ready USING (id)
   WHERE d.{OPEN} AND d.due_at <= %(now)s AND ready.place <= CASE WHEN ready.troubled THEN %(troubled)s ELSE %(free)s END
   ORDER BY ready.troubled, ready.place LIMIT %(free)s FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE marketplace_webhookdelivery d
   SET state = 'sending', tries = d.tries + 1, first_tried_at = coalesce(d.first_tried_at, %(now)s), due_at = %(until)s
  FROM picked, marketplace_webhookevent v, marketplace_webhookendpoint e
 WHERE d.id = picked.id AND v.number = d.event_id AND e.id = d.endpoint_id
RETURNING d.id, d.tries, d.tries - d.tries_before, d.first_tried_at, d.endpoint_id, d.subject, d.event_id, e.url, e.troubled,
          v.id, v.type, v.occurred_at, v.data::text,
          ARRAY(SELECT s.sealed FROM marketplace_webhooksecret s
                 WHERE s.endpoint_id = e.id AND (s.expires_at IS NULL OR s.expires_at > %(now)s) ORDER BY s.id DESC)
"""

# Whoever records holds the endpoints: their deliveries change in one order only, so that two never wait for each other.
LOCK: Final = """
SELECT id, failing_since FROM marketplace_webhookendpoint WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

# A claim that ran out and was taken by somebody else has another number of tries: then this answer decides nothing.
RECORD: Final = """
UPDATE marketplace_webhookdelivery d
   SET state = told.state, due_at = told.due_at, status = told.status, error = told.error,
       ended_at = CASE WHEN told.state <> 'pending' THEN %(now)s::timestamptz END
  FROM unnest(%(ids)s::bigint[], %(tries)s::int[], %(states)s::text[], %(due)s::timestamptz[], %(statuses)s::int[],
              %(errors)s::text[]) AS told(id, tries, state, due_at, status, error)
 WHERE d.id = told.id AND d.state = 'sending' AND d.tries = told.tries
RETURNING d.id
"""

LOG: Final = """
INSERT INTO marketplace_webhooktry (delivery_id, request_id, number, at, status, error, detail, answer, ms)
SELECT * FROM unnest(%(ids)s::bigint[], %(requests)s::uuid[], %(tries)s::int[], %(at)s::timestamptz[], %(statuses)s::int[],
                     %(errors)s::text[], %(details)s::text[], %(answers)s::text[], %(ms)s::int[])
"""

# What waits behind an event of the same subject is due when that one is; once that one has ended, at once.
FOLLOW: Final = """
UPDATE marketplace_webhookdelivery d SET due_at = told.due_at
  FROM unnest(%(ids)s::bigint[], %(due)s::timestamptz[]) AS told(id, due_at)
  JOIN marketplace_webhookdelivery head ON head.id = told.id
 WHERE d.endpoint_id = head.endpoint_id AND d.subject = head.subject AND d.event_id > head.event_id AND d.state = 'pending'
"""

# Each endpoint by what was heard of it last. What reached it ends its failing, before which nothing counts.
HEARD: Final = """
UPDATE marketplace_webhookendpoint e
   SET failing_since = told.failing_since, troubled = told.troubled, delivered_at = coalesce(told.delivered_at, e.delivered_at),
       disabled_at = CASE WHEN e.disabled_at IS NULL AND told.because <> '' THEN %(now)s::timestamptz ELSE e.disabled_at END,
       disabled_because = CASE WHEN e.disabled_at IS NULL THEN told.because ELSE e.disabled_because END
  FROM unnest(%(endpoints)s::uuid[], %(failing)s::timestamptz[], %(troubled)s::boolean[], %(delivered)s::timestamptz[],
              %(because)s::text[]) AS told(id, failing_since, troubled, delivered_at, because),
       marketplace_webhookendpoint before
 WHERE e.id = told.id AND before.id = e.id
RETURNING e.id, e.organization_id, e.url, e.disabled_because, before.disabled_at IS NULL AND e.disabled_at IS NOT NULL
"""

# An endpoint that came back after a while is sent at once what would else wait out its long pauses.
HURRY: Final = """
UPDATE marketplace_webhookdelivery SET due_at = %(now)s
 WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'pending' AND due_at > %(now)s
"""

# The sweep: what became late because it was written while the one before it ended.
PUT_RIGHT: Final = f"""
UPDATE marketplace_webhookdelivery d SET due_at = %(now)s
 WHERE d.state = 'pending' AND d.tries = d.tries_before AND d.due_at > %(now)s
   AND NOT EXISTS (SELECT FROM marketplace_webhookdelivery x
                    WHERE x.endpoint_id = d.endpoint_id AND x.subject = d.subject AND x.event_id < d.event_id AND x.{OPEN})
"""

FORGET_LOG: Final = """
DELETE FROM marketplace_webhooktry WHERE id IN (
  SELECT id FROM marketplace_webhooktry WHERE at < %(before)s ORDER BY id LIMIT %(most)s)
"""
# Old events go with their deliveries and their log; one that an endpoint which is on still has to get stays.
FORGET: Final = f"""
WITH old AS (
  SELECT v.number FROM marketplace_webhookevent v
   WHERE v.written_at < %(before)s
     AND NOT EXISTS (SELECT FROM marketplace_webhookdelivery d JOIN marketplace_webhookendpoint e ON e.id = d.endpoint_id
                      WHERE d.event_id = v.number AND d.{OPEN} AND e.disabled_at IS NULL)
   ORDER BY v.written_at LIMIT %(most)s
), log AS (
  DELETE FROM marketplace_webhooktry t USING marketplace_webhookdelivery d, old
   WHERE t.delivery_id = d.id AND d.event_id = old.number
), deliveries AS (
  DELETE FROM marketplace_webhookdelivery d USING old WHERE d.event_id = old.number
)
DELETE FROM marketplace_webhookevent v USING old WHERE v.number = old.number
"""

# Everything for an endpoint since a moment: what it was sent, and what it was not, from before it was there.
REPLAY_MISSED: Final = """
INSERT INTO marketplace_webhookdelivery (event_id, endpoint_id, subject, state, tries, tries_before, due_at, error)
SELECT v.number, e.id, v.subject, 'pending', 0, 0, %(now)s, ''
  FROM marketplace_webhookendpoint e JOIN marketplace_webhookevent v ON v.organization_id = e.organization_id
 WHERE e.id = %(endpoint)s AND v.written_at >= %(since)s AND v.type <> 'webhook.ping'
   AND e.types && ARRAY[v.type, split_part(v.type, '.', 1) || '.*', '*']::varchar[]
 ORDER BY v.number ON CONFLICT DO NOTHING
"""
_AGAIN: Final = """
UPDATE marketplace_webhookdelivery d
   SET state = 'pending', due_at = %(now)s, ended_at = NULL, first_tried_at = NULL, tries_before = d.tries
"""
REPLAY_SENT: Final = f"""{_AGAIN}  FROM marketplace_webhookevent v
 WHERE v.number = d.event_id AND d.endpoint_id = %(endpoint)s AND v.written_at >= %(since)s AND d.state = ANY(%(states)s)
"""
REPLAY_THESE: Final = f"{_AGAIN} WHERE d.id = ANY(%(ids)s) AND d.state IN ('delivered', 'given_up')"
HURRY_THESE: Final = """
UPDATE marketplace_webhookdelivery SET due_at = %(now)s WHERE id = ANY(%(ids)s) AND state = 'pending' AND due_at > %(now)s
"""
