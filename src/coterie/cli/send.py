"""``coterie send`` and ``coterie reply``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click

from coterie import ids
from coterie.cli import say
from coterie.cli.completion import addresses
from coterie.cli.deliver import deliver, outcome, where_it_stands
from coterie.cli.letters import handing_over, under
from coterie.cli.link import Link
from coterie.cli.options import PERSON, examples, json_option, whoever_asks
from coterie.cli.times import duration, in_words
from coterie.errors import BadInput
from coterie.limits import (
    MESSAGE_BYTES_MAX,
    MESSAGE_LIFE_MAX_S,
    MESSAGE_LIFE_MIN_S,
    SETTLE_S,
    WAIT_S_MAX,
)


def _sending_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option(
            "--life", metavar="DURATION", help="How long it may wait unread: 90s, 2h, 3d.  [default: mail.life_days]"
        ),
        click.option("--hold", is_flag=True, help="Keep it even if the recipient has ended."),
        click.option(
            "--wait",
            "wait_s",
            type=float,
            metavar="SECONDS",
            help=f"Wait for an answer, {WAIT_S_MAX:g} s at most.",
        ),
    ):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "coterie send bob the tests are green",
        "coterie send role:reviewer --wait 30 'may I merge?'",
        "git diff | coterie send bob -",
        "coterie send bob -- -v is the option you want",
    ),
)
@click.argument("to", shell_complete=addresses)
@click.argument("text", nargs=-1)
@click.option("--reply-to", metavar="MESSAGE", help="The message that this answers.")
@_sending_options
def send(to: str, text: tuple[str, ...], reply_to: str | None, **options: Any) -> int:
    """Send a message, and say how far it got.

    TO is a name, an id or its beginning, role:NAME, repo, all or me; or on a paired device NAME@DEVICE or
    role:NAME@DEVICE. TEXT may be - to read standard input, which is read too when there is no TEXT and it is no
    terminal.
    """
    if not to.strip():
        raise BadInput("nobody is named", "coterie peers shows who can be written to")
    return _send({"to": to, "reply_to": reply_to}, text, **options)


@click.command(epilog=examples("coterie reply m_4t8x yes, go ahead", "coterie reply m_4t8x - < answer.txt"))
@click.argument("message")
@click.argument("text", nargs=-1)
@_sending_options
def reply(message: str, text: tuple[str, ...], **options: Any) -> int:
    """Answer a message.

    MESSAGE is its id or the beginning of it. To answer acknowledges it.
    """
    if not message.strip():
        raise BadInput("no message is named", "coterie log shows their ids")
    return _send({"reply_to": message}, text, **options)


def _send(
    whom: dict[str, Any], text: tuple[str, ...], *, wait_s: float | None, hold: bool, life: str | None, as_json: bool
) -> int:
    if wait_s is not None and not 0 < wait_s <= WAIT_S_MAX:  # NaN is neither.
        raise BadInput(f"a send cannot wait {wait_s:g} s", f"more than 0 and at most {WAIT_S_MAX:g}")
    params = {
        **whom,
        "id": ids.new_message_id(),
        "text": _text(text),
        "hold": hold,
        **({} if life is None else {"life_s": _life(life)}),
        "settle_s": SETTLE_S,
    }
    if wait_s and sys.stderr is not None and sys.stderr.isatty():
        say.note(f"waiting up to {wait_s:g} s for an answer (Ctrl-C ends the waiting)")
    link = Link()
    person = bool(wait_s) and _is_person(
        link
    )  # Known beforehand: once there is an answer, nothing may fail but printing.
    try:
        answer = deliver(link, params, wait_s or 0)
    except KeyboardInterrupt:
        say.note(where_it_stands(params["id"]))
        return say.INTERRUPTED
    got = answer.get("answer")
    with handing_over(link, got["call"], person=person) if got else nullcontext():
        if as_json:
            _report_json(answer, waited=bool(wait_s), person=person)
        else:
            _report(answer, person=person)
    if not wait_s or got:
        return say.DONE
    say.note(answer.get("no_wait") or "no answer yet; it will come as mail: coterie inbox")
    return say.NO_ANSWER


def _life(text: str) -> float:
    life_s = duration(text)
    if not MESSAGE_LIFE_MIN_S <= life_s <= MESSAGE_LIFE_MAX_S:
        low, high = in_words(MESSAGE_LIFE_MIN_S), in_words(MESSAGE_LIFE_MAX_S)
        raise BadInput(f"a message cannot live {in_words(life_s)}", f"from {low} to {high}")
    return life_s


# --- the text -------------------------------------------------------------------------------------------------------


def _text(words: tuple[str, ...]) -> str:
    text = " ".join(words) if words not in ((), ("-",)) else _standard_input(asked=bool(words))
    if not text.strip():
        raise BadInput("the text is empty", "write it after the recipient, or send it to standard input")
    return text


def _standard_input(*, asked: bool) -> str:
    if sys.stdin is None:
        raise BadInput("there is no text, and standard input is closed", "write the text after the recipient")
    if sys.stdin.isatty():
        if not asked:
            raise BadInput("there is no text", "write it after the recipient, or - to type it")
        say.note("type the message; Ctrl-D on a line of its own sends it, Ctrl-C gives it up")
    data = sys.stdin.buffer.read(MESSAGE_BYTES_MAX + 1)
    if len(data) > MESSAGE_BYTES_MAX:
        raise BadInput(
            f"the text is longer than the {MESSAGE_BYTES_MAX} bytes that fit",
            "write it to a file and send the path, or send it in parts",
        )
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise BadInput("the text on standard input is not UTF-8", "convert it, or send the path of a file") from None


# --- what is said ---------------------------------------------------------------------------------------------------


def _report(answer: dict[str, Any], *, person: bool) -> None:
    for copy in answer["messages"]:
        say.result(outcome(copy, copy["life_s"]))
    got = answer.get("answer")
    if got:
        fields = [f"{say.plain(answer['messages'][0]['to'])} answers", got["id"]]
        say.result("\n" + (under(fields, got["text"], say.width()) if person else got["frame"]))


def _report_json(answer: dict[str, Any], *, waited: bool, person: bool) -> None:
    got = answer.get("answer")
    if got:  # In an agent's session the text stands in its frame only: a model may read it.
        got = {"id": got["id"], "text": got["text"] if person else None, "frame": got["frame"]}
    no_wait = answer.get("no_wait")
    say.result_json({"messages": answer["messages"], "waited": waited, "no_wait": no_wait, "answer": got or None})


def _is_person(link: Link) -> bool:
    me = whoever_asks(link)
    return me is not None and me["kind"] == PERSON
