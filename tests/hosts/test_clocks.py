"""Wall clocks that are wrong by years: pairing, links, receipts and waiting mail go by time that passed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import wait_for
from hosts.conftest import lacks
from hosts.pairs import pair
from hosts.rig import Rig
from hosts.traffic import HEALED_S, Traffic

YEAR_S = 365 * 86_400
SHIM = Path(__file__).with_name("wallclock.c")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sets a clock wrong, compiled."""
    if not shutil.which("cc"):
        lacks("cc (Debian's gcc and libc6-dev)")
    library = tmp_path_factory.mktemp("clock") / "wallclock.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM)], check=True)
    return library


@pytest.fixture(params=[-17, 40], ids=["back", "ahead"])
def wrong(request: pytest.FixtureRequest, rig: Rig, shim: Path) -> Rig:
    """Two hosts, of which bob's clock is wrong by years: for its daemon, its commands, and all that starts there."""
    rig["bob"].environ |= {"LD_PRELOAD": str(shim), "COTERIE_TEST_CLOCK_S": str(request.param * YEAR_S)}
    Traffic.prepare(rig["ann"], rig["bob"])
    for host in rig.hosts.values():
        host.start()
    years = {int(host.run("date", "+%Y").stdout) for host in rig.hosts.values()}
    assert max(years) - min(years) in (abs(request.param), abs(request.param) - 1, abs(request.param) + 1)
    return rig


@pytest.mark.promise("L6")
@pytest.mark.promise("L6")
def test_a_clock_that_is_wrong_by_years_changes_nothing(wrong: Rig) -> None:
    ann, bob = wrong["ann"], wrong["bob"]
    pair(ann, bob)
    traffic = Traffic(ann, bob)
    traffic.write(20)
    assert traffic.arrived() < HEALED_S
    wrong.cut("ann", "bob")
    traffic.write(20)
    traffic.all_accepted()
    wrong.heal()
    assert traffic.arrived() < HEALED_S
    traffic.judge()
    for host in (ann, bob):
        wait_for(
            lambda: not host.row("SELECT count(*) FROM messages WHERE state NOT IN ('shown', 'acknowledged')")[0],  # noqa: B023
            "every receipt came back",
            HEALED_S,
        )
    assert bob.row("SELECT count(*) FROM messages WHERE state = 'expired'")[0] == 0
