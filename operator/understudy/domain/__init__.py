"""Value objects and names that every room shares; standard library only."""
