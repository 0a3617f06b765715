"""One run: a load is sent while the schedule breaks things; then all is quiet, the clock stands, and every row is compared."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiokafka.errors import KafkaError
from clickhouse_driver import Client as Database

from services.shared.clickhouse import connect, is_outage
from tests.chaos import expected, shown
from tests.chaos.client import CLAIMED, Client
from tests.chaos.expected import Known, Learners
from tests.chaos.load import Delivery, Load, load, units
from tests.chaos.schedule import SERVICES, Action, Phase, phases
from tests.chaos.stack import Stack
from tests.properties.reference.facts import fact_of, written
from tests.properties.reference.rules import Rules, read_rules

RELATIONS = 8
NAMED = {"programme": "programme", "learner_id": "subject", "event_id": "id"}
"""Columns, and what they are called in an event."""
SETTLE_SECONDS = 60.0
"""On a machine that starts the stack in 10 s; as many times more as it takes longer."""
MOST_DIFFERENCES = 2_000


class Trouble(Exception):
    """The pipe did not come to rest in time, or does not answer: as bad as a difference."""


@dataclass
class Outcome:
    """What a run did and found. `killed`: deaths by SIGKILL; `left_out`: what this machine can't do; `rows`: compared, by relation."""

    seed: int
    killed: dict[str, int] = field(default_factory=dict)
    stops: int = 0
    restarts: int = 0
    left_out: int = 0
    events: int = 0
    records: int = 0
    resent: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class World:
    """What goes on from run to run of one stack: rule files, who was met, and what was sent."""

    texts: dict[str, str]
    learners: Learners = field(default_factory=Learners)
    sent: set[tuple[str, str, str, str, str]] = field(default_factory=set)
    declared: bool = False
    changes: int = 0

    def change(self) -> None:
        """Other numbers in both rule files: scoring counts everything again under a new epoch."""
        self.changes += 1
        for name, text in self.texts.items():
            for old, new in (("points_each: 7.5", "points_each: 6.5"), ("daily_cap_minutes: 480", "daily_cap_minutes: 450")):
                text = text.replace(old, new) if self.changes % 2 else text.replace(new, old)
            version = read_rules(text)["rules_version"]
            self.texts[name] = text.replace(f"rules_version: {version}", f"rules_version: {int(version) + 1}")


