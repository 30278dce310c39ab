"""Which rule of a Guardrail asked for what was done for somebody."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the column."""
    op.add_column("interventions", sa.Column("rule_number", sa.Integer()))


def downgrade() -> None:
    """Remove it: of what rules asked for there is no more than whose they were."""
    op.drop_column("interventions", "rule_number")
