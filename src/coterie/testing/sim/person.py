"""The person at a terminal: `coterie send`, `coterie inbox` and `coterie log`, as their commands speak on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie import ids
from coterie.errors import CoterieError, NoMatch, Silent, StoreFailed, Unavailable
from coterie.ids import framed_ids_in
from coterie.testing.sim.dial import Line, dial

if TYPE_CHECKING:
    from coterie.testing.sim.sites import Site

TRIES = 3
"""As often `coterie send` tries, with the same id."""
TEXTS_MAX = 16
"""As many texts `coterie inbox` prints."""


class Person:
    """The person of this device."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._said = 0

    def note(self, kind: str, **what: Any) -> None:
        """Something that the person saw."""
        self._site.history.note(kind, self._site.person, **what)

    async def _line(self) -> Line:
        return await dial(self._site, self._site.processes.start(), "cli", start=True)

    async def say(self, to: str, life_s: float | None = None) -> None:
        """Send a message, and send it again if the connection breaks."""
        self._said += 1
        body, message = f"{self._site.person}-{self._said}", ids.new_message_id()
        self.note("send", body=body, to=to)
        params: dict[str, Any] = {"id": message, "to": to, "text": f"{body} depth 0"}
        if life_s is not None:
            params["life_s"] = life_s
        left = False
        for _ in range(TRIES):
            try:
                line = await self._line()
                left = True
                answer = await line.call("messages.send", params)
            except Silent:
                break
            except Unavailable:
                continue
            except CoterieError as error:
                unsure = isinstance(error, StoreFailed) and "not known" in error.message
                self.note("unknown" if unsure else "refused", body=body, why=error.message)
                return
            line.close()
            self.note("accepted", body=body, ids=[copy["id"] for copy in answer["messages"]])
            for copy in answer["messages"]:
                self.note("told", id=copy["id"], state=copy["state"])
            return
        self.note("unknown" if left else "refused", body=body)

    async def look(self) -> bool:
        """Read what there is. False if the daemon could not be had."""
        try:
            line = await self._line()
        except CoterieError:
            return False
        try:
            for _ in range(TEXTS_MAX):
                if not await self._take(line):
                    break
        except CoterieError:
            return False
        finally:
            line.close()
        return True

    async def _take(self, line: Line) -> bool:
        call = ids.new_token()
        mail = await line.call("mail.take", {"call": call, "check": True, "terminal": True})
        messages = [message for text in mail["frames"] for message in framed_ids_in(text)]
        if messages:
            self.note("out", carrier="terminal", ids=messages)
            self.note("read", ids=messages)
        for receipt in mail["receipts"]:
            self.note("told", id=receipt["id"], state=receipt["state"])
        if messages or mail["receipts"]:
            try:
                await line.call("mail.shown", {"call": call})
            except CoterieError:
                self.note("unreported", ids=messages)
                raise
            self.note("reported", ids=messages)
        return bool(mail["waiting"])

    async def rows(self) -> list[dict[str, Any]]:
        """The whole log. Tried until it can be had."""
        found: list[dict[str, Any]] = []
        line = await self._line()
        before = 0
        while True:
            params = {"limit": 200, "texts": True, **({"before": before} if before else {})}
            answer = await line.call("messages.log", params)
            found = [*answer["messages"], *found]
            if not answer["messages"]:
                break
            before = answer["messages"][0]["seq"]
        line.close()
        return found

    async def peers(self) -> list[dict[str, Any]]:
        """Every peer that is known, the person too."""
        line = await self._line()
        answer = await line.call("peers.list", {"everybody": True})
        line.close()
        return [answer["me"], *answer["peers"]]

    async def network(self) -> list[dict[str, Any]]:
        """Every session of another device that is known, as this one shows it. Nothing if the daemon cannot be had."""
        try:
            line = await self._line()
        except CoterieError:
            return []
        try:
            answer = await line.call("peers.list", {"everybody": True, "scope": "network"})
        except CoterieError:
            return []
        finally:
            line.close()
        return [card for device in answer["devices"] for card in device["peers"]]

    async def forget(self, device: str) -> bool | None:
        """Forget another device. None if it is not known whether that was done."""
        try:
            line = await self._line()
        except CoterieError:
            return False
        try:
            await line.call("relay.forget", {"device": device})
        except NoMatch:
            return False
        except CoterieError as error:
            self.note("perhaps", why=error.message)
            return None
        finally:
            line.close()
        return True

    async def allow(self, device: str, *, give: bool) -> bool:
        """Give another device the right to write here, or take it. False if that was not done, or perhaps not."""
        try:
            line = await self._line()
        except CoterieError:
            return False
        try:
            await line.call("relay.grant" if give else "relay.revoke", {"device": device, "grants": ["message"]})
        except CoterieError:
            return False
        finally:
            line.close()
        return True

    async def approve_all(self) -> int:
        """Let through whatever waits for a word of this person; how much that was."""
        line = await self._line()
        answer = await line.call("relay.requests", {})
        held = [one for one in answer["requests"] if one["incoming"] and one["state"] == "held"]
        for one in held:
            self.note("let through", ids=[one["message"]])
            await line.call("relay.approve", {"request": one["id"]})
        line.close()
        return len(held)
