DROP TRIGGER append_only ON index_observation;
DROP TRIGGER append_only ON index_weightset;
DROP TRIGGER never_deleted ON index_indexrun;
DROP TRIGGER never_deleted ON index_observationbatch;
DROP TRIGGER run_stays ON index_indexrun;
DROP TRIGGER definition_stays ON index_indexdefinition;
DROP TRIGGER batch_moves_on ON index_observationbatch;
DROP FUNCTION index_refuse_change(), index_check_run(), index_check_definition(), index_check_batch();
