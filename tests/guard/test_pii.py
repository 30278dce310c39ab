"""Numbers, addresses and keys: what is one, and what only looks so."""

import pytest

from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import prepare
from understudy.guard.pii import CHECKS, ENTITIES, pii_patterns
from understudy.guard.scan import Scanner

SCANNERS = {
    entity: Scanner([prepare(each, 2048) for each in pii_patterns("pii", [entity])], hyperscan_engine, CHECKS)
    for entity in ENTITIES
}


def found(entity: str, text: str) -> list[str]:
    """The matches that no longer one covers."""
    scan = SCANNERS[entity].open()
    findings = scan.feed(text).findings + scan.finish().findings
    spans = {(finding.start, finding.end) for finding in findings}
    widest = [(a, b) for a, b in spans if not any(c <= a and b <= d and (a, b) != (c, d) for c, d in spans)]
    assert {(finding.detector, finding.name, finding.category) for finding in findings} <= {("pii", entity, "pii")}
    return [text[start:end] for start, end in sorted(widest)]


# Numbers of documentation and test networks; those of the IBAN registry.
@pytest.mark.parametrize(
    ("entity", "text", "spans"),
    [
        ("CREDIT_CARD", "4111\u20111111\u20111111\u20111111", ["4111\u20111111\u20111111\u20111111"]),
        ("US_SSN", "219–09–9999", ["219–09–9999"]),
        ("CREDIT_CARD", "card: 4111 1111 1111 1111.", ["4111 1111 1111 1111"]),
        ("CREDIT_CARD", "5500-0000-0000-0004 or 340000000000009", ["5500-0000-0000-0004", "340000000000009"]),
        ("CREDIT_CARD", "No 12 4111111111111111 2030", ["4111111111111111"]),
        ("CREDIT_CARD", "４１１１ １１１１ １１１１ １１１１", ["４１１１ １１１１ １１１１ １１１１"]),
        ("CREDIT_CARD", "4111\u200b111111111111", ["4111\u200b111111111111"]),
        ("EMAIL", "Write to John.Doe+x@Mail.Example.co.uk, please", ["John.Doe+x@Mail.Example.co.uk"]),
        ("EMAIL", "<a@b.io> mailto:o'neil@example.org?x", ["a@b.io", "o'neil@example.org"]),
        ("IBAN", "DE89 3704 0044 0532 0130 00", ["DE89 3704 0044 0532 0130 00"]),
        ("IBAN", "to gb82west12345698765432 today", ["gb82west12345698765432"]),
        ("IBAN", "NO93 8601 1117 947 to", ["NO93 8601 1117 947"]),
        ("IBAN", "MT84MALT011000012345MTLCAST001S", ["MT84MALT011000012345MTLCAST001S"]),
        ("IP_ADDRESS", "from 203.0.113.7:80", ["203.0.113.7"]),
        ("IP_ADDRESS", "2001:db8::8a2e:370:7334", ["2001:db8::8a2e:370:7334"]),
        ("IP_ADDRESS", "at ::ffff:203.0.113.7!", ["::ffff:203.0.113.7"]),
        ("PHONE", "+49 (0)30 1234-567, +1-202-555-0143.", ["+49 (0)30 1234-567", "+1-202-555-0143"]),
        ("PHONE", "(202) 555-0143 or 202.555.0143", ["(202) 555-0143", "202.555.0143"]),
        ("PHONE", "030/12345678 or (0171) 2345678", ["030/12345678", "(0171) 2345678"]),
        ("SECRET", "AKIAIOSFODNN7EXAMPL3 aws", []),
        ("SECRET", "id AKIAI0SF0DNN7EXAMPLE aws", ["AKIAI0SF0DNN7EXAMPLE"]),
        ("SECRET", "token ghp_" + "a1B2" * 9 + "!", ["ghp_" + "a1B2" * 9]),
        ("SECRET", "sk-proj-0123456789abcdefghij", ["sk-proj-0123456789abcdefghij"]),
        ("SECRET", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", ["-----BEGIN RSA PRIVATE KEY-----"]),
        ("SECRET", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmVk", ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0"]),
        ("US_SSN", "ssn 219-09-9999", ["219-09-9999"]),
        ("US_SSN", "219 09 9999", ["219 09 9999"]),
    ],
)  # fmt: skip
def test_what_has_the_shape_and_passes_the_check_is_found(entity: str, text: str, spans: list[str]) -> None:
    assert found(entity, text) == spans


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("CREDIT_CARD", "4111 1111 1111 1112"),
        ("CREDIT_CARD", "0000000000000000 and 9111111111111110"),
        ("CREDIT_CARD", "a4111111111111111"),
        ("EMAIL", "@handle a@b x@y.z user@localhost"),
        ("EMAIL", "a@b..com a@b-.com a@b.-c.com"),
        ("IBAN", "DE89 3704 0044 0532 0130 01"),
        ("IBAN", "ZZ89 3704 0044 0532 0130 00"),
        ("IP_ADDRESS", "300.1.1.1, 1.2.3, at 12:34:56, std::vector, a::b"),
        ("PHONE", "+1 23, 1999-2024, 0123, 0,123456789, 12 345 678"),
        ("SECRET", "sk-this-is-a-long-word-with-hyphens, AKIA"),
        ("US_SSN", "000-12-1234, 666-12-1234, 900-12-1234, 219-00-1234, 219-09-0000, 219-09 9999"),
    ],
)
def test_what_only_looks_so_is_not_found(entity: str, text: str) -> None:
    assert found(entity, text) == []


@pytest.mark.parametrize("offset", range(16))
def test_one_wrong_digit_makes_a_card_number_none(offset: int) -> None:
    number = "4539578763621486"
    assert found("CREDIT_CARD", number) == [number]
    wrong = number[:offset] + str((int(number[offset]) + 1) % 10) + number[offset + 1 :]
    assert found("CREDIT_CARD", wrong) == []


def test_an_entity_that_there_is_not_is_an_error() -> None:
    with pytest.raises(KeyError):
        pii_patterns("pii", ["NAME"])
