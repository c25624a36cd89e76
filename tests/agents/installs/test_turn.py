"""One run at a time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from coterie.agents.installs import turn as module
from coterie.agents.installs.turn import turn
from coterie.errors import Refused


def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    folder = str(tmp_path / "init")
    done: list[str] = []

    def second() -> None:
        with turn(folder):
            done.append("second")

    thread = threading.Thread(target=second)
    with turn(folder):
        thread.start()
        thread.join(0.05)
        done.append("first")
    thread.join()
    assert done == ["first", "second"]
    assert os.stat(tmp_path / "init/lock").st_mode & 0o077 == 0


def test_one_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_S", 0.0)
    folder = str(tmp_path / "init")
    named = rf"another coterie init is running \(pid {os.getpid()}\), and nothing was changed"
    with turn(folder), pytest.raises(Refused, match=named), turn(folder):
        pass
    with turn(folder):
        pass


def test_one_that_failed_leaves_it_free(tmp_path: Path) -> None:
    folder = str(tmp_path / "init")
    with pytest.raises(KeyError), turn(folder):
        raise KeyError
    with turn(folder):
        pass
