"""Which rung of a ladder counts a finding, and what was done for somebody as a list that can be read."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_KEPT = ("subject", "rule", "level", "window", "at_ms", "until_ms")


def upgrade() -> None:
    """Make the column, and the table out of the one before."""
    op.add_column("engagement", sa.Column("terms", sa.Text()))
    number = sa.BigInteger()
    op.create_table(
        "interventions",
        sa.Column("id", number.with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("once", sa.String(32), nullable=False),
        *_columns(),
        sa.Column("guardrail", sa.String(320)),
        sa.Column("rung", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="interventions_pk"),
        sa.UniqueConstraint("once", name="interventions_once_key"),
    )
    _fill("interventions", "once", "engagement_interventions", "id")
    op.drop_table("engagement_interventions")
    op.create_index("interventions_subject_index", "interventions", ["subject", "until_ms"])
    op.create_index("interventions_at_ms_index", "interventions", ["at_ms"])


def downgrade() -> None:
    """Make the one before; of what ladders asked for there is no more than that it was done."""
    op.create_table(
        "engagement_interventions",
        sa.Column("id", sa.String(32), nullable=False),
        *_columns(),
        sa.PrimaryKeyConstraint("id", name="engagement_interventions_pk"),
    )
    _fill("engagement_interventions", "id", "interventions", "once")
    op.drop_table("interventions")
    op.create_index("engagement_interventions_subject_index", "engagement_interventions", ["subject", "until_ms"])
    op.drop_column("engagement", "terms")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("rule", sa.String(16), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("window", sa.String(32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    ]


def _fill(table: str, key: str, before: str, key_before: str) -> None:
    old = sa.table(before, *(sa.column(name) for name in (key_before, *_KEPT)))
    new = sa.table(table, *(sa.column(name) for name in (key, *_KEPT)))
    op.execute(new.insert().from_select([key, *_KEPT], sa.select(old.c[key_before], *(old.c[name] for name in _KEPT))))
