DROP TRIGGER map_stays ON index_indexmap;
DROP TRIGGER never_deleted ON index_indexmap;
DROP FUNCTION index_check_map();
