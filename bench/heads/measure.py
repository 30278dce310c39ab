"""What a head finds in sets that it has never seen, with 95 % intervals."""

import math
from collections.abc import Sequence

from bench.heads.sets import Sets, windows
from understudy.guard.linear import Head
from understudy.guard.served.codec import USUAL

Z = 1.959964


def interval(found: int, of: int) -> tuple[float, float]:
    """Wilson's, of a share."""
    if of == 0:
        return 0.0, 1.0
    share, square = found / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def area(bad: Sequence[float], good: Sequence[float]) -> tuple[float, float]:
    """Area under the ROC curve, and half its interval (Hanley and McNeil, 1982)."""
    ranked = sorted([(score, True) for score in bad] + [(score, False) for score in good])
    ranks, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        ranks += (at + 1 + end) / 2 * sum(is_bad for _, is_bad in ranked[at:end])
        at = end
    n, m = len(bad), len(good)
    auc = (ranks - n * (n + 1) / 2) / (n * m)
    one, two = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (one - auc * auc) + (m - 1) * (two - auc * auc)) / (n * m)
    return auc, Z * math.sqrt(max(variance, 0.0))


def highest(head: Head, text: str, category: str) -> float:
    """The score of a text: of that of its windows that has most."""
    return max((head.scores(window)[category] for window in windows([text])), default=0.0)


def share(found: int, of: int) -> str:
    low, high = interval(found, of)
    return f"{100 * found / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def table_of_sets(head: Head, sets: Sets) -> list[str]:
    """One row for each set and category."""
    rows = [
        "| set | category | of it | others | area under ROC | found, medium | of others | found, high | of others |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, category, examples in sets.measured_on():
        scored = [(highest(head, example.text, category), example.is_a[category]) for example in examples]
        bad, good = [s for s, is_bad in scored if is_bad], [s for s, is_bad in scored if not is_bad]
        auc, half = area(bad, good)
        shares = [
            share(sum(score >= USUAL[severity] for score in scores), len(scores))
            for severity in (4, 6)
            for scores in (bad, good)
        ]
        rows.append(
            f"| {name} | {category} | {len(bad)} | {len(good)} | {auc:.3f} ± {half:.3f} | {' | '.join(shares)} |"
        )
    return rows


def table_of_harmless(head: Head, sets: Sets) -> list[str]:
    """One row for each kind of harmless text: how much of it any category of the head would be found in."""
    rows = ["| harmless text | windows | low (0.3) | medium (0.6) | high (0.85) |", "|---|--:|--:|--:|--:|"]
    for name, texts in sets.harmless():
        scores = [max(head.scores(text).values()) for text in texts]
        shares = [share(sum(score >= USUAL[severity] for score in scores), len(scores)) for severity in (2, 4, 6)]
        rows.append(f"| {name} | {len(scores)} | {' | '.join(shares)} |")
    return rows
