DROP TRIGGER preview_change_stays ON index_previewchange;
DROP FUNCTION index_check_preview_change();
DROP TRIGGER preview_stays ON index_indexpreview;
DROP FUNCTION index_check_preview();
