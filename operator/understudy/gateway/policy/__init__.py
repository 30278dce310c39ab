"""Pure decisions of the data plane: no I/O, time passed in."""
