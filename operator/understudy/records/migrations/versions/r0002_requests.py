"""What gateways send: segments, and the requests in them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger()
    id_type = number.with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ingest_segments",
        sa.Column("id", id_type, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("next", number, nullable=False),
        sa.Column("stored", number, nullable=False),
        sa.Column("rejected", number, nullable=False),
        sa.Column("missing", number, nullable=False),
        sa.Column("lost", number, nullable=False),
        sa.Column("lines", number),
        sa.Column("last_at", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name="ingest_segments_pk"),
        sa.UniqueConstraint("name", name="ingest_segments_name_key"),
    )
    op.create_index("ingest_segments_last_at_index", "ingest_segments", ["last_at"])
    op.create_table(
        "requests",
        sa.Column("id", id_type, nullable=False),
        sa.Column("segment", id_type, nullable=False),
        sa.Column("seq", number, nullable=False),
        sa.Column("at_ms", number, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(320), nullable=False),
        sa.Column("served_name", sa.String(320), nullable=False),
        sa.Column("fallback", sa.String(320)),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.String(64)),
        sa.Column("track", sa.String(16)),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(64)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_token_us", number),
        sa.Column("total_us", number, nullable=False),
        sa.Column("tokens_in", number, nullable=False),
        sa.Column("tokens_out", number, nullable=False),
        sa.Column("finish", sa.String(64)),
        sa.Column("conversation", sa.String(16)),
        sa.Column("sampled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="requests_pk"),
        sa.ForeignKeyConstraint(["segment"], ["ingest_segments.id"], name="requests_segment_fk"),
        sa.UniqueConstraint("segment", "seq", name="requests_segment_key"),
    )
    op.create_index("requests_at_ms_index", "requests", ["at_ms"])
    op.create_index("requests_deployment_index", "requests", ["deployment", "at_ms"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("requests")
    op.drop_table("ingest_segments")
