DROP TRIGGER judgement_stays ON index_judgement;
DROP TRIGGER panel_stays ON index_panel;
DROP FUNCTION index_check_judgement(), index_check_panel();
