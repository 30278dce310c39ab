"""Packages come from where the machine's own configuration says, for Debian and for Python."""

from local import debian
from local.python_packages import hand_over

TARGETS = """\
http://mirror.test/debian/|bookworm|main|Debian
http://mirror.test/debian/|bookworm|contrib|Debian
http://mirror.test/debian/|bookworm-updates|main|Debian
http://mirror.test/security/|bookworm-security|main|Debian
http://mirror.test/debian/|trixie|main|Debian
http://other.test/apt/|cloud|main|Somebody
http://mirror.test/debian/|bookworm|main|Debian
not a line of this kind
"""


def test_only_debians_own_sources_of_the_wanted_release_are_used() -> None:
    assert debian.sources_from(TARGETS) == [
        "deb http://mirror.test/debian/ bookworm main contrib",
        "deb http://mirror.test/debian/ bookworm-updates main",
        "deb http://mirror.test/security/ bookworm-security main",
    ]


def test_a_machine_that_is_no_debian_leaves_the_choice_to_the_tool() -> None:
    assert debian.sources_from("http://x.test/ubuntu/|noble|main|Ubuntu\n") == []


def test_proxies_and_certificates_of_apt_are_kept_and_nothing_else() -> None:
    dump = """\
Acquire "";
Acquire::http::Proxy "http://proxy.test:3128";
Acquire::https::CAInfo "/etc/ssl/own.pem";
Acquire::http::Proxy::direct.test "DIRECT";
Acquire::Retries "3";
APT::Install-Recommends "1";
Dir::Cache "var/cache/apt";
"""
    assert debian.KEPT_SETTINGS.findall(dump) == [
        'Acquire::http::Proxy "http://proxy.test:3128";',
        'Acquire::https::CAInfo "/etc/ssl/own.pem";',
        'Acquire::http::Proxy::direct.test "DIRECT";',
        'Acquire::Retries "3";',
    ]


def test_pips_index_and_certificate_are_handed_to_uv() -> None:
    settings = """\
:env:.default-timeout='180'
global.cert='/etc/ssl/own.pem'
global.index-url='https://index.test/simple'
global.extra-index-url='\\nhttps://one.test/simple\\nhttps://two.test/simple'
"""
    assert hand_over(settings, {}) == {
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "UV_DEFAULT_INDEX": "https://index.test/simple",
        "UV_INDEX": "https://one.test/simple https://two.test/simple",
    }


def test_what_is_set_for_uv_already_stays() -> None:
    assert hand_over("global.index-url='https://index.test/simple'\n", {"UV_DEFAULT_INDEX": "https://mine.test"}) == {}


def test_pip_without_a_configuration_hands_nothing_over() -> None:
    assert hand_over("", {}) == {}
