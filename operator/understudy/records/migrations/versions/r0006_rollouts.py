"""What the operator decided on rollouts, and what became of revisions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger()
    id_type = number.with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "decisions",
        sa.Column("id", id_type, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("snapshot_uid", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(320), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("run", number, nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("compared", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="decisions_pk"),
        sa.UniqueConstraint("snapshot_uid", "run", "step", name="decisions_snapshot_uid_key"),
    )
    op.create_table(
        "history",
        sa.Column("id", id_type, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("snapshot_uid", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(320), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("model", sa.String(320), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("number", number),
        sa.Column("failure", sa.String(64)),
        sa.Column("reason", sa.String(128)),
        sa.Column("message", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="history_pk"),
        sa.UniqueConstraint("snapshot_uid", "event", "at_ms", name="history_snapshot_uid_key"),
    )
    for table in ("decisions", "history"):
        op.create_index(f"{table}_at_ms_index", table, ["at_ms"])
        op.create_index(f"{table}_deployment_index", table, ["deployment", "at_ms"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("history")
    op.drop_table("decisions")
