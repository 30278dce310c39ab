"""Up to when records were forgotten; and more of what a finding is: whose rule, where, and for how long it is kept."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# With the access key's number, as requests have it.
_COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "rule": sa.Integer(),
    "channel": sa.String(32),
    "entity": sa.String(64),
    "length": sa.BigInteger(),
    "excerpt": sa.String(1024),
    "evidence_until_ms": sa.BigInteger(),
    "key_subject": sa.String(32),
}


def upgrade() -> None:
    """Make the table, and the columns."""
    op.create_table(
        "retention",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="retention_pk"),
    )
    for name, kind in _COLUMNS.items():
        op.add_column("violations", sa.Column(name, kind))
    op.create_index("violations_evidence_until_ms_index", "violations", ["evidence_until_ms"])
    for name in ("player", "session", "key_subject"):
        op.create_index(f"violations_{name}_index", "violations", [name, "at_ms"])
    op.create_index("requests_key_subject_index", "requests", ["key_subject", "at_ms"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("requests_key_subject_index", "requests")
    for name in ("evidence_until_ms", "player", "session", "key_subject"):
        op.drop_index(f"violations_{name}_index", "violations")
    for name in _COLUMNS:
        op.drop_column("violations", name)
    op.drop_table("retention")
