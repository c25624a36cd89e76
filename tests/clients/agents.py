"""The four agents as a test uses them: sessions of real programs, in one person's home."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from clients import programs
from clients.entries import Entry, given, holding
from clients.model import SEVERAL, Request
from clients.processes import Command, LabError, Result, wait_until
from clients.screen import Screen
from clients.script import FRAME, Rule

if TYPE_CHECKING:
    from clients.lab import Lab

Json = dict[str, Any]

KEY = "dummy-key-for-the-scripted-model"
PRINT_S = 120.0
"""How long a headless run may take: seconds, of which Codex spends five looking for the network."""
ENTERS_MAX = 5
ENTER_S = 3.0
SAW_S = 60.0
"""How long a text may take to reach a model. It takes a fraction of a second; a loaded machine, many."""
BUSY = re.compile(r"esc (to )?(interrupt|cancel)|running .* hook", re.IGNORECASE)
"""On the screen of an agent that works: the last words of its model are not the end, as hooks follow them."""


class Session:
    """One session of an agent: a folder to work in, a terminal, and a scripted model of its own."""

    kind: ClassVar[str]
    tool_form: ClassVar[str]
    """How the model names an MCP tool."""
    print_flags: ClassVar[tuple[str, ...]]
    """What comes before the prompt in a headless run."""
    ready: ClassVar[str] = r"\? for shortcuts|shift\+tab to cycle|ctrl\+p commands"
    """What the screen shows once it takes input."""
    ends_with_window: ClassVar[bool] = True

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        self.lab, self.name, self.folder = lab, name, folder
        self.program = programs.program(self.kind)
        self.env: dict[str, str] = {}
        """On top of the clean environment."""
        self.prompts = 0
        self.flags: list[str] = []
        """On every command line."""
        self.screen = Screen(lab, name)
        self.script = lab.model.script(name)
        self.model_url = lab.model.url(name)
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def seed(cls, lab: Lab) -> None:
        """Configure the agent in the person's home as a person would before Coterie: model, trust, dialogs done."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """All that the program gets to see of the environment."""
        return {**self.lab.environment(), **self.env}

    # --- running it -----------------------------------------------------------------------------------------------

    def run(self, *arguments: str, timeout: float = PRINT_S) -> Result:
        """The agent's own command line, such as ``run("mcp", "list")``."""
        return self.lab.run([str(self.program), *arguments], self.environment(), self.folder, timeout)

    def print_mode(self, prompt: str, *flags: str, timeout: float = PRINT_S) -> Result:
        """One prompt without a terminal."""
        return self.run(*self.print_flags, prompt, *self.flags, *flags, timeout=timeout)

    def begin(self, prompt: str, *flags: str) -> Command:
        """Start such a run, and do not wait for its end."""
        command = [str(self.program), *self.print_flags, prompt, *self.flags, *flags]
        return Command(self.lab.inside(command), self.environment(), self.folder, self.lab.logs)

    def start_tui(self, *flags: str) -> None:
        """Start it in its terminal, and return once it takes input."""
        self.screen.start([str(self.program), *self.flags, *flags], self.environment(), self.folder)
        self.screen.wait_for(self.ready)

    def enter(self, text: str) -> None:
        """Type a line into its terminal, then Enter on its own: both in one burst would count as a paste."""
        self.screen.type(text)
        self.screen.keys("Enter")

    def ask(self, prompt: str, timeout: float = SAW_S) -> None:
        """Enter a prompt, and return once the model was sent it."""
        before = len(self.requests())
        self.enter(prompt)
        self.lab.model.wait(lambda: len(self.requests()) > before, f"{self.name} sends {prompt!r}", timeout)

    def settle(self) -> None:
        """Two more prompts with their answers: whatever was still to come by a prompt or a stop has come."""
        for _ in range(2):
            self.wait_idle()
            self.prompts += 1
            prompt = f"prompt-{self.prompts} of {self.name}"
            self.enter(prompt)
            self.wait_saw(prompt)
            self.wait_idle()

    def wait_idle(self) -> None:
        """Return once the model has said its last word on all that it was asked, and the agent has taken it in."""

        def over() -> bool:
            asked = self.requests()
            return all(request.answered for request in asked) and not (asked and asked[-1].reply.tool)

        self.wait(over, f"{self.name} comes to an end")
        try:
            wait_until(lambda: not BUSY.search(self.screen.text()), SAW_S, f"{self.name} is idle")
        except LabError as error:
            raise LabError(f"{error}\n{self.told()}") from None

    def close(self) -> None:
        """Close its window, and return once its program has ended."""
        pid = self.screen.running()
        self.screen.close()
        if pid:
            if not self.ends_with_window:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
            self.lab.wait_ended(pid)

    # --- what its model does --------------------------------------------------------------------------------------

    def call(self, server: str, tool: str, **arguments: Any) -> str:
        """The directive that makes the scripted model call an MCP tool, in this agent's spelling."""
        return f"CALL:{self.tool_form.format(server=server, tool=tool)}:{json.dumps(arguments)}"

    def when(
        self, pattern: str, says: str | Callable[[re.Match[str]], str], once: bool = True, framed: bool = False
    ) -> Rule:
        """When the model is given a text that matches, it does what `says` tells in directives, before anything
        else; ``$ID`` is the id of the message in whose frame it matched. With `framed` nothing but frames counts.
        """
        rule = Rule(pattern, says, once, framed)
        self.script.rules.append(rule)
        return rule

    def answers(self, question: str, answer: str, then: str = "") -> Rule:
        """When a message with the text `question` comes, the model replies to it."""
        reply = self.call("coterie", "send_message", reply_to="$ID", message=answer)
        return self.when(re.escape(question), f"{reply}\n{then or 'SAY:answered'}", framed=True)

    # --- what its model was sent ----------------------------------------------------------------------------------

    def requests(self, side: bool = False) -> list[Request]:
        """What the model was sent, oldest first."""
        return self.lab.model.requests(self.name, side)

    def given(self) -> list[Entry]:
        """The entries that the model was given, each once for each time that it was given."""
        return given(request.talk for request in self.requests())

    def saw(self, text: str) -> bool:
        """Whether any request carried the text."""
        return any(text in request.text() for request in self.requests())

    def count_seen(self, text: str) -> int:
        """How many entries that the model was given hold the text."""
        return len(holding(text, self.given()))

    def frames(self, text: str = "") -> list[str]:
        """The frames with this text that the model was given: one for each time a message was shown to it."""
        entries: Iterator[Entry] = iter(self.given())
        return [found[0] for entry in entries for found in FRAME.finditer(entry.text) if text in found["body"]]

    def wait_saw(self, text: str, timeout: float = SAW_S) -> None:
        """Return once a request carried the text."""
        self.wait(lambda: self.saw(text), f"the model of {self.name} sees {text!r}", timeout)

    def wait(self, condition: Callable[[], object], what: str, timeout: float = SAW_S) -> None:
        """Return once `condition` holds; it is asked after each request to any model."""
        try:
            self.lab.model.wait(condition, what, timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.told()}") from None

    def told(self, requests: int = 6) -> str:
        """Its screen and the last requests, for whoever looks for a fault."""
        last = "\n".join(request.told() for request in self.requests(side=True)[-requests:])
        return f"=== screen of {self.name}\n{self.screen.text()}\n=== its last requests\n{last}"


