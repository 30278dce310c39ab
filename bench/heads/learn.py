"""Logistic regression on hashed pieces of words, by AdaGrad, without a library: seconds for each category.

A head's number becomes a score by what it says to harmless text that it has not learned from: 0.3 is what 5 % of such
windows reach, 0.85 what 0.2 % do. So the usual thresholds mean something, whatever a set's share of bad examples was.
"""

import math
import random
from collections.abc import Sequence

from bench.heads.sets import Example, Sets
from understudy.guard.linear import Head, Weights, places_of

BUCKETS = 1 << 15
CATEGORIES = ("harassment", "hate", "self_harm")
ROUNDS = 4
RATE = 0.3
# Of positive and negative examples together each half counts as much as the other.
SHARES = ((0.05, 0.3), (0.002, 0.85))
KEPT_BACK = 0.2

# What people say who think of harming themselves, in words of our own: public sets have questions, hardly statements.
WISHES = (
    "I want to die", "I want to kill myself", "I am going to kill myself", "I don't want to live anymore",
    "I wish I was dead", "I wish I had never been born", "I can't go on living like this", "I want to end my life",
    "I am thinking about suicide", "I keep thinking about ending it all", "I have been cutting myself",
    "I want to hurt myself", "I cut my arms again", "everybody would be better off without me",
    "I took all of the pills", "I am going to jump off the bridge", "I have a plan to end my life",
    "there is no reason for me to live", "I have written my goodbye letter", "I burn myself when it gets too much",
    "I started self harming", "I starve myself and throw up after I eat", "I feel suicidal", "I don't want to wake up",
)  # fmt: skip
BEFORE = (
    "",
    "Sometimes ",
    "Tonight ",
    "I can't tell anyone, but ",
    "Please help me, ",
    "Honestly, ",
    "Since she left ",
)
AFTER = (".", " and nobody cares.", ", I'm so tired.", " tonight.", " and I don't know what to do.", " again...")
# The same words where nobody is meant to come to harm.
HARMLESS = (
    "I am dying to know how the story ends.", "This homework is killing me.", "My phone died again.",
    "The old king wanted to die with his sword in his hand.",
    "You cut the rope and jump off the bridge into the river.",
    "I laughed so hard I nearly died.", "He would rather die than surrender the fort.", "Cut the bread, please.",
    "Better dead than a coward, roared the captain.", "The hero ends the dragon's life.", "It hurts when I run.",
    "I can't live without coffee.", "We take the pills against the fever to the village.", "She burned the letter.",
)  # fmt: skip


def learn(sets: Sets, seed: int = 1) -> Head:
    """A head of all categories."""
    chance = random.Random(seed)
    benign = sets.benign()
    chance.shuffle(benign)
    kept_back = benign[: int(KEPT_BACK * len(benign))]
    clear = dict.fromkeys(CATEGORIES, False)
    examples = [*sets.learned_from(), *(Example(text, clear) for text in benign[len(kept_back) :]), *of_our_own(chance)]
    chance.shuffle(examples)
    places = [tuple(places_of(example.text, BUCKETS)) for example in examples]
    quiet = [tuple(places_of(text, BUCKETS)) for text in kept_back]
    return Head(BUCKETS, {category: _weights(category, examples, places, quiet, seed) for category in CATEGORIES})


def of_our_own(chance: random.Random) -> list[Example]:
    """Statements of harm to oneself, and harmless ones that have their words."""
    wishes = [before + wish + after for wish in WISHES for before in BEFORE for after in AFTER]
    said = [Example(text, {"self_harm": True}) for text in chance.sample(wishes, 400)]
    return said + [Example(text, dict.fromkeys(CATEGORIES, False)) for text in HARMLESS] * 4


def _weights(
    category: str,
    examples: Sequence[Example],
    places: Sequence[tuple[int, ...]],
    quiet: Sequence[tuple[int, ...]],
    seed: int,
) -> Weights:
    known = [at for at, example in enumerate(examples) if category in example.is_a and places[at]]
    positives = sum(examples[at].is_a[category] for at in known)
    heavy = {True: len(known) / (2 * positives), False: len(known) / (2 * (len(known) - positives))}
    values, squares = [0.0] * BUCKETS, [1e-6] * BUCKETS
    bias, bias_square = 0.0, 1e-6
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        chance.shuffle(known)
        for at in known:
            here, is_one = places[at], examples[at].is_a[category]
            share = 1 / math.sqrt(len(here))
            z = bias + share * sum([values[place] for place in here])
            slope = heavy[is_one] * (1 / (1 + math.exp(-max(min(z, 30.0), -30.0))) - is_one)
            bias_square += slope * slope
            bias -= RATE * slope / math.sqrt(bias_square)
            step = slope * share
            for place in here:
                squares[place] += step * step
                values[place] -= RATE * step / math.sqrt(squares[place])
    scale = max(abs(value) for value in values) / 127
    whole = [round(value / scale) for value in values]
    return _calibrated(whole, scale, quiet)


def _calibrated(whole: Sequence[int], scale: float, quiet: Sequence[tuple[int, ...]]) -> Weights:
    """Weights by which the shares of harmless windows come to the scores that SHARES says."""
    sums = sorted((scale * sum(whole[p] for p in here) / math.sqrt(len(here)) for here in quiet if here), reverse=True)
    (share, score), (rare, high) = SHARES
    usual, seldom = sums[int(share * len(sums))], sums[int(rare * len(sums))]
    slope = (_logit(high) - _logit(score)) / max(seldom - usual, 1e-9)
    values = bytes(value % 256 for value in whole)
    return Weights(_logit(score) - slope * usual, slope * scale, values)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
