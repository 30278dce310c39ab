"""Names and keys that two processes must arrive at alike."""

from understudy.domain.names import engine_key, kept_key_field, master_id

MASTER = b"m" * 32


def test_engine_keys_differ_by_revision_deployment_namespace_and_master_key() -> None:
    keys = {
        engine_key(MASTER, "tales", "story", "6f1c9a02"),
        engine_key(MASTER, "tales", "story", "a90b1234"),
        engine_key(MASTER, "tales", "other", "6f1c9a02"),
        engine_key(MASTER, "other", "story", "6f1c9a02"),
        engine_key(b"n" * 32, "tales", "story", "6f1c9a02"),
    }
    assert len(keys) == 5
    assert all(len(key) == 64 for key in keys)


def test_a_kept_keys_field_is_a_secrets_field_and_of_one_revision_only() -> None:
    # Neither namespaces nor names have dots; "master" and "kept-for" have none either.
    assert kept_key_field("tales", "story", "6f1c9a02") == "tales.story-6f1c9a02"
    assert kept_key_field("a-b", "c", "6f1c9a02") != kept_key_field("a", "b-c", "6f1c9a02")


def test_master_keys_are_told_apart_without_being_told() -> None:
    assert master_id(MASTER) == master_id(b"m" * 32)
    assert master_id(MASTER) != master_id(b"n" * 32)
    assert len(master_id(MASTER)) == 16
    assert MASTER.hex() not in master_id(MASTER)