class Claude(Session):
    """Claude Code. Each session has a URL of its own."""

    kind = "claude"
    tool_form = "mcp__{server}__{tool}"
    print_flags = ("-p",)

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        super().__init__(lab, name, folder)
        self.env = {"ANTHROPIC_BASE_URL": self.model_url, "ANTHROPIC_API_KEY": KEY}

    @classmethod
    def seed(cls, lab: Lab) -> None:
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        state: Json = {"hasCompletedOnboarding": True, "theme": "dark", "hasSeenAutoDefaultNudge": True}
        state |= {"customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []}}
        state |= {"bypassPermissionsModeAccepted": True, "projects": {str(lab.work): trusted}}
        write_json(lab.home / ".claude.json", state)
        # Auto mode would ask a classifier about the tools that a test has it use.
        permissions = {"defaultMode": "default", "allow": ["Agent", "Bash", "mcp__coterie"]}
        write_json(lab.home / ".claude" / "settings.json", {"permissions": permissions})

    def session_id(self) -> str:
        """The id of the conversation in its window, as its client keeps it beside the pid."""
        told = self.lab.home / ".claude" / "sessions" / f"{self.screen.running()}.json"
        return str(json.loads(told.read_text())["sessionId"])

    def clear(self) -> None:
        """Enter ``/clear``, and return once another conversation has begun."""
        before = self.session_id()
        self.enter("/clear")
        wait_until(lambda: self.session_id() != before, SAW_S, f"{self.name} is cleared")

    def compact(self) -> None:
        """Enter ``/compact``, and return once it is done."""
        self.enter("/compact")
        self.screen.wait_for("Conversation compacted")

    def subagent_requests(self, task: str) -> list[Request]:
        """The requests of the sub-agent that was given a task."""
        return [request for request in self.requests() if request.talk.name.partition("\n")[2].startswith(task)]


class Codex(Session):
    """Codex CLI. Its threads share one process, so a request is known by the folder that it tells."""

    kind = "codex"
    tool_form = "mcp__{server}.{tool}"
    print_flags = ("exec",)

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        super().__init__(lab, name, folder)
        self.env = {"LAB_KEY": KEY}
        lab.model.folders[str(folder)] = name

    @classmethod
    def seed(cls, lab: Lab) -> None:
        config = lab.home / ".codex" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(
            "# My own settings.\n"
            'model = "gpt-5.2-codex"\n'
            'model_provider = "lab"\n\n'
            "[model_providers.lab]\n"
            'name = "lab"\n'
            f'base_url = "{lab.model.url(SEVERAL)}/v1"\n'
            'wire_api = "responses"\n'
            'env_key = "LAB_KEY"\n\n'
            f'[projects."{lab.work}"]\n'
            'trust_level = "trusted"\n'
        )

    def start_and_trust(self) -> None:
        """Start its window, and trust the hooks that are new to it as a person does; returns once it takes input."""
        self.screen.start([str(self.program), *self.flags], self.environment(), self.folder)
        self.screen.wait_for("2. Trust all")
        self.screen.press_until("2", "› 2. Trust all")
        self.screen.keys("Enter")
        self.screen.wait_for(self.ready)

    def thread_id(self) -> str:
        """The thread that the model was last asked for in this session; "" before the first prompt."""
        asked = self.requests()
        return str(asked[-1].body.get("prompt_cache_key", "")) if asked else ""


class Gemini(Session):
    """Gemini CLI. Each session has a URL of its own."""

    kind = "gemini"
    tool_form = "mcp_{server}_{tool}"
    print_flags = ("--yolo", "-p")
    ends_with_window = False
    """Measured with 0.61.0: once of six times it still ran half a minute after its window was closed."""

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        super().__init__(lab, name, folder)
        self.env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": self.model_url}

    @classmethod
    def seed(cls, lab: Lab) -> None:
        folder = lab.home / ".gemini"
        write_json(folder / "settings.json", {"security": {"auth": {"selectedType": "gemini-api-key"}}})
        write_json(folder / "trustedFolders.json", {str(lab.work): "TRUST_FOLDER"})

    def enter(self, text: str) -> None:
        """Type a line and press Enter until it is gone: one right behind other keys is taken for part of a paste."""
        self.screen.type(text)
        for _ in range(ENTERS_MAX):
            self.screen.keys("Enter")
            with contextlib.suppress(LabError):
                wait_until(lambda: "Type your message" in self.screen.text(), ENTER_S, f"{text!r} is entered")
                return
        raise LabError(f"{text!r} is not taken by {self.name}\n{self.told()}")


class OpenCode(Session):
    """OpenCode. Its configuration takes the URL from the environment, so each session has its own."""

    kind = "opencode"
    tool_form = "{server}_{tool}"
    print_flags = ("run",)

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        super().__init__(lab, name, folder)
        self.env = {"LAB_MODEL_URL": self.model_url, "LAB_KEY": KEY}

    @classmethod
    def seed(cls, lab: Lab) -> None:
        options = {"baseURL": "{env:LAB_MODEL_URL}/v1", "apiKey": "{env:LAB_KEY}"}
        provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"lab": {}}}
        config = {"autoupdate": False, "model": "lab/lab", "provider": {"lab": provider}}
        folder = lab.home / ".config" / "opencode"
        write_json(folder / "opencode.json", config)
        # Before it loads a plugin it installs its own plugin package, for which it would look for the network for a
        # minute. So it is as if installed.
        package = {"dependencies": {"@opencode-ai/plugin": "*"}}
        (folder / "node_modules").mkdir()
        write_json(folder / "package.json", package)
        write_json(folder / "package-lock.json", {"packages": {"": package}})

    def print_mode(self, prompt: str, *flags: str, timeout: float = PRINT_S) -> Result:
        """One prompt without a terminal, word by word: OpenCode quotes an argument that has spaces."""
        return self.run(*self.print_flags, *self.flags, *flags, *prompt.split(" "), timeout=timeout)


KINDS: tuple[type[Session], ...] = (Claude, Codex, Gemini, OpenCode)


def write_json(path: Path, value: Json) -> None:
    """Write a configuration file as the clients do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def search_path() -> str:
    """Where programs are found: the system's, and node's."""
    node = os.path.dirname(shutil.which("node") or "/usr/bin/node")
    return ":".join(dict.fromkeys([node, "/usr/local/bin", "/usr/bin", "/bin"]))
