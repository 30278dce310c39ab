"""The tables, as programs see them; `migrations/` makes them, and a test holds the two together.

Amounts and instants are whole numbers: in the ledger Unix seconds, elsewhere as the columns' names say. Nothing here is
SQLite's alone.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
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
# a segment, `erased` of those that came after whom they are about was erased.
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
    Column("erased", BigInteger, nullable=False),
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
    # Of the access key.
    Column("key_subject", String(32)),
    UniqueConstraint("segment", "seq"),
    Index("requests_at_ms_index", "at_ms"),
    Index("requests_deployment_index", "deployment", "at_ms"),
    Index("requests_key_subject_index", "key_subject", "at_ms"),
)

# The only link between somebody and the number that rows call him by, drawn by chance. `hmac` is of his identifier,
# with the secret of that number; who is seen again is linked by the newest one.
SUBJECTS: Final = Table(
    "subjects",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("hmac", String(64), nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    UniqueConstraint("hmac", "key_version"),
    Index("subjects_seen_at_index", "seen_at"),
)

# Who was erased: what happened before then must not be stored, if it comes before the stone's end.
TOMBSTONES: Final = Table(
    "tombstones",
    METADATA,
    Column("hmac", String(64), primary_key=True),
    Column("key_version", Integer, primary_key=True, autoincrement=False),
    Column("erased_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Index("tombstones_ends_at_index", "ends_at"),
)

# What a rule of a guardrail found, and what was done: where in the text, and of that as much as the guardrail says
# (`excerpt_hash`, `excerpt`), up to `evidence_until_ms`.
VIOLATIONS: Final = Table(
    "violations",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("segment", _ID, ForeignKey("ingest_segments.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("violation_id", String(64), nullable=False),
    Column("request_id", String(64)),
    Column("deployment", String(320), nullable=False),
    Column("guardrail", String(320), nullable=False),
    Column("policy_hash", String(128), nullable=False),
    Column("revision", String(64)),
    Column("track", String(16)),
    Column("player", String(32)),
    Column("session", String(32)),
    Column("direction", String(16), nullable=False),
    Column("category", String(64), nullable=False),
    Column("severity", Integer, nullable=False),
    Column("score", Float),
    Column("detector", String(64), nullable=False),
    Column("detector_version", String(64), nullable=False),
    Column("detector_status", String(16), nullable=False),
    Column("start_at", BigInteger),
    Column("end_at", BigInteger),
    Column("excerpt_hash", String(128)),
    Column("action", String(32), nullable=False),
    Column("action_result", String(32), nullable=False),
    Column("released_before", BigInteger, nullable=False),
    Column("hold_us", BigInteger),
    Column("cancelled", Boolean, nullable=False),
    Column("rule", Integer),
    Column("channel", String(32)),
    Column("entity", String(64)),
    Column("length", BigInteger),
    Column("excerpt", String(1024)),
    Column("evidence_until_ms", BigInteger),
    # Of the access key.
    Column("key_subject", String(32)),
    UniqueConstraint("segment", "seq"),
    Index("violations_at_ms_index", "at_ms"),
    Index("violations_deployment_index", "deployment", "at_ms"),
    Index("violations_evidence_until_ms_index", "evidence_until_ms"),
    Index("violations_player_index", "player", "at_ms"),
    Index("violations_session_index", "session", "at_ms"),
    Index("violations_key_subject_index", "key_subject", "at_ms"),
)

# What happened around a player, or in a session of nobody known; guard/engagement/events.py says what each column
# means. `event_id` is his application's, which may tell of it more than once, and so may a client.
ENGAGEMENT: Final = Table(
    "engagement",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("segment", _ID, ForeignKey("ingest_segments.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("subject", String(32), nullable=False),
    Column("event_id", String(128), nullable=False),
    Column("event", String(32), nullable=False),
    Column("source", String(8), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("mood", Integer, nullable=False),
    Column("revision", String(64), nullable=False),
    Column("marks", String(32), nullable=False),
    # By which he was to be judged from then on; None where nothing was said of it.
    Column("policy", String(64)),
    # Of a finding: the terms of the rung that counts it, as JSON.
    Column("terms", Text),
    UniqueConstraint("subject", "event_id", "source"),
    Index("engagement_at_ms_index", "at_ms"),
    Index("engagement_subject_index", "subject", "at_ms"),
    # What was folded is known by its number: that of a row that is gone must not come again.
    sqlite_autoincrement=True,
)

# What a Guardrail says of engagement, by its SHA-256.
POLICIES: Final = Table(
    "engagement_policies",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("document", Text, nullable=False),
)

# Where a player stands. `settled` is what of his log was folded by version `fold` of the rules, of what happened before
# `horizon` (Unix seconds), under `policy`. Gateways, who call him `who` by the secret `key_version`, are told `state`
# ("" for nothing); each change has the next number of all. He is looked at again at `look_ms`.
PLAYERS: Final = Table(
    "engagement_players",
    METADATA,
    Column("subject", String(32), primary_key=True),
    Column("who", String(64), nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("policy", String(64)),
    Column("fold", Integer, nullable=False),
    Column("settled", Text, nullable=False),
    Column("horizon", Float(53), nullable=False),
    Column("level", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("look_ms", BigInteger),
    Index("engagement_players_change_index", "change"),
    Index("engagement_players_look_ms_index", "look_ms"),
)

# What was done once: `once` is what it is done under, `window` what it is due once in. Where a rung of a ladder asks
# for it and no level: whose `guardrail` it is, and its number (`rung`) there; or that of the rule (`rule_number`).
INTERVENTIONS: Final = Table(
    "interventions",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("once", String(32), nullable=False),
    Column("subject", String(32), nullable=False),
    Column("rule", String(16), nullable=False),
    Column("level", Integer, nullable=False),
    Column("window", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("guardrail", String(320)),
    Column("rung", Integer),
    Column("rule_number", Integer),
    UniqueConstraint("once"),
    Index("interventions_subject_index", "subject", "until_ms"),
    Index("interventions_at_ms_index", "at_ms"),
)

# One row: the last event that was folded, and the number of the last change. `origin` is drawn by each database, so
# that numbers of another one are known for what they are.
PROGRESS: Final = Table(
    "engagement_progress",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("folded", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("origin", String(32), nullable=False),
)

# How a step of a revision's rollout was judged, as its ModelSnapshot says; `run` counts the deployment's rollouts, and
# `at_ms` is when it was heard of. `compared` is a JSON list of sentences.
DECISIONS: Final = Table(
    "decisions",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("snapshot_uid", String(64), nullable=False),
    Column("deployment", String(320), nullable=False),
    Column("revision", String(64), nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("step", String(16), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("compared", Text, nullable=False),
    UniqueConstraint("snapshot_uid", "run", "step"),
    Index("decisions_at_ms_index", "at_ms"),
    Index("decisions_deployment_index", "deployment", "at_ms"),
)

# What became of a revision, and when: it was promoted, as the deployment's `number`-th, or it failed.
HISTORY: Final = Table(
    "history",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("snapshot_uid", String(64), nullable=False),
    Column("deployment", String(320), nullable=False),
    Column("revision", String(64), nullable=False),
    Column("model", String(320), nullable=False),
    Column("event", String(16), nullable=False),
    Column("number", BigInteger),
    Column("failure", String(64)),
    Column("reason", String(128)),
    Column("message", Text),
    UniqueConstraint("snapshot_uid", "event", "at_ms"),
    Index("history_at_ms_index", "at_ms"),
    Index("history_deployment_index", "deployment", "at_ms"),
)

# Up to when the latest sweep forgot each kind: policy/retention.py says why that is remembered.
RETENTION: Final = Table(
    "retention",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
)
