-- What was observed, weighed, computed and published stays.
CREATE FUNCTION index_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% never changes', TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
END $$;

DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['index_observation', 'index_weightset'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION index_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['index_indexrun', 'index_observationbatch'] LOOP
    EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION index_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER never_deleted', kept);
  END LOOP;
END $$;

-- A run is published once: that is all that ever happens to it.
CREATE FUNCTION index_check_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['edition', 'change_note', 'published_at'];
BEGIN
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) OR OLD.edition IS NOT NULL THEN
    RAISE EXCEPTION 'run % never changes', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'run_stays', TABLE = 'index_indexrun';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_stays BEFORE UPDATE ON index_indexrun FOR EACH ROW EXECUTE FUNCTION index_check_run();
ALTER TABLE index_indexrun ENABLE ALWAYS TRIGGER run_stays;

-- A definition that is published stays; a draft may change and go.
CREATE FUNCTION index_check_definition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'published' THEN
    RAISE EXCEPTION 'definition % is published', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'definition_stays', TABLE = 'index_indexdefinition';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER definition_stays BEFORE UPDATE OR DELETE ON index_indexdefinition
  FOR EACH ROW EXECUTE FUNCTION index_check_definition();
ALTER TABLE index_indexdefinition ENABLE ALWAYS TRIGGER definition_stays;

-- A batch moves on, never back, and what it is stays.
CREATE FUNCTION index_check_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'content', 'rows', 'committed_at', 'rolled_back_at', 'reason'];
BEGIN
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
     OR (OLD.state, NEW.state) NOT IN (('preview', 'committed'), ('preview', 'dropped'), ('committed', 'rolled_back'))
     OR (OLD.state <> 'preview' AND NEW.committed_at IS DISTINCT FROM OLD.committed_at) THEN
    RAISE EXCEPTION 'batch % moves from % to nothing else', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'batch_moves_on', TABLE = 'index_observationbatch';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER batch_moves_on BEFORE UPDATE ON index_observationbatch FOR EACH ROW EXECUTE FUNCTION index_check_batch();
ALTER TABLE index_observationbatch ENABLE ALWAYS TRIGGER batch_moves_on;
