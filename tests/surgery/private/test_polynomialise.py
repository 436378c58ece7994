"""Polynomials in the place of activations: what is outside is counted, range loss holds it in, undo gives it back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.private.polynomialise import polynomialise
from ogive.surgery.private.polynomials import Polynomial
from ogive.surgery.private.range import PolynomialAct, escapes, polynomial_sites, range_loss
from tests.surgery.models import Functional

X = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))


def mlp(depth=3, width=32, gain=1.0):
    torch.manual_seed(1)
    layers = []
    for i in range(depth):
        layers += [nn.Linear(16 if not i else width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 4))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(gain)
    return model


def test_all_ways_to_write_an_activation_become_polynomials_and_come_back():
    model = Functional()
    want = model(X)
    report = polynomialise(model, X, degree=5, score=lambda m: m(X).mean().item())
    assert len(report.changes) == 7
    assert all(c.after == "degree 5" and c.error < 0.15 for c in report.changes)
    assert report["cosine to before"].after > 0.99
    assert not torch.equal(model(X), want)
    assert max(map(len, repr(report).splitlines())) <= 80
    report.undo()
    assert torch.equal(model(X), want)


@pytest.mark.parametrize("fit", ["sample", "normal", "minimax"])
def test_a_higher_degree_is_nearer(fit):
    figures = []
    for degree in (2, 5, 12):
        model = mlp()
        report = polynomialise(model, X, degree=degree, fit=fit, time=False, margin=0.1, quantile=0.0)
        figures.append(report["relative change"].after)
    assert figures[0] > figures[1] > figures[2]


def test_outside_is_what_is_outside():
    act = PolynomialAct(Polynomial((1.0, 0.0, 1.0), 0.0, 1.0, -1.0, 1.0))
    model = nn.Sequential(act, nn.Identity())
    x = torch.tensor([[0.5, -0.5], [2.0, float("nan")]])
    model(x)
    assert act.counts == (4, 2, 1, 1)
    model(x[:1])
    assert act.counts == (6, 2, 1, 1)
    found = escapes(model)
    assert found.rows[0].outside == pytest.approx(2 / 6)
    assert found.first_broken == "0"
    assert escapes(model, x[:1]).worst == 0.0
    twin = copy.deepcopy(model)
    twin(x)
    assert act.counts[0] == 2


def test_the_first_site_that_overflows_is_named():
    model = mlp(6)
    polynomialise(model, X, degree=4, time=False)
    assert escapes(model, X).first_broken is None
    found = escapes(model, 1e3 * X)
    shares = [r.outside for r in found.rows]
    assert found.first_broken not in (None, "1")
    # brute force: the first activation whose result is not finite
    h, first = 1e3 * X, None
    for name, layer in model.named_children():
        h = layer(h)
        if first is None and isinstance(layer, PolynomialAct) and not torch.isfinite(h).all():
            first = name
    assert found.first_broken == first
    assert min(shares) > 0.5


def test_fits_in_turn_see_what_polynomials_before_them_give():
    errors = {}
    for in_turn in (False, True):
        model = mlp(6)
        errors[in_turn] = polynomialise(model, X, degree=2, in_turn=in_turn, time=False)["relative change"].after
        first = polynomial_sites(model)["1"]
    assert errors[True] < errors[False]
    lone = mlp(6)
    seen = []
    lone[1].register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    lone(X[:300])
    low, high = seen[0].min().item(), seen[0].max().item()
    assert first.low == pytest.approx(low - 0.25 * (high - low))
    assert first.high == pytest.approx(high + 0.25 * (high - low))


def test_range_loss_is_its_formula_and_cuts_escapes():
    model = mlp(4)
    polynomialise(model, X, degree=3, time=False, margin=0.0, quantile=0.05)
    start = escapes(model, X).worst
    with range_loss(model) as outside:
        model(X)
        got = outside().item()
        want, h = 0.0, X
        for layer in model:
            if isinstance(layer, PolynomialAct):
                mid, half = (layer.low + layer.high) / 2, (layer.high - layer.low) / 2
                want += ((((h - mid) / half).abs() - 1.0).clamp(min=0) ** 2).mean().item()
            h = layer(h)
        assert got == pytest.approx(want, rel=1e-5)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            model(X)
            loss = outside()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert start > 0.05
    assert escapes(model, X).worst < 0.2 * start
    with pytest.raises(OgiveError, match="inside `with`"):
        outside()


def test_coefficients_may_be_trained():
    model = mlp(1)
    polynomialise(model, X, degree=3, train=True, time=False)
    act = polynomial_sites(model)["1"]
    start = act.polynomial()
    names = [n for n, _ in model.named_parameters() if n.startswith("1.")]
    assert names == [f"1.raw_c{k}" for k in range(4)]
    model(X).square().mean().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert act.polynomial().coefficients != start.coefficients
    t = (X - start.centre) / start.half
    want = sum(c * t**k for k, c in enumerate(act.polynomial().coefficients))
    torch.testing.assert_close(act(X), want, rtol=1e-4, atol=1e-5)


class Pooled(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.conv, self.act, self.pool, self.call = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), call

    def forward(self, x):
        x = self.act(self.conv(x))
        return (torch.max_pool2d(x, 2) if self.call else self.pool(x)).flatten(1)


def test_max_pooling_is_refused_averaged_or_kept():
    x = torch.randn(20, 1, 8, 8)
    model = Pooled(False)
    want = model(x)
    with pytest.raises(OgiveError, match=r"pool is max pooling.*pool='average'"):
        polynomialise(model, x)
    assert torch.equal(model(x), want)
    report = polynomialise(model, x, pool="average", time=False)
    assert [c.site for c in report.changes] == ["pool", "act"]
    assert type(model.pool) is nn.AvgPool2d
    report.undo()
    assert torch.equal(model(x), want)
    assert type(model.pool) is nn.MaxPool2d
    polynomialise(model, x, pool="keep", time=False)
    assert type(model.pool) is nn.MaxPool2d
    called = Pooled(True)
    with pytest.raises(OgiveError, match="calls of max pooling stand in the model's code"):
        polynomialise(called, x, pool="average")
    assert type(called.pool) is nn.MaxPool2d
    with pytest.raises(ParameterError, match=r"'avrage'.*'average'"):
        polynomialise(called, x, pool="avrage")


def test_bad_input_leaves_the_model_as_it_was():
    model = mlp()
    want = model(X)
    with pytest.raises(ParameterError, match="degree=0"):
        polynomialise(model, X, degree=0)
    with pytest.raises(ParameterError, match="fit='best'"):
        polynomialise(model, X, fit="best")
    with pytest.raises(OgiveError, match="not finite"):
        polynomialise(model, X.clone().index_fill_(0, torch.tensor([3]), float("inf")))
    with pytest.raises(OgiveError, match="no activation"):
        polynomialise(nn.Linear(16, 2), X)
    with pytest.raises(ZeroDivisionError):
        polynomialise(model, X, score=lambda m: 1 / (not isinstance(m[1], PolynomialAct)))
    with pytest.raises(InputError, match="no polynomial"):
        escapes(model, X)
    assert torch.equal(model(X), want)
