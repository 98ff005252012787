"""Loaders and collectors that are killed and frozen, at steps and at random moments, and started again."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from typing import Callable, Optional

from .fault_proxy import FaultProxy, Rule
from .faults import (
    ApplyAndDrop,
    ApplyAndRefuse,
    CutDownload,
    DropBefore,
    Duplicate,
    Fault,
    OneOf,
    Pass,
    Refuse,
    RetryBehindTheBack,
)
from .laker import Laker
from .waiting import LIMIT_SECONDS, LOOK_SECONDS, wait_until
from .world import Loader, World

#: What happens to requests of loaders all the time, out of a hundred.
WEATHER: dict[Fault, float] = {
    Pass(): 97,
    DropBefore(): 0.5,
    ApplyAndDrop(): 0.5,
    Refuse(503, "SlowDown"): 0.5,
    ApplyAndRefuse(500, "InternalError"): 0.5,
    Duplicate(): 0.4,
    RetryBehindTheBack(): 0.3,
    CutDownload(): 0.3,
}
#: Longest wait for a loader to come to a step. Then it is struck where it is: it may just have no partitions.
STEP_SECONDS = 3.0
#: Longest time that one is frozen: past the time-out of its session, so that others have its partitions.
FROZEN_SECONDS = 8.0
#: Longest pause between two blows.
PAUSE_SECONDS = 0.7
#: Blows between two looks whether anything lands at all.
ROUND = 8


class Member:
    """One process of the herd, whichever run of it."""

    def __init__(self, name: str, laker: Laker, command: str, proxy: Optional[FaultProxy], alone: bool = False) -> None:
        self.name = name
        self.laker = laker
        self.proxy = proxy
        self.ended_by_itself: list[str] = []
        self._command = command
        self._alone = alone
        self._runs = itertools.count()
        self._is_killed = True

    def start(self) -> None:
        """Starts it, unless it runs. One that had ended by itself is remembered with its last words."""
        if self.laker.processes and self.process.ended is False:
            return
        if not self._is_killed:
            self.ended_by_itself.append(self.process.process.log_end().splitlines()[-1])
        if self._alone:
            self.laker.settings["group"] = f"{self.name}-{next(self._runs)}"
            self.laker.write_settings()
        self.laker.start(self._command)
        self._is_killed = False

    @property
    def process(self) -> Loader:
        assert self.proxy is None or isinstance(self.proxy, FaultProxy)
        return Loader(self.laker, self.proxy)  # type: ignore[arg-type]

    def kill(self) -> None:
        self._is_killed = True
        self.process.kill()

    def freeze(self) -> None:
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()


class Herd:
    """All members, and whoever strikes them. The same seed strikes in the same order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blows: Counter[str] = Counter()
        self._chance = random.Random(world.seed)
        self.collectors = [world.collector() for _ in range(2)]
        self.alone = self._loader("alone", "alone", alone=True)
        self.members = [
            self.alone,
            *(self._loader(f"shares-{number}", "laker") for number in range(2)),
            *(Member(f"collects-{n}", laker, "collect", None) for n, laker in enumerate(self.collectors)),
        ]

    def start(self) -> None:
        for member in self.members:
            member.start()

    def strike(self, blows: int) -> None:
        """Strikes so often; whoever is struck down is started again, and in each round something must land."""
        for number in range(blows):
            if number % ROUND == 0:
                self._wait_for_progress()
            # The one that is alone has work whenever there is any: it comes to each step at once.
            member = self._chance.choice([*self.members, self.alone, self.alone])
            blow = self._chance.choice(self._blows_for(member))
            blow(member)
            self.start()
            time.sleep(self._chance.uniform(0, PAUSE_SECONDS))

    def end(self) -> None:
        """Ends all members as an operator does."""
        for member in self.members:
            assert member.process.process.stop() == 0, member.process.process.log_end()

    @property
    def ended_by_themselves(self) -> list[str]:
        return [last for member in self.members for last in member.ended_by_itself]

    def _loader(self, name: str, group: str, alone: bool = False) -> Member:
        loader = self.world.loader(group=group, flush_after="300ms", flush_rows=200)
        weather = OneOf(WEATHER, random.Random(f"{self.world.seed} {name}"))
        loader.proxy.add(Rule("/logs", weather))
        return Member(name, loader.laker, "load", loader.proxy, alone)

    def _blows_for(self, member: Member) -> list[Callable[[Member], None]]:
        if member.proxy is None:
            return [self._kill, self._kill, self._freeze]
        return [self._kill, self._freeze, self._freeze_at_step, *3 * [self._kill_at_step]]

    def _kill(self, member: Member) -> None:
        member.kill()
        self._count("SIGKILL at random")

    def _freeze(self, member: Member) -> None:
        member.freeze()
        self._count("SIGSTOP at random")
        self._while_others_land(member)

    def _kill_at_step(self, member: Member) -> None:
        before = self._chance.random() < 0.5
        fault = DropBefore() if before else ApplyAndDrop()
        rule = self._armed(member, fault, before, member.kill)
        if rule is None:
            self._kill(member)

    def _freeze_at_step(self, member: Member) -> None:
        before = self._chance.random() < 0.5
        if self._armed(member, Pass(), before, member.freeze) is None:
            return self._freeze(member)
        self._while_others_land(member)

    def _armed(self, member: Member, fault: Fault, before: bool, action: Callable[[], None]) -> Optional[str]:
        """The step at which `action` has run, if the member came to it in time."""
        assert member.proxy is not None
        signal = "SIGKILL" if action == member.kill else "SIGSTOP"
        step = self._chance.choice(sorted(self._steps()))
        rule = Rule(self._steps()[step], fault, count=1)
        rule.before, rule.after = (action, None) if before else (None, action)
        member.proxy.add(rule, first=True)
        came = _in_time(lambda: rule.struck > 0)
        member.proxy.remove(rule)
        if not came and rule.struck == 0:
            return None
        # The action runs on another thread: it has been called, and is waited for.
        _in_time(lambda: signal == "SIGSTOP" or member.process.ended)
        self._count(f"{signal} {'before' if before else 'after'} {step}")
        return step

    def _steps(self) -> dict[str, str]:
        """Steps that come up again and again."""
        once = {"create", "begin", "new columns"}
        return {name: pattern for name, pattern in self.world.steps.items() if name not in once}

    def _while_others_land(self, member: Member) -> None:
        """Frozen for a moment, or until others have moved the table on and the broker has forgotten it."""
        if self._chance.random() < 0.6:
            time.sleep(self._chance.uniform(0, PAUSE_SECONDS))
        else:
            before = self._progress()
            time.sleep(self._chance.uniform(0, FROZEN_SECONDS))
            _in_time(lambda: self._progress() > before)
        member.thaw()

    def _wait_for_progress(self) -> None:
        before = self._progress()

        def lands() -> bool:
            self.start()
            return self._progress() > before

        wait_until(lands, "something lands", limit_seconds=2 * LIMIT_SECONDS)

    def _progress(self) -> int:
        """Grows with each commit that the server has taken, whatever the loader was told."""
        proxies = [member.proxy for member in self.members if member.proxy]
        commits = [proxy.seen(self.world.steps["commit"]) for proxy in proxies]
        return sum(max((one.number for one in seen if 200 in one.applied), default=0) for seen in commits)

    def _count(self, blow: str) -> None:
        self.blows[blow] += 1
        print(f"{sum(self.blows.values())}: {blow}", flush=True)


def _in_time(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + STEP_SECONDS
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
