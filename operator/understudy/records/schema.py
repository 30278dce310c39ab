"""The tables, as programs see them; `migrations/` makes them, and a test holds the two together.

Amounts and instants are whole numbers: in the ledger Unix seconds, elsewhere as the columns' names say. Nothing here is
SQLite's alone.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

# Constraints have names of their own, so that a later migration can speak of them in every database.
METADATA: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_index",
    }
)

# SQLite numbers rows by itself only where the column is its INTEGER, which holds 64 bits all the same.
_ID: Final = BigInteger().with_variant(Integer, "sqlite")

# One budget for one period. `amount` is what was said last; `settled` is what the leases that are not open take, and
# `lost` the part of it that a lapsed lease takes without anybody having told that it was spent.
BUDGETS: Final = Table(
    "ledger_budgets",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("account", String(320), nullable=False),
    Column("unit", String(16), nullable=False),
    Column("period", String(8), nullable=False),
    Column("starts", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    UniqueConstraint("account", "unit", "period", "starts"),
    Index("ledger_budgets_ends_index", "ends"),
)

# Rows of leases that are over stay for a while, so that whoever repeats his last word gets the same answer.
LEASES: Final = Table(
    "ledger_leases",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("budget", _ID, ForeignKey("ledger_budgets.id"), nullable=False),
    Column("holder", String(128), nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("ledger_leases_budget_index", "budget"),
    Index("ledger_leases_state_index", "state", "expires"),
)

# One row: the latest instant that anything was written at. Time does not go back behind it.
CLOCK: Final = Table(
    "ledger_clock",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("latest", BigInteger, nullable=False),
)

# What has come of a segment, a file of lines that a gateway sends: all of them before the line `next` have been taken.
# Of these `stored` are rows, `rejected` could not be read, and `missing` never came, though later ones did. `lines` is
# how many there were of a segment that made way: the rest of them is lost. `lost` tells of records that never got into
# a segment.
SEGMENTS: Final = Table(
    "ingest_segments",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", String(32), nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("lines", BigInteger),
    Column("last_at", BigInteger, nullable=False),
    UniqueConstraint("name"),
    Index("ingest_segments_last_at_index", "last_at"),
)

# One request of a client, as the gateway's log tells it: gateway/policy/story.py says what each field means.
REQUESTS: Final = Table(
    "requests",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("segment", _ID, ForeignKey("ingest_segments.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("deployment", String(320), nullable=False),
    Column("served_name", String(320), nullable=False),
    Column("fallback", String(320)),
    Column("operation", String(64), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("revision", String(64)),
    Column("track", String(16)),
    Column("status", Integer, nullable=False),
    Column("code", String(64)),
    Column("attempts", Integer, nullable=False),
    Column("first_token_us", BigInteger),
    Column("total_us", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("finish", String(64)),
    Column("conversation", String(16)),
    Column("sampled", Boolean, nullable=False),
    UniqueConstraint("segment", "seq"),
    Index("requests_at_ms_index", "at_ms"),
    Index("requests_deployment_index", "deployment", "at_ms"),
)
