"""Alembic's environment: every state of the database that there has been, and the steps between them."""
