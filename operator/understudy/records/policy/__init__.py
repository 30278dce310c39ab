"""Pure: what a ledger grants, and when a budget begins anew."""
