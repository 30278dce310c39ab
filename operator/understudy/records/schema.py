"""The tables, as programs see them; `migrations/` makes them, and a test holds the two together.

Amounts and instants (Unix seconds) are whole numbers. Nothing here is SQLite's alone.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint

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
