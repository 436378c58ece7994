"""The stored relations are true: the same function, one that contains another, the gap of a near one."""

from __future__ import annotations

import pytest
import torch

import ogive
from ogive.catalogue import entries
from ogive.derive.recognition.kinship import Count, distinct
from ogive.derive.recognition.target import NEAR
from ogive.derive.relations import Fact, facts, relations
from tests.entries import ONE_INPUT

# Another grid than the search's: its points lie between and beyond.
X = torch.cat([
    torch.linspace(-8.0, 8.0, 1607, dtype=torch.float64), torch.tensor([2e-4, -2e-4, 2e-3, -2e-3]),
    torch.tensor([-97.1, -33.3, -14.2, 13.9, 29.7, 88.6], dtype=torch.float64),
]).double()  # fmt: skip
GRID = torch.from_numpy(NEAR)
CHOSEN = {e.name for e in ONE_INPUT}
STATED = [f for f in facts() if f.name in CHOSEN]
BY_NAME: dict[str, list[Fact]] = {}
for fact in STATED:
    BY_NAME.setdefault(fact.name, []).append(fact)


def apart(fact: Fact) -> torch.Tensor:
    """The differences of the two functions of a fact, relative to 1 + |y|."""
    with torch.no_grad():
        y, z = entries()[fact.name](X, **fact.parameters), entries()[fact.other](X)
    same = (y == z) | (y.isnan() & z.isnan())
    return torch.where(same, 0.0, (y - z).abs() / (1.0 + z.abs()))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_fact_about_an_entry_is_true(name):
    for fact in BY_NAME[name]:
        if fact.kind == "near":
            y, z = entries()[name](GRID), entries()[fact.other](GRID)  # the search's: at a jump the points decide
            assert float((y - z).abs().max()) == pytest.approx(fact.gap, rel=0.01, abs=1e-9), fact
        else:
            assert float(apart(fact).max()) <= 1e-9, fact
            assert fact.kind in ("same as", "contains")
            assert bool(fact.parameters) == (fact.kind == "contains")


def test_names_exist_and_the_file_is_sorted():
    stated = facts()
    names = set(entries())
    assert {f.name for f in stated} | {f.other for f in stated} <= names
    lines = [f.line for f in stated]
    assert lines == sorted(lines)
    assert len({(f.name, f.kind, f.other) for f in stated}) == len(stated)


def test_relations_are_told_from_both_sides():
    for name in CHOSEN:
        for r in relations(name):
            assert r.other in entries()
            back = {s.kind for s in relations(r.other) if s.other == name}
            turned = {"same as": "same as", "contains": "contained in", "contained in": "contains"}
            assert r.kind == "near" or turned[r.kind] in back, (name, r)


def test_silu_is_swish_and_aglu_contains_it():
    assert ("same as", "swish") in {(r.kind, r.other) for r in relations("silu")}
    told = {(r.kind, r.other) for r in relations("aglu")}
    assert ("same as", "silu") in told or ("contains", "silu") in told
    inside = next(r for r in relations("leaky_relu") if r.kind == "contains" and r.other == "relu")
    assert inside.parameters == {"negative_slope": 0.0}
    assert "contains relu at negative_slope = 0" in inside.text
    assert inside.to_dict()["other"] == "relu"


def test_declared_copies_are_the_same():
    for entry in ONE_INPUT:
        if entry.same_as:
            kin = {r.other for r in relations(str(entry.name)) if r.kind == "same as"}
            assert str(ogive.get(entry.same_as).name) in kin, f"{entry.name} says it is {entry.same_as}"


def test_an_unknown_name():
    with pytest.raises(ogive.UnknownName, match="swish"):
        relations("swishh")


def test_distinct_functions_are_counted():
    count = distinct()
    assert isinstance(count, Count)
    twins = sum(f.kind == "same as" for f in facts())
    scalar = sum(len(e.inputs) == 1 for e in entries().values())
    assert (count.entries, count.functions) == (scalar, scalar - twins)
    assert count.functions <= count.with_backward <= count.entries
    assert str(count.functions) in str(count)
    assert count.to_dict()["functions"] == count.functions
