DROP TRIGGER charges_move ON billing_charge;
DROP TRIGGER legs_move ON billing_leg;
DROP FUNCTION billing_charges_move();
DROP FUNCTION billing_legs_move();
