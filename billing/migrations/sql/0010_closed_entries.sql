-- An entry is closed when the transaction that posted it ends: nobody adds legs later, not even balanced ones, so that what
-- was sealed can only be what was posted. One check per statement; posted_by says whose the entry is.
CREATE FUNCTION billing_check_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  closed bigint;
BEGIN
  SELECT entry.id INTO closed FROM fresh JOIN billing_journalentry entry ON entry.id = fresh.entry_id
   WHERE entry.posted_by <> pg_current_xact_id() LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal entry % is closed: it was posted by another transaction', closed
      USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_is_open', TABLE = 'billing_leg', HINT = 'post a correction instead';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER entry_is_open AFTER INSERT ON billing_leg REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_open();
ALTER TABLE billing_leg ENABLE ALWAYS TRIGGER entry_is_open;
