"""The data plane: pure policy and protocol classes."""
