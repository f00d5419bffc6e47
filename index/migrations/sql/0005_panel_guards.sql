-- What was judged stays once weights were recorded of it.
CREATE FUNCTION index_check_panel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state <> 'open' OR (TG_OP = 'UPDATE'
     AND (to_jsonb(NEW) - ARRAY['state', 'weights_id']) IS DISTINCT FROM (to_jsonb(OLD) - ARRAY['state', 'weights_id'])) THEN
    RAISE EXCEPTION 'panel % was recorded, or is another one', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'panel_stays', TABLE = 'index_panel';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER panel_stays BEFORE UPDATE OR DELETE ON index_panel FOR EACH ROW EXECUTE FUNCTION index_check_panel();
ALTER TABLE index_panel ENABLE ALWAYS TRIGGER panel_stays;

CREATE FUNCTION index_check_judgement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM index_expert expert JOIN index_panel panel ON panel.id = expert.panel_id
              WHERE expert.id = coalesce(NEW.expert_id, OLD.expert_id) AND panel.state <> 'open') THEN
    RAISE EXCEPTION 'weights were recorded of what this expert judged'
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'judgement_stays', TABLE = 'index_judgement';
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER judgement_stays BEFORE INSERT OR UPDATE OR DELETE ON index_judgement
  FOR EACH ROW EXECUTE FUNCTION index_check_judgement();
ALTER TABLE index_judgement ENABLE ALWAYS TRIGGER judgement_stays;
