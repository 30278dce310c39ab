"""The ledger's tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    number = sa.BigInteger()
    id_type = number.with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ledger_budgets",
        sa.Column("id", id_type, nullable=False),
        sa.Column("account", sa.String(320), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("starts", number, nullable=False),
        sa.Column("ends", number, nullable=False),
        sa.Column("amount", number, nullable=False),
        sa.Column("settled", number, nullable=False),
        sa.Column("lost", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="ledger_budgets_pk"),
        sa.UniqueConstraint("account", "unit", "period", "starts", name="ledger_budgets_account_key"),
    )
    op.create_index("ledger_budgets_ends_index", "ledger_budgets", ["ends"])
    op.create_table(
        "ledger_leases",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("budget", id_type, nullable=False),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("granted", number, nullable=False),
        sa.Column("spent", number, nullable=False),
        sa.Column("fence", number, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("expires", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="ledger_leases_pk"),
        sa.ForeignKeyConstraint(["budget"], ["ledger_budgets.id"], name="ledger_leases_budget_fk"),
    )
    op.create_index("ledger_leases_budget_index", "ledger_leases", ["budget"])
    op.create_index("ledger_leases_state_index", "ledger_leases", ["state", "expires"])
    op.create_table(
        "ledger_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("latest", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="ledger_clock_pk"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("ledger_clock")
    op.drop_table("ledger_leases")
    op.drop_table("ledger_budgets")
