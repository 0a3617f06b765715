"""The ways of `chalk replay`: a shadow generation built and brought up to date, and rule files put into use and back.

A replay reads nothing but the log and writes nothing that the live services read: a shadow's scoring worker and loader are the ordinary
ones under another CHALK_GENERATION. To switch is to put the shadow's rule files where the live services look for them: scoring
finds a state made by exactly these rules, goes on from it, and publishes everybody.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clickhouse_driver import Client

from services.scoring.replay_compare import Claim, behind, claims, learners_stored
from services.scoring.replay_files import Programmes, Refused, Shadow, same
from services.scoring.replay_kafka import Broker, Word
from services.scoring.replay_workers import WorkerFailed, Workers
from services.shared.generation import LIVE, Generation
from services.shared.migrate import migrate
from services.shared.settings import Settings

LOOK_SECONDS = 0.5
STALL_SECONDS = 600.0
"""Without any progress, after which a replay is given up."""
ASK_SECONDS = 5.0
"""Between two questions whether the live services stand on the shadow by now."""
WORD_SECONDS = 60.0
"""Without a word of the live services, after which it is said that they may need a restart."""

Show = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much (0: nobody knows)."""
Say = Callable[[str], None]


class NotTaken(Exception):
    """The rule files are in place, but the live services do not work by them in time; the text says how far they are."""


@dataclass
class Desk:
    """What every command works with."""

    conf: Settings
    broker: Broker
    client: Client
    show: Show
    say: Say

    def shadow(self, name: str) -> Shadow:
        return Shadow(self.conf.data, name)

    @property
    def programmes(self) -> Programmes:
        return Programmes(self.conf.programmes, self.conf.data)

    def live_on(self, generation: Generation) -> bool:
        """Whether the live services stand on that generation's state, on any partition."""
        return any(word.generation == generation.name for word in self.broker.words().values())


@contextmanager
def caught_up(desk: Desk, shadow: Shadow) -> Iterator[Workers]:
    """Work until the shadow's tables are as far as the log was at its start and the live tables are; its workers live on inside the block.

    Raises Refused, WorkerFailed. Interrupted at any moment, the next call goes on from there.
    """
    generation, folder = shadow.generation, shadow.folder
    if desk.live_on(generation):
        shadow.was_live.touch()
        raise Refused(f"the live services stand on {generation.name}: it is brought up to date by them")
    if shadow.was_live.exists():
        desk.say(f"{generation.name} was live since it was built: it is built anew, from the log's start")
        clear(desk, shadow)
        shadow.was_live.unlink()
    desk.broker.ensure(generation)
    for one in (LIVE, generation):
        migrate(desk.client, generation=one)
    begins, ends = desk.broker.log()
    environment = {
        "CHALK_GENERATION": generation.name,
        "CHALK_PROGRAMMES": str(shadow.rules),
        "CHALK_DATA": str(desk.conf.data.resolve()),
    }
    with Workers(folder, environment) as workers:
        try:
            _read(desk, generation, workers, begins, ends)
            _load(desk, generation, workers, ends)
        except Refused:
            shadow.was_live.touch()
            raise
        yield workers


def _read(desk: Desk, generation: Generation, workers: Workers, begins: dict[int, int], ends: dict[int, int]) -> None:
    """Until scoring has read the log to where it ended."""
    total = sum(ends.values()) - sum(begins.values())
    patience = _Patience(desk, generation)
    while True:
        workers.watch()
        said, stored = workers.rebuild(), claims(desk.client, generation)
        at = {number: stored[number].applied if number in stored else 0 for number in ends}
        if said is not None:
            at = {number: max(done, said.applied.get(number, 0)) for number, done in at.items()}
            if said.recovering > said.recovered:
                desk.show("finding the state again", said.recovered, said.recovering)
        done = {number: min(max(at[number], begins[number]), ends[number]) - begins[number] for number in ends}
        desk.show("reading the log", sum(done.values()), total)
        if all(at[number] >= ends[number] for number in ends):
            return
        patience.spend((sum(done.values()), said and said.recovered), f"{generation.name}: the log is read up to {at} of {ends}")


def _load(desk: Desk, generation: Generation, workers: Workers, ends: dict[int, int]) -> None:
    """Until the shadow's tables hold what was read, and everything up to the moment at which the live ones are now."""
    live = claims(desk.client, LIVE)
    nothing = Claim(0, 0, 0)
    target = {number: Claim(end, max(1, live.get(number, nothing).as_of_ms), 0) for number, end in ends.items()}
    expected, patience = learners_stored(desk.client, LIVE), _Patience(desk, generation)
    while missing := behind(claims(desk.client, generation), target):
        workers.watch()
        done = learners_stored(desk.client, generation)
        desk.show("publishing and loading learners", min(done, expected), expected)
        patience.spend((done, tuple(missing)), f"{generation.name}: its tables lack {missing}")


