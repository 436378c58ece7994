"""Zonotopes hold every sample, are exact on linear maps, and tighter than intervals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.outputs import bound
from ogive.verify.tracer import trace
from ogive.verify.zonotopes import zonotope
from tests.verify.models import MODELS, around, made


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("eps", [0.01, 0.3])
def test_no_sample_leaves_the_zonotope(name, eps):
    model, x = made(name)
    x = x[:1].double()
    found = zonotope(model, x - eps, x + eps)
    y = trace(model, x.float()).evaluate(around(x, eps).flatten(0, 1)).flatten(1)
    low, high = found.box()
    assert (y >= low - 1e-9).all() and (y <= high + 1e-9).all()
    rows = torch.randn(8, y.shape[1], dtype=torch.float64)
    low, high = found.range(rows)
    assert (y @ rows.mT >= low - 1e-9).all() and (y @ rows.mT <= high + 1e-9).all()
    wide = bound(model, x - eps, x + eps, method="ibp")
    low, high = found.box()
    assert float((high - low).sum()) <= float((wide.upper - wide.lower).sum()) + 1e-9


def test_a_linear_map_is_exact_in_every_direction():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)).double()
    found = zonotope(model, torch.zeros(1, 3), torch.ones(1, 3))
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    rows = torch.randn(6, 2, dtype=torch.float64)
    with torch.no_grad():
        y = model(corners) @ rows.mT
    low, high = found.range(rows)
    assert torch.allclose(low, y.amin(0), atol=1e-12) and torch.allclose(high, y.amax(0), atol=1e-12)
    assert (low <= y.amin(0) + 1e-15).all() and len(found.generators) == 3


def test_one_activation_by_hand():
    # relu on [-1, 3]: slope 3/4, between 3/4 x and 3/4 (x + 1); x = 1 + 2 e
    model = nn.Sequential(ogive.Act("relu"))
    found = zonotope(model, torch.tensor([[-1.0]]), torch.tensor([[3.0]]))
    assert float(found.centre) == pytest.approx(0.75 + 0.375)
    assert found.generators.flatten().tolist() == pytest.approx([1.5, 0.375])
    assert [float(v) for v in found.box()] == pytest.approx([0.0, 3.0])  # met with the image


def test_wrong_ends():
    with pytest.raises(InputError, match="zonotope: lo <= hi"):
        zonotope(nn.Linear(2, 2), torch.ones(1, 2), torch.zeros(1, 2))
