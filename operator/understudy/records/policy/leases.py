"""What a ledger grants of a budget, and what becomes of it.

A holder (a gateway) spends from a lease without asking. All that a lease was granted counts against the budget until
the lease is over: so nobody can spend more than the budget together, however many holders there are and whatever they
do not live to tell. A lease that ends counts what was spent; one that lapses, because its holder has not been heard of,
counts whole until the holder tells after all.

`fence` numbers the answers of one lease. A question carries the number of the answer before it; so one that was
repeated gets the same answer again, and one that was overtaken changes nothing.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

State = Literal["open", "ended", "lapsed"]
# So much of a budget may lie in one lease and wait to be spent: what is lost for a while with its holder.
PORTION: Final = 100


@dataclass(frozen=True, slots=True)
class Lease:
    """One holder's part: `granted` to it, of which it told that `spent` was spent."""

    granted: int = 0
    spent: int = 0
    fence: int = 0
    state: State = "open"

    @property
    def counted(self) -> int:
        """What it takes of its budget."""
        return self.spent if self.state == "ended" else max(self.granted, self.spent)

    @property
    def settled(self) -> int:
        """Of that, what no longer depends on a question of its holder."""
        return 0 if self.state == "open" else self.counted

    @property
    def lost(self) -> int:
        """Of that, what may not have been spent: nobody has told."""
        return self.counted - self.spent if self.state == "lapsed" else 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget of `amount` without the lease in question: what all `others` take of it, and how many are open."""

    amount: int
    taken: int
    others: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What a holder tells and wants. `fence`: of the last answer, 0 if there was none.

    `spent` is all that it ever spent of the lease, and requests under way may yet spend `held`. `keep` is how much of
    what was granted it counts on: if less than that was, it gives the rest back. Beyond `keep` it needs `need`, else it
    has to refuse somebody, and can use `want`.
    """

    fence: int
    spent: int
    held: int
    keep: int
    need: int
    want: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a question cannot be answered: a code for programs, a sentence for people."""

    code: Literal["lease_unknown", "lease_over", "stale_fence", "bad_keep", "bad_spent"]
    message: str


def ask(standing: Standing, lease: Lease, said: Ask) -> Lease | Fault:
    """The lease after a question; the lease itself, unchanged, if the question was a repetition."""
    if lease.state != "open":
        return Fault("lease_over", f"this lease has {lease.state}: take a new one, and end this one by what it spent")
    if lease.fence and said.fence == lease.fence - 1:
        return lease
    if said.fence != lease.fence:
        return Fault("stale_fence", f"fence {said.fence} is not that of the last answer, {lease.fence}")
    if said.keep > lease.granted:
        return Fault("bad_keep", f"keep is {said.keep}, more than the {lease.granted} that were granted")
    if said.spent < lease.spent:
        return Fault("bad_spent", f"spent is {said.spent}, less than the {lease.spent} that were told before")
    granted = said.keep + _more(standing, said)
    return replace(lease, granted=granted, spent=said.spent, fence=lease.fence + 1)


def _more(standing: Standing, said: Ask) -> int:
    """How much is added to what the holder keeps.

    All that is needed or nothing. Beyond that at most half of an even share of what is free, so that the last of a
    budget is not hoarded by who asks first, and no more than lets a hundredth of it wait in the lease for requests to
    come.
    """
    free = standing.amount - standing.taken - said.keep
    if free < said.need or free <= 0:
        return 0
    even = free // (2 * (standing.others + 1))
    room = standing.amount // PORTION - (said.keep - said.spent - said.held)
    return max(said.need, min(said.want, even, room))


def end(lease: Lease, spent: int) -> Lease | Fault:
    """The lease after its holder told the last of it: again if repeated, and even after it lapsed."""
    if lease.state == "ended":
        return lease
    if spent < lease.spent:
        return Fault("bad_spent", f"spent is {spent}, less than the {lease.spent} that were told before")
    return replace(lease, spent=spent, fence=lease.fence + 1, state="ended")


def lapse(lease: Lease) -> Lease:
    """The lease of a holder that has not been heard of in time."""
    return replace(lease, state="lapsed")