class _Patience:
    """Ends what makes no progress, or has been taken over by live services whose rule files somebody changed meanwhile."""

    def __init__(self, desk: Desk, generation: Generation) -> None:
        self._desk, self._generation = desk, generation
        self._seen: object = None
        self._until = time.monotonic() + STALL_SECONDS
        self._ask = time.monotonic() + ASK_SECONDS

    def spend(self, progress: object, text: str) -> None:
        """A pause. Raises WorkerFailed where `progress` has been the same for STALL_SECONDS; Refused where the generation is live."""
        if progress != self._seen:
            self._seen, self._until = progress, time.monotonic() + STALL_SECONDS
        if time.monotonic() > self._until:
            raise WorkerFailed(f"no progress for {STALL_SECONDS:g} s; {text}")
        if time.monotonic() > self._ask:
            self._ask = time.monotonic() + ASK_SECONDS
            if self._desk.live_on(self._generation):
                raise Refused(f"the live services have taken {self._generation.name} over: their rule files say what its do")
        time.sleep(LOOK_SECONDS)


def clear(desk: Desk, shadow: Shadow) -> list[str]:
    """Delete what a shadow has made: its topics, tables and what lies on this machine's disk of its state. Returns the topics.

    Raises Refused where workers are at it.
    """
    generation = shadow.generation
    topics = desk.broker.drop(generation)
    for database in (generation.marts, generation.store):
        desk.client.execute(f"DROP DATABASE IF EXISTS {database} SYNC")
    for folder in desk.conf.data.resolve().glob(f"scoring/worker-*/{generation.state_topic}"):
        shutil.rmtree(folder, ignore_errors=True)
    return topics


def switch(desk: Desk, shadow: Shadow, wait: float) -> str:
    """Bring the shadow up to date, put its rule files into use, and wait until the live services work by them; returns what to tell.

    Raises Refused, RuleError, WorkerFailed, NotTaken.
    """
    name = shadow.generation.name
    shadow.programmes()
    with shadow.held(), desk.programmes.held():
        if same(shadow.rules, desk.conf.programmes):
            if desk.live_on(shadow.generation):
                return f"{name} is live already"
            return f"nothing to switch: the rule files in {desk.conf.programmes} say what {name}'s do"
        if not desk.live_on(shadow.generation):
            with caught_up(desk, shadow):
                pass
        before = desk.broker.words()
        shadow.was_live.touch()
        kept = desk.programmes.put(shadow.rules)
        desk.say(f"rule files of {name} are in {desk.conf.programmes}; the former ones are kept in {kept}")
        return _taken(desk, before, wait)


def back(desk: Desk, wait: float) -> str:
    """The rule files that the last switch took out of use, in use again. Raises as `switch`."""
    with desk.programmes.held():
        former = desk.programmes.former()
        if former is None:
            raise Refused("nothing was switched from here: there are no former rule files")
        alike = same(former, desk.conf.programmes)
        before = desk.broker.words()
        kept = desk.programmes.put_back()
        desk.say(f"the former rule files are in {desk.conf.programmes}; those of until now are kept in {kept}")
        return "they say the same: nothing changes" if alike else _taken(desk, before, wait)


def _taken(desk: Desk, before: dict[int, Word], wait: float) -> str:
    """Wait until every partition was published anew, and is loaded. Raises NotTaken."""
    if not before:
        return "scoring has never run here: it takes the rule files at its start"
    started = time.monotonic()
    warned = False
    while True:
        words = desk.broker.words()
        taken = {number: word for number, word in words.items() if number in before and word.epoch > before[number].epoch}
        desk.show("partitions that scoring has taken over", len(taken), len(before))
        loaded = [
            number
            for number, claim in claims(desk.client, LIVE).items()
            if number in taken and claim.epoch >= taken[number].epoch and claim.applied >= before[number].applied
        ]
        if len(taken) == len(before):
            desk.show("partitions whose learners are loaded", len(loaded), len(before))
            if len(loaded) == len(before):
                names = sorted({word.generation for word in taken.values()})
                return f"live: state of generation {', '.join(map(shown, names))}, after {time.monotonic() - started:.0f} s"
        spent = time.monotonic() - started
        if not taken and not warned and spent > min(WORD_SECONDS, wait):
            desk.say(
                f"no live service has taken the rule files over within {spent:.0f} s. Does scoring run, does it read"
                f" {desk.conf.programmes} (CHALK_PROGRAMMES), and is its log without errors? It may need a restart"
            )
            warned = True
        if spent > wait:
            raise NotTaken(
                f"after {spent:.0f} s scoring has taken over {len(taken)} of {len(before)} partitions, and {len(loaded)} are loaded."
                " The rule files stay in place: whatever starts from now on works by them"
            )
        time.sleep(LOOK_SECONDS)


def shown(name: str) -> str:
    """A generation's name for people: the first has none."""
    return name or "(first)"
