"""Models whose weights torchao has packed: what only exchanges functions works, what needs the weights says so."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import OgiveError
from ogive.surgery.hardening import flip_bits
from ogive.surgery.integer import TableAct, bias_correction, equalise, tabulate
from ogive.surgery.memory import lighten
from ogive.surgery.sparsity import accelerate, cats, cett, teal
from ogive.surgery.transforms import transform

quantization = pytest.importorskip("torchao.quantization")
X = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
CONFIGS = {
    "weights": quantization.Int8WeightOnlyConfig,
    "inputs too": quantization.Int8DynamicActivationInt8WeightConfig,
}


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32), nn.GELU(), nn.Linear(32, 4)).eval()


@pytest.fixture(params=CONFIGS)
def pack(request):
    return lambda made: (quantization.quantize_(made, CONFIGS[request.param]()), made)[1]


def test_sites_are_found_and_functions_exchanged(pack):
    packed = pack(model())
    before = packed(X)
    assert [(s.name, s.fed_by) for s in ogive.sites(packed, X)] == [("1", ("0.weight",)), ("3", ("2.weight",))]
    for change in (lambda: ogive.swap(packed, "golu", X, fit="refit", time=False), lambda: tabulate(packed, X),
                   lambda: cats(packed, X, target=0.5), lambda: lighten(packed, X)):  # fmt: skip
        report = change()
        assert len(report.changes) == 2
        report.undo()
        assert torch.equal(packed(X), before)


def test_tables_go_in_before_and_after(pack):
    first, second = model(), pack(model())
    tabulate(first, X, scale="mse", time=False)
    pack(first)
    tabulate(second, X, scale="mse", time=False)
    exact = model()(X)
    for made in (first, second, copy.deepcopy(second)):
        assert isinstance(made[1], TableAct)
        assert float((made(X) - exact).detach().norm() / exact.detach().norm()) < 0.05


@pytest.mark.parametrize(
    "change",
    [equalise, bias_correction, teal, cett, transform("merge"), transform("channel_idle"),
     lambda m, x: accelerate(m, x, minimum=0.0), lambda m, x: transform("safs")(m, x, torch.zeros(64).long()),
     lambda m, x: flip_bits(m, 1e-3), lambda m, x: ogive.swap(m, "golu", x, fold=True, fit="refit")],
)  # fmt: skip
def test_what_needs_the_weights_says_so(pack, change):
    packed = pack(model())
    before = packed(X)
    with pytest.raises(OgiveError, match="packed as torchao's Int8Tensor"):
        change(packed, X)
    assert torch.equal(packed(X), before)
