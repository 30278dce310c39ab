"""Who is spoken of, by numbers that say nothing; what guardrails found, and what players did."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables, and the columns that lead to them."""
    number = sa.BigInteger()
    id_type = number.with_variant(sa.Integer(), "sqlite")
    op.add_column("ingest_segments", sa.Column("erased", number, nullable=False, server_default="0"))
    op.add_column("requests", sa.Column("key_subject", sa.String(32)))
    op.create_table(
        "subjects",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("hmac", sa.String(64), nullable=False),
        sa.Column("seen_at", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="subjects_pk"),
        sa.UniqueConstraint("hmac", "key_version", name="subjects_hmac_key"),
    )
    op.create_index("subjects_seen_at_index", "subjects", ["seen_at"])
    op.create_table(
        "tombstones",
        sa.Column("hmac", sa.String(64), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("erased_at", number, nullable=False),
        sa.Column("ends_at", number, nullable=False),
        sa.PrimaryKeyConstraint("hmac", "key_version", name="tombstones_pk"),
    )
    op.create_index("tombstones_ends_at_index", "tombstones", ["ends_at"])
    op.create_table(
        "violations",
        sa.Column("id", id_type, nullable=False),
        sa.Column("segment", id_type, nullable=False),
        sa.Column("seq", number, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("violation_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("deployment", sa.String(320), nullable=False),
        sa.Column("guardrail", sa.String(320), nullable=False),
        sa.Column("policy_hash", sa.String(128), nullable=False),
        sa.Column("revision", sa.String(64)),
        sa.Column("track", sa.String(16)),
        sa.Column("player", sa.String(32)),
        sa.Column("session", sa.String(32)),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float()),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("detector_version", sa.String(64), nullable=False),
        sa.Column("detector_status", sa.String(16), nullable=False),
        sa.Column("start_at", number),
        sa.Column("end_at", number),
        sa.Column("excerpt_hash", sa.String(128)),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("action_result", sa.String(32), nullable=False),
        sa.Column("released_before", number, nullable=False),
        sa.Column("hold_us", number),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="violations_pk"),
        sa.ForeignKeyConstraint(["segment"], ["ingest_segments.id"], name="violations_segment_fk"),
        sa.UniqueConstraint("segment", "seq", name="violations_segment_key"),
    )
    op.create_index("violations_at_ms_index", "violations", ["at_ms"])
    op.create_index("violations_deployment_index", "violations", ["deployment", "at_ms"])
    op.create_table(
        "engagement",
        sa.Column("id", id_type, nullable=False),
        sa.Column("segment", id_type, nullable=False),
        sa.Column("seq", number, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("session", sa.String(32)),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("time_zone", sa.String(64)),
        sa.Column("clamped", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="engagement_pk"),
        sa.ForeignKeyConstraint(["segment"], ["ingest_segments.id"], name="engagement_segment_fk"),
        sa.UniqueConstraint("subject", "event_id", name="engagement_subject_key"),
    )
    op.create_index("engagement_at_ms_index", "engagement", ["at_ms"])
    op.create_index("engagement_subject_index", "engagement", ["subject", "at_ms"])


def downgrade() -> None:
    """Drop them."""
    for name in ("engagement", "violations", "tombstones", "subjects"):
        op.drop_table(name)
    for table, column in (("requests", "key_subject"), ("ingest_segments", "erased")):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
