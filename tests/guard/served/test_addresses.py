"""Who may be asked on a user's word: neither the gateway nor its node, in whatever way the address is written."""

import pytest

from understudy.guard.served.addresses import may_be_asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::",
        "::1", "fe80::1", "fe80::1%eth0", "ff02::1", "fd00:ec2::254",
        # The same, for routers and kernels that read them as addresses of IPv4.
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::169.254.169.254",
        "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "", "localhost", "10.0.0", "1.2.3.4.5",
    ],
)  # fmt: skip
def test_these_are_never_asked(address: str) -> None:
    assert not may_be_asked(address)


@pytest.mark.parametrize(
    "address",
    ["10.96.0.10", "192.168.1.7", "172.17.0.1", "203.0.113.7", "fd00::1", "2001:db8::1", "2002:a00:1::",
     "::ffff:10.0.0.1"],
)  # fmt: skip
def test_services_and_hosts_are(address: str) -> None:
    assert may_be_asked(address)
