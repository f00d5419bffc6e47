-- A preview stays as it was counted: the next one empties its document, and only what is a month old may go.
CREATE FUNCTION index_check_preview() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND (NEW.document IS NOT NULL OR to_jsonb(NEW) - 'document' IS DISTINCT FROM to_jsonb(OLD) - 'document')
     OR TG_OP = 'DELETE' AND OLD.counted_at > now() - interval '30 days' THEN
    RAISE EXCEPTION 'preview % stays', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'preview_stays', TABLE = 'index_indexpreview';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER preview_stays BEFORE UPDATE OR DELETE ON index_indexpreview FOR EACH ROW EXECUTE FUNCTION index_check_preview();
ALTER TABLE index_indexpreview ENABLE ALWAYS TRIGGER preview_stays;

-- What moved never changes, and goes only with its preview.
CREATE FUNCTION index_check_preview_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE'
     OR EXISTS (SELECT FROM index_indexpreview WHERE id = OLD.preview_id AND counted_at > now() - interval '30 days') THEN
    RAISE EXCEPTION 'change % of a preview stays', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'preview_change_stays', TABLE = 'index_previewchange';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER preview_change_stays BEFORE UPDATE OR DELETE ON index_previewchange
  FOR EACH ROW EXECUTE FUNCTION index_check_preview_change();
ALTER TABLE index_previewchange ENABLE ALWAYS TRIGGER preview_change_stays;
