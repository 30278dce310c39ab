"""The pure core: everything that decides takes values and returns values."""
