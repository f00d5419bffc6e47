"""What a result is worth: who agrees with whom, and whom to believe. Pure; the rows are in `services/verifying.py`."""
