-- A grant says for ever what was given; what is left of it follows its moves, in the transaction that writes them.

CREATE FUNCTION billing_grants_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE billing_grant given SET left_micros = given.left_micros - moved.micros
    FROM (SELECT grant_id, sum(amount_micros) AS micros FROM fresh GROUP BY grant_id) moved
   WHERE given.id = moved.grant_id;
  RETURN NULL;
END $$;
CREATE TRIGGER grants_move AFTER INSERT ON billing_grantmove REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION billing_grants_move();
ALTER TABLE billing_grantmove ENABLE ALWAYS TRIGGER grants_move;

CREATE FUNCTION billing_check_grant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- depth 1: an UPDATE by hand; the trigger above is the only one that changes grants
  IF TG_OP = 'DELETE' OR pg_trigger_depth() < 2 OR NEW.left_micros > OLD.left_micros
     OR (to_jsonb(NEW) - 'left_micros') IS DISTINCT FROM (to_jsonb(OLD) - 'left_micros') THEN
    RAISE EXCEPTION 'grant % keeps what it says: % is refused', OLD.id, TG_OP
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'grant_stays', TABLE = 'billing_grant';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grant_stays BEFORE UPDATE OR DELETE ON billing_grant FOR EACH ROW EXECUTE FUNCTION billing_check_grant();
ALTER TABLE billing_grant ENABLE ALWAYS TRIGGER grant_stays;

CREATE FUNCTION billing_check_new_grant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.left_micros <> NEW.amount_micros THEN
    RAISE EXCEPTION 'a grant begins whole'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'grant_begins_whole', TABLE = 'billing_grant';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grant_begins_whole BEFORE INSERT ON billing_grant FOR EACH ROW EXECUTE FUNCTION billing_check_new_grant();
ALTER TABLE billing_grant ENABLE ALWAYS TRIGGER grant_begins_whole;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_grantmove
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_grantmove ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_grantmove
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_grantmove ENABLE ALWAYS TRIGGER append_only_truncate;
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_grant
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_grant ENABLE ALWAYS TRIGGER append_only_truncate;
