-- A map that was shown stays; that it is withdrawn is all that ever happens to it, once.
CREATE FUNCTION index_check_map() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['withdrawn_at', 'reason'];
BEGIN
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) OR OLD.withdrawn_at IS NOT NULL THEN
    RAISE EXCEPTION 'map % never changes', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'map_stays', TABLE = 'index_indexmap';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER map_stays BEFORE UPDATE ON index_indexmap FOR EACH ROW EXECUTE FUNCTION index_check_map();
ALTER TABLE index_indexmap ENABLE ALWAYS TRIGGER map_stays;
CREATE TRIGGER never_deleted BEFORE DELETE ON index_indexmap FOR EACH ROW EXECUTE FUNCTION index_refuse_change();
ALTER TABLE index_indexmap ENABLE ALWAYS TRIGGER never_deleted;
