"""What happened around players in full, where each stands by it, and what gateways are told of that.

No gateway has told of players before, so what the table holds is nothing.
"""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger()
    op.drop_table("engagement")
    _make_log(
        True,
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("mood", sa.Integer(), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("marks", sa.String(32), nullable=False),
        sa.Column("policy", sa.String(64)),
        sa.UniqueConstraint("subject", "event_id", "source", name="engagement_subject_key"),
    )
    op.create_table(
        "engagement_policies",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="engagement_policies_pk"),
    )
    op.create_table(
        "engagement_players",
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(64)),
        sa.Column("fold", sa.Integer(), nullable=False),
        sa.Column("settled", sa.Text(), nullable=False),
        sa.Column("horizon", sa.Float(53), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("change", number, nullable=False),
        sa.Column("look_ms", number),
        sa.PrimaryKeyConstraint("subject", name="engagement_players_pk"),
    )
    op.create_index("engagement_players_change_index", "engagement_players", ["change"])
    op.create_index("engagement_players_look_ms_index", "engagement_players", ["look_ms"])
    op.create_table(
        "engagement_interventions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("rule", sa.String(16), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("window", sa.String(32), nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("until_ms", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="engagement_interventions_pk"),
    )
    op.create_index("engagement_interventions_subject_index", "engagement_interventions", ["subject", "until_ms"])
    progress = op.create_table(
        "engagement_progress",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("folded", number, nullable=False),
        sa.Column("change", number, nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="engagement_progress_pk"),
    )
    op.bulk_insert(progress, [{"id": 1, "folded": 0, "change": 0, "origin": secrets.token_hex(16)}])


def downgrade() -> None:
    """Make the log as it was."""
    for name in ("engagement_progress", "engagement_interventions", "engagement_players", "engagement_policies"):
        op.drop_table(name)
    op.drop_table("engagement")
    _make_log(
        False,
        sa.Column("session", sa.String(32)),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("time_zone", sa.String(64)),
        sa.Column("clamped", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("subject", "event_id", name="engagement_subject_key"),
    )


def _make_log(numbered: bool, *columns: Any) -> None:  # it is one of two
    number = sa.BigInteger()
    id_type = number.with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "engagement",
        sa.Column("id", id_type, nullable=False),
        sa.Column("segment", id_type, nullable=False),
        sa.Column("seq", number, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name="engagement_pk"),
        sa.ForeignKeyConstraint(["segment"], ["ingest_segments.id"], name="engagement_segment_fk"),
        sqlite_autoincrement=numbered,
    )
    op.create_index("engagement_at_ms_index", "engagement", ["at_ms"])
    op.create_index("engagement_subject_index", "engagement", ["subject", "at_ms"])
