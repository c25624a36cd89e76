"""A file that somebody writes, in whatever way, is heard of at once; another one beside it is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.daemon.watch import Watch


def in_place(path: Path) -> None:
    path.write_text("new")


def renamed(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("new")
    os.rename(other, path)


def removed(path: Path) -> None:
    path.write_text("old")
    path.unlink()


def in_a_new_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()
    path.write_text("new")


async def heard(path: Path, act: Callable[[Path], None]) -> None:
    told = asyncio.Event()
    watch = Watch(str(path), told.set)
    watch.start()
    try:
        await asyncio.sleep(0)
        act(path)
        async with asyncio.timeout(5):
            await told.wait()
    finally:
        watch.close()


@pytest.mark.parametrize("act", [in_place, renamed, removed])
@pytest.mark.parametrize("depth", ["", "below", "below/that"])
def test_it_is_heard_of(tmp_path: Path, act: Callable[[Path], None], depth: str) -> None:
    path = tmp_path / depth / "config.toml"

    def make_and_act(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        act(path)

    asyncio.run(heard(path, make_and_act))


def test_so_is_one_in_a_folder_that_took_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    asyncio.run(heard(folder / "config.toml", in_a_new_folder))


def test_what_happens_beside_it_is_not(tmp_path: Path) -> None:
    async def run() -> list[str]:
        told: list[str] = []
        first = asyncio.Event()

        def tell() -> None:
            told.append("told")
            first.set()

        watch = Watch(str(tmp_path / "config.toml"), tell)
        watch.start()
        (tmp_path / "daemon.log").write_text("line")
        (tmp_path / "coterie.db").write_text("row")
        (tmp_path / "config.toml").write_text("new")
        async with asyncio.timeout(5):
            await first.wait()
        (tmp_path / "daemon.log").write_text("line")
        for _ in range(100):
            await asyncio.sleep(0)
        watch.close()
        watch.close()
        return told

    assert set(asyncio.run(run())) == {"told"}
