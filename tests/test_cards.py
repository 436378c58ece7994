"""Cards: everything published that is not a scalar formula is found by name, and never in place of an entry."""

from __future__ import annotations

import importlib

import pytest
from typer.testing import CliRunner

import ogive
from ogive.cards import KINDS, card, cards, known
from ogive.cli import app
from ogive.references import references


def test_there_are_hundreds_and_none_is_an_entry():
    assert len(cards()) >= 250
    names = set(ogive.catalogue.entries()) | set(ogive.catalogue.aliases())
    assert not names & set(cards())
    spelled = [a for c in cards().values() for a in c.aliases]
    assert len(spelled) == len(set(spelled)) and not set(spelled) & set(cards()) and not set(spelled) & names


def test_each_is_complete():
    for c in cards().values():
        assert c.title and c.definition and c.cite, c.name
        assert set(c.cite) <= set(references()), c.name
        assert c.kind in KINDS and str(c).splitlines()[0].startswith(c.title)
        assert all(len(line) <= 120 for line in str(c).splitlines()), c.name
        assert c.to_dict()["name"] == c.name


def test_layers_named_exist():
    for c in cards().values():
        if c.layer:
            module, _, name = c.layer.split("(")[0].rpartition(".")
            assert hasattr(importlib.import_module(module), name), (c.name, c.layer)


def test_found_by_name_and_alias():
    assert card("softmax").kind == "vector" and known("softargmax") is card("softmax")
    with pytest.raises(ogive.UnknownName, match=r"softmx.*softmax"):
        card("softmx")


def test_a_card_is_told_where_an_entry_was_asked_for():
    with pytest.raises(ogive.UnknownName, match="not a function of one number: Softmax maps a vector"):
        ogive.get("softmax")
    shown = CliRunner().invoke(app, ["describe", "softmax"])
    assert shown.exit_code == 0 and "definition" in shown.output
