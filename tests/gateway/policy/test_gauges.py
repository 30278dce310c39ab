"""What several processes show as one."""

from understudy.gateway.policy.gauges import joined, lasting

EXPIRY = "understudy_tls_expiration_timestamp_seconds"


def test_values_of_one_kind_are_added_and_others_kept_apart() -> None:
    whole = joined([{"a_total": ("A", {"x": 1.0, "y": 2.0})}, {"a_total": ("A", {"x": 3.0})}, {"b": ("B", {"": 4.0})}])
    assert whole == {"a_total": ("A", {"x": 4.0, "y": 2.0}), "b": ("B", {"": 4.0})}


def test_of_certificates_the_one_that_ends_first_is_shown() -> None:
    whole = joined([{EXPIRY: ("E", {"clients": 9.0})}, {EXPIRY: ("E", {"clients": 7.0, "admin": 8.0})}])
    assert whole == {EXPIRY: ("E", {"clients": 7.0, "admin": 8.0})}


def test_of_watches_the_longest_silence_is_shown() -> None:
    age = "understudy_watch_age_seconds"
    whole = joined([{age: ("W", {"secrets": 9.0})}, {age: ("W", {"secrets": 70.0})}, {age: ("W", {"secrets": 8.0})}])
    assert whole == {age: ("W", {"secrets": 70.0})}


def test_what_each_process_knows_of_the_whole_is_not_added() -> None:
    name = "understudy_access_keys"
    whole = joined([{name: ("K", {"known": 7.0})}, {name: ("K", {"known": 8.0})}, {name: ("K", {"known": 7.0})}])
    assert whole == {name: ("K", {"known": 8.0})}


def test_of_records_that_wait_the_oldest_is_shown() -> None:
    age = "understudy_outbox_age_seconds"
    assert joined([{age: ("A", {"": 9.0})}, {age: ("A", {"": 70.0})}]) == {age: ("A", {"": 70.0})}


def test_no_part_is_changed() -> None:
    part = {"a": ("A", {"x": 1.0})}
    joined([part, part])
    assert part == {"a": ("A", {"x": 1.0})}


def test_counters_outlive_a_process_and_gauges_do_not() -> None:
    assert lasting({"a_total": ("A", {"": 1.0}), "b": ("B", {"": 1.0})}) == {"a_total": ("A", {"": 1.0})}
