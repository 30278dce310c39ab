"""What is compared before anything is built or reused."""

import pytest

from local import versions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go1.27", (1, 27, 0)),
        ("go1.26rc1", (1, 26, 0)),
        ("v1.34.4", (1, 34, 4)),
        ("Docker version 28.2.2, build e6534b4", (28, 2, 2)),
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("devel", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_the_first_version_in_a_text_is_found(text: str, expected: tuple[int, int, int]) -> None:
    assert expected == versions.parse(text)


def test_versions_compare_as_numbers_not_as_text() -> None:
    assert versions.parse("go1.9.7") < versions.GO_MINIMUM <= versions.parse("go1.26.10")


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("v1.34.4", "v1.34.11", True),
        ("v1.34.4", "v1.35.0", False),
        ("v1.3.4", "v1.34.4", False),
        ("", "", False),
        ("", "v1.34.4", False),
    ],
)
def test_only_the_patch_level_may_differ(left: str, right: str, same: bool) -> None:
    assert same == versions.same_minor(left, right)


def test_the_released_node_image_has_the_version_that_is_assembled_otherwise() -> None:
    assert versions.same_minor(versions.NODE_IMAGE, versions.KUBERNETES)


def test_the_toolchain_that_is_fetched_is_new_enough() -> None:
    assert versions.parse(versions.GO_TOOLCHAIN) >= versions.GO_MINIMUM
