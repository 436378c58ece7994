"""Branching points: inside the interval, at the kink, and better than the middle."""

from __future__ import annotations

import pytest
import torch

from ogive.derive.branching import area, branch_points
from ogive.errors import ParameterError


def test_a_kink_is_where_to_split():
    table = branch_points("relu")
    lo, hi = torch.tensor([-1.0, -5.0, -0.5]), torch.tensor([3.0, 1.0, 0.25])
    assert table(lo, hi).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.02)
    assert float(table.gain.max()) > 0.99


@pytest.mark.parametrize("name", ["silu", "gelu", "tanh", "sine", "hardswish"])
def test_splitting_there_leaves_less_than_splitting_in_the_middle(name):
    table = branch_points(name)
    gen = torch.Generator().manual_seed(2)
    lo = torch.rand(400, generator=gen, dtype=torch.float64) * 6 - 5
    hi = lo + 0.5 + torch.rand(400, generator=gen, dtype=torch.float64) * 4
    point, middle = table(lo, hi), (lo + hi) / 2
    assert ((point > lo) & (point < hi)).all()
    left = area(name, lo, point) + area(name, point, hi)
    usual = area(name, lo, middle) + area(name, middle, hi)
    assert left.sum() < 0.97 * usual.sum()
    assert left.sum() < area(name, lo, hi).sum()


def test_beyond_the_table_and_at_its_edge():
    table = branch_points("tanh", reach=4.0)
    lo, hi = torch.tensor([-40.0, 3.9, -4.0]), torch.tensor([50.0, 60.0, 4.0])
    point = table(lo, hi)
    assert ((point > lo) & (point < hi)).all()
    assert "tanh: 49 ends" in repr(table) and len(table.to_dict()["ends"]) == 49
    with pytest.raises(ParameterError, match="reach"):
        branch_points("tanh", reach=-1.0)
