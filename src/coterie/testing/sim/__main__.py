"""``python -m coterie.testing.sim``: run seeds; replay one."""

from __future__ import annotations

import argparse
import sys

from coterie.testing.sim.runs import Run, run, run_many
from coterie.testing.sim.story import STEPS

ENOUGH = 100
"""From so many seeds on a kind of fault that never happened is a failure; one seed has only some."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="coterie.testing.sim",
        description="Run the shipped code under a virtual clock with faults, and check what was seen.",
        epilog="example: python -m coterie.testing.sim --seed 0 --seeds 200",
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many, counted up from there (1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of each run ({STEPS})")
    parser.add_argument("--devices", type=int, default=0, help="how many; as many as the seed says, if not given")
    parser.add_argument("--history", action="store_true", help="print the whole history of each seed")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _failed(one: Run) -> None:
    _say(one.told())


def main() -> int:
    """Exits 0 if all is as promised, and 1 if a seed failed or a kind of fault never happened."""
    arguments = _arguments()
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    if arguments.history:
        for seed in seeds:
            one = run(seed, arguments.steps, arguments.devices)
            _say("\n".join(map(str, one.events)))
            for what in one.wrong:
                _say(f"wrong: {what}")
    runs = run_many(seeds, arguments.steps, _failed, arguments.devices)
    never = runs.never() if runs.seeds >= ENOUGH else []
    _say(runs.table())
    if never:
        _say(f"never happened: {', '.join(never)}")
    _say(f"{runs.seeds} seeds, {len(runs.failed)} failed")
    return 1 if runs.failed or never else 0


if __name__ == "__main__":
    sys.exit(main())
