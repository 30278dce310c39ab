"""Gateways and ledger together, in simulated time: a budget is never overspent, and nearly all of it can be spent."""

import itertools
import random
from dataclasses import dataclass, field

import pytest

from understudy.domain.money import Pricing
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.purse import Hold, Purse, Question
from understudy.records.policy import leases
from understudy.records.policy.leases import Ask, Fault, Standing

AMOUNT = 2_000_000
TICK = 0.02
LEASE_SECONDS = 60
# No tokens cost a whole number of billionths: each cost is rounded up.
PRICING = Pricing(100_003_217, 400_000_009, "USD", request=1_234_567)


@dataclass
class Ledger:
    """The ledger as records/ledger.py keeps it, in memory."""

    amount: int
    rows: dict[str, leases.Lease] = field(default_factory=dict)
    expires: dict[str, float] = field(default_factory=dict)

    def taken(self) -> int:
        return sum(lease.counted for lease in self.rows.values())

    def answer(self, asked: Question, now: float) -> tuple[int, int, float, int] | Fault | None:
        for name, lease in self.rows.items():
            if lease.state == "open" and self.expires[name] <= now:
                self.rows[name] = leases.lapse(lease)
        known = self.rows.get(asked.lease)
        if asked.last:
            if known is None:
                return Fault("lease_unknown", "")
            ended = leases.end(known, asked.spent)
            if isinstance(ended, Fault):
                return ended
            self.rows[asked.lease] = ended
            return None
        if known is None and asked.fence:
            return Fault("lease_unknown", "")
        before = known or leases.Lease()
        others = {name: lease for name, lease in self.rows.items() if name != asked.lease}
        opened = sum(lease.state == "open" for lease in others.values())
        standing = Standing(self.amount, sum(lease.counted for lease in others.values()), opened)
        after = leases.ask(
            standing, before, Ask(asked.fence, asked.spent, asked.held, asked.keep, asked.need, asked.want)
        )
        if isinstance(after, Fault):
            return after
        if after is not before:
            self.expires[asked.lease] = now + LEASE_SECONDS
        self.rows[asked.lease] = after
        free = max(0, self.amount - standing.taken - after.counted)
        return after.fence, after.granted, self.expires[asked.lease] - now, free


@dataclass
class Gateway:
    """A replica: its purse, who waits there, and the question on its way (when it is heard, when answered)."""

    purse: Purse
    alive: bool = True
    waiting: list["Client"] = field(default_factory=list)
    way: tuple[Question, float, float, bool] | None = None
    answer: tuple[int, int, float, int] | Fault | None = None
    heard: bool = False


@dataclass
class Client:
    """Asks, waits for the answer, asks again; each time at a gateway that happens to be chosen."""

    gateway: Gateway | None = None
    hold: Hold | None = None
    tokens: int = 0
    need: int = 0
    until: float = 0.0
    refused: int = 0


