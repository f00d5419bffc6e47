DROP FUNCTION billing_budget_periods(bigint);
DROP TRIGGER periods_move ON billing_periodcharge;
DROP FUNCTION billing_periods_move();
DROP TRIGGER append_only_truncate ON billing_budgetedperiod;
DROP TRIGGER append_only ON billing_budgetedperiod;
DROP FUNCTION billing_budget_share(marketplace_budget, billing_periodcharge);
