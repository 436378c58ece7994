"""In-degrees, path lengths and what follows from them, against counts by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.architecture import architecture, init_by_degree_
from tests.surgery.models import Hidden, mlp

WIDTH = 256


class Summed(nn.Module):
    """z_l = sum of W relu(z_k) over the earlier layers k in ``rows[l]``; with "same", z_k itself is added as well."""

    def __init__(self, rows, width=WIDTH, act="relu"):
        super().__init__()
        self.rows, self.act = rows, ogive.Act(act)
        self.first = nn.Linear(width, width, bias=False)
        self.maps = nn.ModuleList(nn.ModuleList(nn.Linear(width, width) for k in row if k != "same") for row in rows)
        self.last = nn.Linear(width, 3)

    def forward(self, x):
        z = [self.first(x)]
        for row, maps in zip(self.rows, self.maps):
            sources = [k for k in row if k != "same"]
            total = z[-1] if "same" in row else 0.0
            for m, k in zip(maps, sources):
                total = total + m(self.act(z[k]))
            z.append(total)
        return self.last(self.act(z[-1]))


ALL = ((0,), (0, 1), (0, 1, 2))
X = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(6))


def test_paths_are_counted_by_depth():
    assert architecture(mlp(nn.ReLU, 5, 16), X[:, :16]).paths == ((5, 1),)
    # z_3 has the paths of z_0, z_1, z_2, each one nonlinearity longer, and one more leads to the output
    assert architecture(Summed(ALL), X).paths == ((2, 1), (3, 2), (4, 1))
    assert architecture(Summed((("same", 0), ("same", 1))), X).paths == ((1, 1), (2, 2), (3, 1))
    deep = architecture(Summed(tuple(tuple(range(k + 1)) for k in range(24)), 8), X[:, :8])
    assert sum(n for _, n in deep.paths) == 2**23, "counted, not listed"


def test_the_factor_is_the_papers_and_rates_follow():
    one, three = (architecture(mlp(nn.ReLU, d, 16), X[:, :16]) for d in (1, 3))
    assert three.rate(one, 0.3) == pytest.approx(0.3 / 27**0.5, rel=1e-12)
    graph = architecture(Summed(ALL), X)
    assert graph.factor == pytest.approx((2**3 + 2 * 3**3 + 4**3) ** -0.5, rel=1e-12)
    conv = architecture(
        nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), torch.randn(2, 1, 10, 10)
    )
    assert conv.kernel == pytest.approx(5.0) and conv.factor == pytest.approx(0.2)


def test_degrees_count_the_terms_of_the_sum_that_a_weight_goes_into():
    found = {w.weight.name: w for w in architecture(Summed(ALL), X).weights}
    assert found["first.weight"].degree == 1 and found["last.weight"].degree == 1
    assert [found[f"maps.{row}.{k}.weight"].degree for row in range(3) for k in range(row + 1)] == [1, 2, 2, 3, 3, 3]
    assert found["maps.2.1.weight"].std == pytest.approx(math.sqrt(2 / (3 * WIDTH)), rel=1e-9)
    assert found["first.weight"].std == pytest.approx(1 / math.sqrt(WIDTH), rel=1e-9)
    assert found["last.weight"].last and found["last.weight"].std == pytest.approx(math.sqrt(2) / WIDTH, rel=1e-9)
    plain = architecture(Summed(ALL), X, mean_field=False).weights[-1]
    assert plain.std == pytest.approx(math.sqrt(2 / WIDTH), rel=1e-9)
    stream = architecture(Summed((("same", 0), ("same", 1))), X).weights
    assert [w.degree for w in stream] == [1, 2, 2, 1], "a term added as it is counts, the stream before it is one"


@pytest.mark.parametrize(("act", "rows"), [("relu", ALL), ("tanh", ALL), ("gelu", ((0,), (0,), (1, 2)))])
def test_drawn_so_every_layer_keeps_the_scale(act, rows):
    """Equation 3 of the source; with the in-degree of the layer before, as printed, ALL would give 1 + 1/2 at least."""
    model = Summed(rows, act=act)
    init_by_degree_(model, X, generator=torch.Generator().manual_seed(0))
    z, squares = [model.first(X)], []
    for row, maps in zip(rows, model.maps):
        z.append(sum(m(model.act(z[k])) for m, k in zip(maps, row)))
        squares.append(float(z[-1].detach().square().mean()))
    assert squares == pytest.approx([1.0] * len(rows), rel=0.35)
    assert float(model.maps[0][0].bias.detach().abs().max()) == 0.0


def test_report_and_bad_input():
    found = architecture(Summed(ALL), X)
    assert repr(found).startswith("Architecture: 4 paths, the deepest of 4; factor 0.08909")
    assert max(map(len, repr(found).splitlines())) <= 80
    assert json.loads(json.dumps(found.to_dict()))["paths"] == [[2, 1], [3, 2], [4, 1]]
    assert len(architecture(Hidden(), torch.randn(4, 16)).stops) == 1
    with pytest.raises(InputError, match="no linear map"):
        architecture(nn.ReLU(), X)
    with pytest.raises(ParameterError, match="rate=0"):
        found.rate(found, 0)
    linear = architecture(nn.Linear(4, 4), torch.randn(2, 4))
    with pytest.raises(OgiveError, match="no path of the known one"):
        found.rate(linear, 0.1)
    assert linear.to_dict()["factor"] is None
    model = nn.Sequential(nn.Linear(4, 4), ogive.Act("exp(x**2)"), nn.Linear(4, 4))
    before = model[0].weight.detach().clone()
    with pytest.raises(OgiveError, match=r"2\.weight"):
        init_by_degree_(model, torch.randn(2, 4))
    assert torch.equal(model[0].weight, before)