class Run:
    """One seed on a stack that is up."""

    def __init__(self, stack: Stack, world: World, seed: int, learners: int, say: Callable[[str], None]) -> None:
        self.stack, self.world, self.learners = stack, world, learners
        self.outcome = Outcome(seed)
        self._began = time.monotonic()
        self._say = say
        self._later: list[threading.Timer] = []
        self._database: Database = connect(stack.values.clickhouse)
        self._database.connection.send_receive_timeout = 10

    def run(self) -> Outcome:
        """The outcome; whatever went wrong is among its differences."""
        killed, restarts = self.stack.killed(), self.stack.restarts()
        try:
            self._run()
        except (Trouble, TimeoutError, KafkaError) as error:
            self.outcome.differences.append(f"{type(error).__name__}: {error}\n{self.stack.logs()}")
        self.outcome.killed, self.outcome.restarts = self.stack.killed() - killed, self.stack.restarts() - restarts
        self.outcome.seconds = time.monotonic() - self._began
        self._database.disconnect()
        return self.outcome

    def _run(self) -> None:
        plan = phases(self.outcome.seed)
        sent = load(self.outcome.seed, self.world.texts, [phase.start_ms for phase in plan], self.learners)
        self.outcome.events = sent.facts
        client = Client(f"http://127.0.0.1:{self.stack.ports['ingest']}", self.stack.token, self.stack.values.bootstrap, self.outcome.seed)
        try:
            for phase, deliveries in zip(plan, sent.phases, strict=True):
                self._phase(phase, deliveries, client)
            self._settle(client)
        finally:
            client.close()
        self.outcome.resent = client.said.resent
        self.outcome.differences += client.said.wrong
        self._compare(sent, plan[-1].start_ms)

    # -- breaking things -----------------------------------------------------------------------------------------------------------

    def _phase(self, phase: Phase, deliveries: list[Delivery], client: Client) -> None:
        scenes = "; ".join(f"{scene.name} {' '.join(scene.deaths.values())}".strip() for scene in phase.scenes)
        rules = "" if phase.rules is None else f", other rules after {phase.rules:.1f} s"
        self._note(f"clock {written(phase.start_ms)} at {phase.speed:g}, state in {phase.state}{rules}: {scenes}")
        self._all_done()
        self.stack.end(signal.Signals[phase.ends_by])
        if phase.rules == 0:
            self._other_rules()
        self.stack.begin(phase)
        for name in SERVICES:  # so that what happens now happens to services at work
            self.stack.wait_up(name)
        if not self.world.declared:
            self._declare(phase.start_ms)
        client.put(deliveries)
        until, pace = time.monotonic() + phase.seconds * self.stack.slowness, self.stack.slowness
        if phase.rules:
            self._after(phase.rules * pace, self._other_rules)
        for action in phase.actions:
            self._after(action.at * pace, self._do, action)
        self._look(until, client)

    def _look(self, until: float, client: Client) -> None:
        """Until that moment, looking meanwhile whether what freshness claims is true."""
        while time.monotonic() < until:
            self._claims(client)
            time.sleep(0.1)

    def _other_rules(self) -> None:
        self.world.change()
        self.stack.write_rules(self.world.texts)

    def _do(self, action: Action) -> None:
        self._note(str(action))
        if action.what == "storm":
            self._signal("kafka", signal.SIGKILL)
            self._after(action.seconds, self._signal, "ingest", signal.SIGKILL)
        elif action.what == "full":
            disk = self.stack.disk
            if disk is None or not disk.fill():
                self._note(f"THE DISK CAN'T BE FILLED HERE: {disk.why_not if disk else 'there is no small one'}")
                self.outcome.left_out += 1
            else:
                self._after(action.seconds * self.stack.slowness, disk.free)
        else:
            self._signal(action.who, signal.Signals[action.what])
            if action.seconds:
                self._after(action.seconds * self.stack.slowness, self._signal, action.who, signal.SIGCONT)

    def _signal(self, who: str, number: int) -> None:
        if self.stack.signal(who, number):
            self.outcome.stops += number == signal.SIGSTOP

    def _after(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        """By a thread: whoever is stopped may be waited for here meanwhile."""
        timer = threading.Timer(seconds, what, arguments)
        self._later.append(timer)
        timer.start()

    def _all_done(self) -> None:
        """Until whatever was to happen later has happened."""
        while self._later:
            self._later.pop().join()

    def _declare(self, at_ms: int) -> None:
        headers = {"authorization": f"Bearer {self.stack.token}", "content-type": "application/cloudevents-batch+json"}
        url = f"http://127.0.0.1:{self.stack.ports['ingest']}/v1/events"
        for _ in range(60):
            try:
                answer = httpx.post(url, json=units(at_ms), headers=headers, timeout=5, trust_env=False)
                if answer.status_code == 202:
                    self.world.declared = True
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.3)
        raise Trouble("the units could not be declared")

    # -- coming to rest ------------------------------------------------------------------------------------------------------------

    def _freshness(self) -> dict[str, tuple[int, dict[str, int]]]:
        """Relation -> (as_of in ms, applied); {} where ClickHouse is away or knows nothing yet."""
        try:
            rows = self._database.execute("SELECT relation, toUnixTimestamp64Milli(as_of), applied FROM marts.freshness")
        except Exception as error:
            self._database.disconnect()
            if is_outage(error) or getattr(error, "code", 0) in (60, 81):  # away, or not migrated yet
                return {}
            raise
        return {name: (int(at), dict(applied)) for name, at, applied in rows}

    def _claims(self, client: Client) -> None:
        """Whatever freshness says that it has: the events have to be there, and their learners."""
        fresh = self._freshness()
        if len(fresh) < RELATIONS:
            return
        for relation, columns in CLAIMED.items():
            claims, applied = client.said.claims[relation], fresh[relation][1]
            covered = [one for one in claims[:] if applied.get(one[0], 0) >= one[1]]
            if not covered:
                continue
            params = {"ids": sorted({taken.key for _, _, taken in covered})}
            try:
                rows = self._database.execute(f"SELECT {', '.join(columns)} FROM marts.{relation} WHERE learner_id IN %(ids)s", params)
            except Exception as error:
                self._database.disconnect()
                if is_outage(error):
                    return
                raise
            there = {(str(one), str(other)) for one, other in rows}
            absent = set()
            for claim in covered:
                claims.remove(claim)
                event = claim[2].event or {}
                if (event[NAMED[columns[0]]], event[NAMED[columns[1]]]) not in there:
                    absent.add(f"{event['subject']} {event['id']} at {claim[0]} before {claim[1]}")
            if absent:
                self.outcome.differences.append(f"freshness says that {relation} has {applied}, but it lacks {sorted(absent)}")

    def _settle(self, client: Client) -> None:
        """Until every delivery is answered and every relation has everything up to the clock's moment."""
        self._all_done()
        self.stack.quiet()
        if self.stack.disk:
            self.stack.disk.free()
        for name in ("kafka", "clickhouse", *SERVICES):
            self.stack.signal(name, signal.SIGCONT)
        until = time.monotonic() + SETTLE_SECONDS * self.stack.slowness
        while not client.idle():
            if time.monotonic() > until:
                raise Trouble("not every event was taken in time")
            self._look(time.monotonic() + 0.1, client)
        self.stack.wait_servers()
        self._note("all is sent")
        self._claims(client)

    def _reach(self, known: Known, now_ms: int) -> None:
        """Wait until freshness names the log's end and the clock's moment. The end is of records: markers there are none."""
        ends: dict[str, int] = {}
        for record in known.records:
            place = f"learning.activity:{record.partition}"
            ends[place] = max(ends.get(place, 0), record.offset + 1)
        until = time.monotonic() + SETTLE_SECONDS * self.stack.slowness
        while True:
            fresh = self._freshness()
            behind = [
                name
                for name, (at, applied) in fresh.items()
                if at < now_ms or any(applied.get(place, 0) < end for place, end in ends.items())
            ]
            if len(fresh) >= RELATIONS and not behind:
                return
            if time.monotonic() > until:
                raise Trouble(f"{behind or 'freshness'} does not reach {ends} at {written(now_ms)}: {fresh}")
            time.sleep(0.1)

    # -- comparing -----------------------------------------------------------------------------------------------------------------

    def _compare(self, sent: Load, now_ms: int) -> None:
        bootstrap = self.stack.values.bootstrap
        known = Known(shown.read(bootstrap, "learning.activity"))
        self.outcome.records = len(known.records)
        self._reach(known, now_ms)
        self._note("all is there")
        self._same_facts(sent, known)
        said = self.world.learners.at(known, self.world.texts, now_ms)
        right = {f"marts.{name}": rows for name, rows in expected.relations(said, now_ms).items()}
        right["store.days"] = right.pop("marts.days")
        courses = {name: set(Rules(read_rules(text)).courses) for name, text in self.world.texts.items()}
        right["marts.data_quality"] = expected.data_quality(known, courses)
        for name, rows in right.items():
            self._differ(name, rows, shown.table(self._database, name))
        self._differ("marts.events", expected.events(known), shown.events(self._database))
        looked, wrong = shown.exactly_once(bootstrap, known.unsound, right["marts.needs_attention"])
        self.outcome.rows["output topics"] = looked
        self.outcome.differences += wrong[:MOST_DIFFERENCES]

    def _differ(self, name: str, right: Mapping[tuple[object, ...], expected.Row], found: expected.Rows) -> None:
        self.outcome.rows[name] = len(right.keys() | found.keys())
        self.outcome.differences += shown.differences(name, right, found)[:MOST_DIFFERENCES]

    def _same_facts(self, sent: Load, known: Known) -> None:
        """What was answered `accepted` or `duplicate` is in the log, and nothing else is."""
        for event in [one.event for part in sent.phases for one in part if one.event]:
            fact = fact_of(event)
            self.world.sent.add((event["programme"], event["subject"], fact.source, fact.id, fact.digest))
        logged = {(e["programme"], e["subject"], f.source, f.id, f.digest) for records in known.facts.values() for _, e, f in records}
        for one in sorted(self.world.sent - logged):
            self.outcome.differences.append(f"the log lacks what was taken: {one}")
        for one in sorted(logged - self.world.sent):
            self.outcome.differences.append(f"the log has what nobody sent: {one}")

    def _note(self, text: str) -> None:
        self._say(f"  {time.monotonic() - self._began:5.1f} s  {text}")