@dataclass
class World:
    """Three gateways, 64 clients, one ledger, and what goes wrong between them."""

    seed: int
    lossy: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)
    kill_at: float = 0.0
    excess: float = 0.0
    pricing: Pricing | None = None
    now: float = 0.0
    used: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        numbers = itertools.count()
        self.amount = AMOUNT
        if self.pricing is not None:
            # For as many requests as in tokens.
            self.amount = AMOUNT // 900 * self.pricing.cost(300, 600)
        self.ledger = Ledger(self.amount)
        self.gateways = [
            Gateway(Purse(Budget("a/b", self.amount, "day"), lambda: f"l{next(numbers)}", 0.0)) for _ in range(3)
        ]
        self.clients = [Client() for _ in range(64)]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TICK
            if self.kill_at and self.now >= self.kill_at:
                self.kill_at = 0.0
                self.kill(self.gateways[0])
            for client in self.clients:
                self.move(client)
            for gateway in self.gateways:
                if gateway.alive:
                    self.talk(gateway)
            assert self.ledger.taken() <= self.amount * (1 + self.excess)

    def cost(self, tokens: int) -> int:
        return tokens if self.pricing is None else self.pricing.cost(tokens // 3, tokens - tokens // 3)

    def kill(self, gateway: Gateway) -> None:
        gateway.alive = False
        for client in self.clients:
            if client.gateway is gateway:
                # What the engine had begun was used, though nobody is left to tell.
                self.used += self.cost(client.tokens // 4) if client.hold else 0
                client.gateway = client.hold = None

    def move(self, client: Client) -> None:
        if client.hold is not None and self.now >= client.until:
            used = self.cost(self.random.randint(client.tokens // 4, client.tokens * 3 // 4))
            if self.random.random() < self.excess:
                used = client.need * 2
            assert client.gateway is not None
            client.gateway.purse.pay(client.hold, used, self.now)
            self.used += used
            client.gateway = client.hold = None
            client.until = self.now + self.random.random() / 10
        elif client.gateway is None and self.now >= client.until:
            client.tokens = self.random.randint(300, 1_500)
            client.need = self.cost(client.tokens)
            client.gateway = self.random.choice([g for g in self.gateways if g.alive])
            client.gateway.waiting.append(client)
            if len(client.gateway.waiting) == 1:
                self.serve(client.gateway)

    def serve(self, gateway: Gateway) -> None:
        while gateway.waiting:
            client = gateway.waiting[0]
            found = gateway.purse.hold(client.need, self.now)
            if found == "wait":
                return
            gateway.waiting.pop(0)
            if isinstance(found, Hold):
                client.hold, client.until = found, self.now + self.random.uniform(0.2, 2.0)
            else:
                client.refused += 1
                client.gateway, client.until = None, self.now + 0.2

    def talk(self, gateway: Gateway) -> None:
        purse = gateway.purse
        self.serve(gateway)
        if gateway.way is None:
            needs = [client.need for client in gateway.waiting]
            asked = purse.question(self.now, needs[0] if needs else 0, sum(needs))
            if asked is None:
                return
            cut = self.away[0] <= self.now < self.away[1]
            lost = cut or self.random.random() < self.lossy
            gateway.heard = False
            delay = self.random.uniform(0.0, 0.06)
            gateway.way = (asked, self.now + delay, self.now + (0.5 if lost else 2 * delay), cut)
        asked, heard_at, answered_at, cut = gateway.way
        if not gateway.heard and not cut and self.now >= heard_at:
            gateway.heard = True
            gateway.answer = self.ledger.answer(asked, self.now)
        if self.now < answered_at:
            return
        gateway.way = None
        if not gateway.heard or answered_at - heard_at > 0.4:
            purse.failed(self.now)
        elif isinstance(gateway.answer, Fault):
            purse.refused(asked, unknown=gateway.answer.code == "lease_unknown")
        elif gateway.answer is None:
            purse.ended(asked)
        else:
            fence, granted, seconds, free = gateway.answer
            purse.granted(asked, fence, granted, seconds, free, self.now)
        self.serve(gateway)


@pytest.mark.parametrize(("seed", "pricing"), [(0, None), (1, None), (2, None), (0, PRICING), (1, PRICING)])
def test_64_clients_of_3_gateways_spend_all_but_a_twentieth_of_a_budget_when_one_is_killed(
    seed: int, pricing: Pricing | None
) -> None:
    world = World(seed, kill_at=20.0, pricing=pricing)
    world.run(120)
    assert world.amount * 0.95 <= world.used <= world.amount
    assert all(client.refused for client in world.clients)


def test_lost_answers_and_a_ledger_that_is_away_spend_nothing_twice() -> None:
    world = World(7, lossy=0.2, away=(15.0, 100.0), kill_at=30.0)
    world.run(250)
    assert AMOUNT * 0.95 <= world.used <= AMOUNT


def test_engines_that_use_more_than_could_be_foreseen_overspend_by_less_than_a_hundredth() -> None:
    world = World(11, excess=0.01)
    world.run(120)
    assert AMOUNT * 0.95 <= world.used <= AMOUNT * 1.01
