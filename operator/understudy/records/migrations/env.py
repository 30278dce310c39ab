"""What Alembic runs: the connection comes from `database.migrate`, which has it in a transaction."""

from alembic import context

from understudy.records.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
context.run_migrations()
