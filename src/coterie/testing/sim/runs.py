"""Running seeds, one after the other, and saying what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from coterie.testing.sim.checker import check
from coterie.testing.sim.faults import KINDS
from coterie.testing.sim.history import Event
from coterie.testing.sim.story import STEPS, Story
from coterie.testing.sim.world import World

LINES = 40
"""Lines of a history that are shown of a seed that failed: those about the messages that are wrong, and all faults."""
FAULTS = frozenset({"crash", "left", "start", "killed", "cut", "no adapter", "healed", "defect", "failed", "dropped"})


@dataclass(slots=True)
class Run:
    """What came of one seed."""

    seed: int
    steps: int
    events: list[Event]
    happened: Counter[str]
    wrong: list[str] = field(default_factory=list)

    def replay(self) -> str:
        """The command that does it again."""
        return f"python -m coterie.testing.sim --seed {self.seed} --steps {self.steps} --history"

    def told(self) -> str:
        """The seed, what is wrong, what led to it, and how to see it again."""
        useful = [str(event) for event in self.events if self._matters(event)]
        return "\n".join(
            [f"seed {self.seed}:", *(f"  {what}" for what in self.wrong), *useful[-LINES:], f"again: {self.replay()}"]
        )

    def _matters(self, event: Event) -> bool:
        if event.kind in FAULTS:
            return True
        named = [*event.what.get("ids", ()), event.what.get("id", "")]
        return any(message and message in what for message in named for what in self.wrong)


def run(seed: int, steps: int = STEPS) -> Run:
    """Run one seed."""
    world = World(seed)
    with world.installed():
        try:
            world.run(Story(world, steps).tell())
        except Exception as error:  # noqa: BLE001 (whatever stops a story is what is wrong with its seed, and is shown)
            world.history.note("defect", "world", error=repr(error))
    events = world.history.events
    return Run(seed, steps, events, world.faults.happened, check(events))


@dataclass(slots=True)
class Runs:
    """What came of many seeds."""

    seeds: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    failed: list[Run] = field(default_factory=list)

    def never(self) -> list[str]:
        """The kinds of faults that no seed had."""
        return [kind for kind in KINDS if not self.happened[kind]]

    def table(self) -> str:
        """How often each kind of fault happened."""
        width = max(map(len, KINDS))
        return "\n".join(f"{kind:<{width}}  {self.happened[kind]:>7}" for kind in KINDS)


def run_many(seeds: Iterable[int], steps: int = STEPS, failed: Callable[[Run], None] | None = None) -> Runs:
    """Run seeds; `failed` is told of each that fails."""
    runs = Runs()
    for seed in seeds:
        one = run(seed, steps)
        runs.seeds += 1
        runs.happened += one.happened
        if one.wrong:
            runs.failed.append(one)
            if failed:
                failed(one)
    return runs
