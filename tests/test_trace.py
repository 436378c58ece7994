"""From torch code to a formula: every activation of torch.nn, operators and methods; what has no formula says why."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ogive.derive.trace import Untraceable, trace

X = torch.linspace(-6, 6, 121, dtype=torch.float64) + 0.013

MODULES = [
    nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(inplace=True), nn.Mish(), nn.ELU(1.3), nn.SELU(), nn.CELU(2.0),
    nn.Softplus(2.0), nn.Softsign(), nn.LogSigmoid(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardshrink(), nn.Softshrink(0.3),
    nn.Tanhshrink(), nn.Threshold(0.1, 2.0), nn.LeakyReLU(0.2), nn.PReLU(), nn.RReLU(), nn.Hardtanh(-2, 1), nn.Sigmoid(),
    nn.Tanh(), nn.Identity(), nn.Sequential(nn.Tanh(), nn.ReLU()),
]  # fmt: skip

FUNCTIONS = {
    "mask": lambda x: x * (x > 0),
    "naive softplus": lambda x: torch.log(1 + torch.exp(x)),
    "method chain": lambda x: 1 / (1 + (-x).exp()),
    "clamps": lambda x: x.clamp(min=0) + 0.1 * x.clamp(max=0) + torch.clamp(x, -1, 1),
    "two conditions": lambda x: torch.where((x > 0) & (x < 2), x, torch.zeros_like(x)),
    "either": lambda x: torch.where((x > 1) | (x <= -1), x, 0.0),
    "not": lambda x: x.masked_fill(~(x > 0), 0.3),
    "one-element tensor": lambda x: torch.max(x, torch.tensor(0.25)),
    "in place": lambda x: x.clone().pow(2).add_(1).sqrt_(),
    "special": lambda x: torch.special.ndtr(x) * torch.special.expit(x),
    "power of a number": lambda x: 2**x + 3 - x / 4,
    "logaddexp": lambda x: torch.logaddexp(x, torch.tensor(0.5)),
    "floor and ceil": lambda x: torch.ceil(x) - torch.floor(x / 2) + torch.trunc(x),
    "alpha": lambda x: torch.add(x, torch.tanh(x), alpha=2),
    "lerp": lambda x: torch.lerp(x, torch.sigmoid(x), 0.25),
    "heaviside": lambda x: torch.heaviside(x, torch.tensor(0.5, dtype=torch.float64)),
    "exp2": lambda x: torch.exp2(x) + torch.log2(1 + x * x),
    "sinc": lambda x: torch.sinc(x),
    "dtype": lambda x: torch.tanh(x.to(torch.float64)).type_as(x),
    "evaluation dropout": lambda x: F.dropout(x, 0.5, training=False) + 1,
}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules(module):
    act = trace(module)
    assert torch.allclose(act(X), module.double().eval()(X.clone()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    f = FUNCTIONS[name]
    assert torch.allclose(trace(f)(X), f(X.clone()).double(), rtol=1e-12, atol=1e-12)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.detach() * 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (nn.Softmax(-1), "softmax"),
        (lambda x: x - x.mean(), r"\.mean"),
        (lambda x: x if x > 0 else 0 * x, "torch.where says the same"),
        (lambda x: torch.cumsum(x, 0), "cumsum"),
        (lambda x: 3.0, "returns float"),
        (nn.PReLU(4), r"shape \(4,\)"),
        (nn.Linear(1, 1), "linear"),
        (lambda x: F.dropout(x, 0.5, True), "training|random"),
        (lambda x: Doubled.apply(x), "detach"),
        (lambda x: torch.zeros_like(x) + x.undefined_thing(), "undefined_thing"),
        (lambda x: x + None, "got None"),
    ],
)
def test_what_has_no_formula_says_why(code, said):
    with pytest.raises(Untraceable, match=said):
        trace(code)


def test_names_and_activations_are_what_they_are():
    import ogive

    assert trace("mish") is ogive.get("mish")
    assert trace(ogive.Act("mish")) is ogive.get("mish")
    with pytest.raises(ogive.InputError, match="takes a function or a module; got int"):
        trace(3)
