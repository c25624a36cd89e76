"""The scripted model: a server of the four APIs in the test's own process, and what it was sent.

Its listening socket was made inside the lab's network namespace, where alone it can be reached; the threads that
serve it are here, so that a test can wait for a request and lay down rules without any file or poll between.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clients.entries import Conversation, conversation
from clients.processes import LabError
from clients.replies import api_of
from clients.script import Action, Script

Json = dict[str, Any]

DELAY_MAX_S = HOLD_MAX_S = 120
NOTHING = Action()
SEVERAL = "-"
"""In place of a session's name in a URL: the session is that in whose folder the agent says it works."""
CWD = re.compile(r"<cwd>(.*?)</cwd>")
SUMMARY = re.compile(r"create a detailed summary of|CONTEXT CHECKPOINT COMPACTION", re.IGNORECASE)
"""In the last text of a request: what Claude Code and Codex ask for a compaction."""


@dataclass
class Request:
    """One request to the model."""

    session: str
    api: str
    path: str
    body: Json
    talk: Conversation
    side: bool
    """Not the agent's own turn: a title, a summary, a route."""
    at: float
    headers: dict[str, str]
    reply: Action = NOTHING
    answered: bool = False
    """Whether the answer has gone out."""

    def text(self) -> str:
        """Everything in it as one text, instructions included, with its line ends readable."""
        return json.dumps(self.body, ensure_ascii=False).replace("\\n", "\n").replace('\\"', '"')

    def tools(self) -> list[str]:
        """The names of the tools that were offered."""
        return re.findall(r'"name": "([\w.-]+)"', json.dumps(self.body.get("tools", [])))

    def told(self, width: int = 160) -> str:
        """It in a few lines, for whoever looks for a fault."""
        lines = [f"{self.session}  {self.api}  {time.strftime('%H:%M:%S', time.localtime(self.at))}"]
        lines[0] += "  (side request)" if self.side else ""
        for entry in self.talk.entries[-5:]:
            lines.append(f"    {entry.kind:8} {' '.join(entry.text.split())[:width]}")
        answer = {key: value for key, value in self.reply._asdict().items() if value}
        return "\n".join([*lines, f"    =>       {str(answer)[:width]}"])


class Model:
    """The server, the scripts of the sessions, and the requests so far."""

    def __init__(self, listener: socket.socket, log: Path) -> None:
        self.changed = threading.Condition()
        self.scripts: dict[str, Script] = {}
        self.folders: dict[str, str] = {}
        """The sessions by the folders that they work in."""
        self.port: int = listener.getsockname()[1]
        self.faults: list[str] = []
        """What went wrong in here: the lab's own defects."""
        self._requests: list[Request] = []
        self._log = log
        log.touch()
        self._server = _Server(listener, self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="model", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, session: str) -> str:
        """Where a session finds the model."""
        return f"http://127.0.0.1:{self.port}/{session}"

    def script(self, session: str) -> Script:
        """What the session's model does."""
        return self.scripts.setdefault(session, Script())

    def requests(self, session: str = "", side: bool = False) -> list[Request]:
        """What the model was sent, oldest first; with side requests on demand."""
        with self.changed:
            return [r for r in self._requests if session in ("", r.session) and (side or not r.side)]

    def wait(self, condition: Callable[[], object], what: str, timeout: float) -> None:
        """Return once `condition` holds, which is asked after each request. Raises `LabError` if it does not."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise LabError(f"not within {timeout:g} s: {what}")

    def answer(self, path: str, headers: dict[str, str], body: Json) -> str:
        """The answer to a request, when it is time."""
        session, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        api, build = api_of(f"/{rest}") or ("", None)
        if build is None:
            return ""
        talk = conversation(body)
        session = self._session(session, talk)
        last = talk.entries[-1].text if talk.entries else ""
        summary = bool(SUMMARY.search(last))
        request = Request(session, api, rest, body, talk, summary or not body.get("tools"), time.time(), headers)
        if summary:
            request.reply = Action(say="<summary>MOCKSUMMARY</summary>")
        elif request.side:
            request.reply = Action(say="MOCKREPLY")
        else:
            request.reply = self.script(session).next(talk)
        self._record(request)
        if request.reply.hold:
            request.reply.hold.wait(HOLD_MAX_S)
        time.sleep(min(request.reply.delay, DELAY_MAX_S))
        with self.changed:
            request.answered = True
            self.changed.notify_all()
        return build(request.reply, body)

    def _session(self, named: str, talk: Conversation) -> str:
        if named != SEVERAL:
            return named
        told = (CWD.search(entry.text) for entry in talk.entries)
        return next((self.folders.get(found[1], found[1]) for found in told if found), SEVERAL)

    def _record(self, request: Request) -> None:
        told = {"session": request.session, "at": request.at, "path": request.path, "side": request.side}
        reply = request.reply._replace(hold=None)
        line = json.dumps({**told, "headers": request.headers, "body": request.body, "reply": reply})
        with self.changed:
            self._requests.append(request)
            with self._log.open("a") as log:
                log.write(line + "\n")
            self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, model: Model) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.model = model

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            self.model.faults.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nothing: the requests are logged."""

    def do_GET(self) -> None:
        self._send(404, "{}")

    do_HEAD = do_GET  # noqa: N815 (the name that http.server looks for)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw[:1] == b"{" else {}
        answer = self.server.model.answer(self.path, dict(self.headers), body)
        self._send(200 if answer else 404, answer or "{}")

    def _send(self, status: int, body: str) -> None:
        with contextlib.suppress(ConnectionError):  # The client may have given up meanwhile.
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if body[:1] == "{" else "text/event-stream")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())
