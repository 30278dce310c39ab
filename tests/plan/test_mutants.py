"""No rule is there for nothing: with any one of them taken out, a table test of this folder fails."""

import pytest

from tests.plan.mutants import Mutant, broken_by, casts, mutants, noticed

pytestmark = pytest.mark.slow

EVERY = mutants()
TABLE = noticed()
CASTS = {cast.name: cast for cast in casts(*sorted({name.partition("::")[0] for name in TABLE.values()}))}


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.name)
def test_without_the_rule_a_test_fails(mutant: Mutant) -> None:
    cast = CASTS.get(TABLE.get(mutant.name, ""))
    hint = f"no test is known to fail without {mutant.name}: write one, then run `python bench/proof.py --find`"
    assert cast is not None, hint
    assert broken_by(mutant, cast), hint


def test_the_table_names_every_rule_and_none_that_is_gone() -> None:
    assert set(TABLE) == {mutant.name for mutant in EVERY}


def test_every_rule_is_taken_out_once_and_nothing_else_is() -> None:
    assert len({mutant.name for mutant in EVERY}) == len(EVERY) > 80
    sizes = {sum(map(len, m.rules.phases.values())) for m in EVERY if not m.name.partition("/")[0].endswith("s")}
    assert len(sizes) == 1
