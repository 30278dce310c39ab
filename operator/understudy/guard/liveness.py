"""Whether what was read last may be the beginning of something forbidden, and how far back that begins.

The engines report where matches end. What must be held back until then is known by this automaton: its states are sets
of positions within patterns (a trie of the literals, Glushkov's positions of the expressions), made as they are met
and kept, so that a character costs one look into a table. What a position cannot be further away from than the
beginning of its match is known, because nothing repeats without end; the greatest such distance in a state is how
much may be under way. It may be more than is under way in truth, never less.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from understudy.guard.charset import CharSet
from understudy.guard.needles import AFTER, Needle
from understudy.guard.views import JOINED, Piece

MAX_KEPT: Final = 100_000
"""Transitions, and positions within states: about a hundred bytes each. Then all are forgotten and made anew."""


# Positions of literals, which are many, share it: each list would lengthen every collection of garbage.
_NO_WAYS: Final[list[tuple[int, int]]] = []


class State:
    """Positions at which matches may be; `free` and `joined` are the states that follow, by character.

    `free`: a word may begin with that character. `joined`: it goes on with a word.
    """

    __slots__ = ("depth", "free", "joined", "positions")

    def __init__(self, positions: frozenset[int], depth: int) -> None:
        self.positions = positions
        self.depth = depth
        self.free: dict[str, State] = {}
        self.joined: dict[str, State] = {}


class Automaton:
    """Of all patterns that are looked for in one view and must not slip through. Shared by all streams."""

    def __init__(self, needles: Iterable[Needle], alike: Mapping[str, str]) -> None:
        # By a character of the text: those that a literal may have there; others are themselves.
        self._alike = alike
        # A position of a literal goes on by character, one of an expression by sets of characters.
        self._next: list[dict[str, int]] = [{}, {}]
        self._sets: list[list[tuple[int, int]]] = [[], []]
        self._numbers: dict[CharSet, int] = {}
        self._depths = [0, 0]
        self._waits = [False, False]
        for needle in needles:
            # Position 0 comes before everything, position 1 before what must begin a word.
            root = int(needle.starts_word)
            if needle.chars:
                self._add_literal(root, needle)
            else:
                self._add_expression(root, needle)
        # Nothing is still to come there: no more characters, nor the one that shows that the word has ended.
        ways = zip(self._next, self._sets, self._waits, strict=True)
        self._dead = frozenset(position for position, way in enumerate(ways) if not any(way))
        self._having: dict[str, frozenset[int]] = {}
        self._roots: tuple[dict[str, frozenset[int]], dict[str, frozenset[int]]] = ({}, {})
        self._states: dict[frozenset[int], State] = {}
        self._kept = 0
        self.nothing = State(frozenset(), 0)
        self._states[self.nothing.positions] = self.nothing

    def step(self, state: State, char: str, *, free: bool) -> State:
        """The state after one more character. Callers look into the state's own tables first."""
        if self._kept >= MAX_KEPT:
            self._forget()
        reached = self._after(state.positions, char) | self._begun(char, free)
        after = self._states.get(reached)
        if after is None:
            after = State(reached, max((self._depths[position] for position in reached), default=0))
            self._states[reached] = after
            self._kept += len(reached)
        (state.free if free else state.joined)[char] = after
        self._kept += 1
        return after

    def _after(self, positions: Iterable[int], char: str) -> frozenset[int]:
        reached: set[int] = set()
        alike = self._alike.get(char, char)
        having = self._sets_having(char)
        for position in positions:
            following = self._next[position]
            if following:
                reached.update(following[each] for each in alike if each in following)
            for number, target in self._sets[position]:
                if number in having:
                    reached.add(target)
        return frozenset(reached - self._dead)

    def _begun(self, char: str, free: bool) -> frozenset[int]:
        begun = self._roots[free].get(char)
        if begun is None:
            begun = self._roots[free][char] = self._after((0, 1) if free else (0,), char)
            self._kept += 1
        return begun

    def _sets_having(self, char: str) -> frozenset[int]:
        having = self._having.get(char)
        if having is None:
            having = frozenset(number for chars, number in self._numbers.items() if char in chars)
            self._having[char] = having
            self._kept += 1
        return having

    def _forget(self) -> None:
        # Streams hold on to the state that they are in, and by its tables would keep all the others alive.
        for state in self._states.values():
            state.free.clear()
            state.joined.clear()
        self._states = {self.nothing.positions: self.nothing}
        for roots in self._roots:
            roots.clear()
        self._having.clear()
        self._kept = 0

    def _position(self, depth: int) -> int:
        self._next.append({})
        self._sets.append(_NO_WAYS)
        self._depths.append(depth)
        self._waits.append(False)
        return len(self._depths) - 1

    def _add_literal(self, at: int, needle: Needle) -> None:
        for depth, char in enumerate(needle.chars, 1):
            known = self._next[at].get(char)
            if known is None:
                known = self._next[at][char] = self._position(depth)
            at = known
        # Of a sign that is read as a letter it is the text that says whether it was one.
        last = needle.chars[-1]
        sign = last.isascii() and last.isalnum() and not needle.pattern.inside[AFTER]
        self._waits[at] = self._waits[at] or needle.ends_word or sign

    def _add_expression(self, root: int, needle: Needle) -> None:
        made = needle.positions
        first = len(self._depths)
        for _ in made.chars:
            self._position(1)
        numbers = [self._numbers.setdefault(chars, len(self._numbers)) for chars in made.chars]
        self._sets[root] += [(numbers[position], first + position) for position in made.firsts]
        # Positions come after all that they may follow: one pass finds the longest way to each.
        for position, followers in enumerate(made.follow):
            self._sets[first + position] = [(numbers[follower], first + follower) for follower in followers]
            for follower in followers:
                self._depths[first + follower] = max(self._depths[first + follower], self._depths[first + position] + 1)
        for last in made.lasts:
            self._waits[first + last] = needle.ends_word


class Follower:
    """Follows one stream in one view: `clear` says from where on something may be under way."""

    __slots__ = ("_automaton", "_low", "_state")

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._state = automaton.nothing
        self._low = 0

    def feed(self, piece: Piece, origins: Sequence[int]) -> list[int | None]:
        """After each character of the piece: where what may be under way begins in the text, or None.

        `origins` are those of the view's last characters up to the end of the piece, as many as a pattern is wide.
        """
        automaton, state, low = self._automaton, self._state, self._low
        alive = state.depth > 0
        begins: list[int | None] = []
        at = len(origins) - len(piece.chars)
        for char, before in zip(piece.chars, piece.before, strict=True):
            free = before not in JOINED
            after = (state.free if free else state.joined).get(char)
            if after is None:
                after = automaton.step(state, char, free=free)
            state = after
            at += 1
            if not alive:
                low = origins[at - 1]
            alive = state.depth > 0
            if alive:
                # What is under way now was under way before, and cannot have begun earlier than was known then.
                first = at - state.depth
                if first >= 0 and origins[first] > low:
                    low = origins[first]
                begins.append(low)
            else:
                begins.append(None)
        self._state, self._low = state, low
        return begins

    def begins(self) -> int | None:
        """Where what may be under way now begins; None when nothing is."""
        return self._low if self._state.depth else None
