"""Pure: from what happened around a player to how far they are to be protected, as a function of their event log."""
