"""Running seeds, one after the other, and saying what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from coterie.testing.sim.between import Between
from coterie.testing.sim.checker import check
from coterie.testing.sim.faults import BETWEEN, KINDS
from coterie.testing.sim.history import Event
from coterie.testing.sim.story import STEPS, Story
from coterie.testing.sim.world import World

BETWEEN_FAULTS = frozenset({"cut off", "opened", "broken", "dead connection", "asleep", "woke", "forgot", "link over"})
LINES = 40
"""Lines of a history that are shown of a seed that failed: those about the messages that are wrong, and all faults."""
FAULTS = frozenset({"crash", "left", "start", "killed", "cut", "no adapter", "healed", "defect", "failed", "dropped"})


@dataclass(slots=True)
class Run:
    """What came of one seed."""

    seed: int
    steps: int
    devices: int
    events: list[Event]
    happened: Counter[str]
    wrong: list[str] = field(default_factory=list)

    def replay(self) -> str:
        """The command that does it again."""
        how = f"--seed {self.seed} --steps {self.steps} --devices {self.devices}"
        return f"python -m coterie.testing.sim {how} --history"

    def told(self) -> str:
        """The seed, what is wrong, what led to it, and how to see it again."""
        useful = [str(event) for event in self.events if self._matters(event)]
        return "\n".join(
            [f"seed {self.seed}:", *(f"  {what}" for what in self.wrong), *useful[-LINES:], f"again: {self.replay()}"]
        )

    def _matters(self, event: Event) -> bool:
        if event.kind in FAULTS or event.kind in BETWEEN_FAULTS:
            return True
        named = [*event.what.get("ids", ()), event.what.get("id", "")]
        return any(message and message in what for message in named for what in self.wrong)


def devices_of(seed: int) -> int:
    """How many devices a seed has: one for every other, as on most machines there is nothing else."""
    return 1 if seed % 2 == 0 else (2, 2, 3)[seed // 2 % 3]


def story_of(world: World, steps: int) -> Story:
    """What happens in a world."""
    return Between(world, steps) if len(world.sites) > 1 else Story(world, steps)


def run(seed: int, steps: int = STEPS, devices: int = 0) -> Run:
    """Run one seed, with so many devices; 0: as many as the seed says."""
    devices = devices or devices_of(seed)
    world = World(seed, devices)
    with world.installed():
        try:
            world.run(story_of(world, steps).tell())
        except Exception as error:  # noqa: BLE001 (whatever stops a story is what is wrong with its seed, and is shown)
            world.history.note("defect", "world", error=repr(error))
    events = world.history.events
    return Run(seed, steps, devices, events, world.faults.happened, check(events))


@dataclass(slots=True)
class Runs:
    """What came of many seeds."""

    seeds: int = 0
    devices: int = 1
    """The most that a seed had."""
    happened: Counter[str] = field(default_factory=Counter)
    failed: list[Run] = field(default_factory=list)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of faults that there could be."""
        return KINDS + BETWEEN if self.devices > 1 else KINDS

    def never(self) -> list[str]:
        """The kinds of faults that no seed had."""
        return [kind for kind in self.kinds() if not self.happened[kind]]

    def table(self) -> str:
        """How often each kind of fault happened."""
        width = max(map(len, self.kinds()))
        return "\n".join(f"{kind:<{width}}  {self.happened[kind]:>7}" for kind in self.kinds())


def run_many(
    seeds: Iterable[int], steps: int = STEPS, failed: Callable[[Run], None] | None = None, devices: int = 0
) -> Runs:
    """Run seeds; `failed` is told of each that fails."""
    runs = Runs()
    for seed in seeds:
        one = run(seed, steps, devices)
        runs.seeds += 1
        runs.devices = max(runs.devices, one.devices)
        runs.happened += one.happened
        if one.wrong:
            runs.failed.append(one)
            if failed:
                failed(one)
    return runs
