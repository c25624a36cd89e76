"""An edit counts only if its text says what its data say."""

from __future__ import annotations

import json

import pytest

from coterie.agents.installs.changes import Change, Json, changed, with_emptied
from coterie.agents.installs.jsontext import Dialect
from coterie.texts import APPEND, BadText

FORM = Json(Dialect())


class Careless(Json):
    """Does something else than it is told."""

    def apply(self, text: str, change: Change) -> str:
        """One more member than asked for."""
        return super().apply(text, change).replace("{", '{"more": 1, ', 1)


def test_an_edit_that_does_more_is_refused() -> None:
    with pytest.raises(BadText, match="cannot be edited safely"):
        changed('{"a": 1}', [Change(("b",), 2)], Careless(Dialect()))


@pytest.mark.parametrize("text", ["[]", "5", '"x"', "null"])
def test_only_an_object_is_a_configuration(text: str) -> None:
    with pytest.raises(BadText, match="it is not an object"):
        changed(text, [Change(("b",), 2)], FORM)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ('{"a": []}', Change(("a", "b"), 1)),
        ('{"a": {}}', Change(("a", APPEND), 1)),
        ('{"a": [1]}', Change(("a", 3), out=True)),
        ('{"a": 1}', Change(("b",), out=True)),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, change: Change) -> None:
    with pytest.raises(BadText):
        changed(text, [change], FORM)


def test_what_a_removal_leaves_empty_goes_too_unless_it_was_empty_before() -> None:
    data = {"a": {"b": {"c": 1}, "x": 2}, "d": {"e": {"f": 1}}}
    text = json.dumps(data)
    changes = [Change(("a", "b", "c"), out=True), Change(("d", "e", "f"), out=True)]
    assert json.loads(changed(text, with_emptied(data, changes, ()), FORM)) == {"a": {"x": 2}}
    kept = with_emptied(data, changes, [("d", "e"), ("a", "b")])
    assert json.loads(changed(text, kept, FORM)) == {"a": {"b": {}, "x": 2}, "d": {"e": {}}}
