"""Stochastic activations: means and gradients of the mix, what a draw covers, the switch at the end."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.sparsity import Stochastic, set_p, sparsity, stochastic, switch
from tests.surgery.models import SwiGLU


def test_value_and_gradient_are_the_mix_on_average():
    torch.manual_seed(0)
    act = Stochastic("relu", "silu", p=0.3, per="element").train()
    points = torch.tensor([-2.0, -0.5, 0.7, 3.0])
    x = points.repeat(20_000, 1).requires_grad_()
    y = act(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    smooth = points.clone().requires_grad_()
    (steep,) = torch.autograd.grad(functional.silu(smooth).sum(), smooth)
    torch.testing.assert_close(y.mean(0), 0.3 * torch.relu(points) + 0.7 * functional.silu(points), atol=0.01, rtol=0)
    torch.testing.assert_close(slope.mean(0), 0.3 * (points > 0).float() + 0.7 * steep.detach(), atol=0.01, rtol=0)


@pytest.mark.parametrize(("per", "draws"), [("element", None), ("token", 1), ("layer", 0)])
def test_one_draw_for_what_was_asked(per, draws):
    torch.manual_seed(1)
    act, x = Stochastic("relu", "silu", p=0.5, per=per).train(), -torch.rand(200, 30) - 0.1
    share = (act(x) == 0).double()
    if draws is None:
        assert 0.45 < float(share.mean()) < 0.55
        assert not bool(((share.mean(1) == 0) | (share.mean(1) == 1)).any())
    elif draws == 1:
        assert bool(((share.mean(1) == 0) | (share.mean(1) == 1)).all())
        assert 0.35 < float(share.mean()) < 0.65
    else:
        found = [float((act(x) == 0).double().mean()) for _ in range(40)]
        assert set(found) == {0.0, 1.0}


def test_evaluation_and_the_ends_of_p():
    x = torch.linspace(-2, 2, 9)
    f, g = torch.relu(x), functional.silu(x)
    for inference, want in (("first", f), ("second", g), ("mix", 0.25 * f + 0.75 * g)):
        torch.testing.assert_close(Stochastic("relu", "silu", p=0.25, inference=inference).eval()(x), want)
    for p, want in ((1.0, f), (0.0, g)):
        torch.testing.assert_close(Stochastic("relu", "silu", p=p).train()(x), want)
    torch.manual_seed(0)
    sampled = torch.stack([Stochastic("relu", "silu", p=0.5, inference="sample").eval()(x) for _ in range(20)])
    assert len(torch.unique(sampled, dim=0)) == 2


def test_the_switch():
    plan = [switch(step, 50, 0.2) for step in range(50)]
    assert plan == [0.0] * 40 + [1.0] * 10
    with pytest.raises(ParameterError, match="share"):
        switch(0, 10, 1.5)


def test_a_model_under_a_schedule_ends_on_the_sparse_one():
    torch.manual_seed(0)
    model, x = SwiGLU(16, 64), torch.randn(50, 16)
    before = model(x)
    report = stochastic(model, x, p=0.0, inference="first", time=False)
    assert report.changes[0].after == "relu or silu, p=0"
    torch.testing.assert_close(model.train()(x), before)  # p = 0 is the site's own function
    assert set_p(model, 1.0) == 1
    torch.testing.assert_close(model(x), model.down(torch.relu(model.gate(x)) * model.up(x)))
    assert sparsity(model, x).down > 0.3
    report.undo()
    assert torch.equal(model(x), before)
    with pytest.raises(OgiveError, match="no Stochastic"):
        set_p(model, 1.0)


def test_refused():
    with pytest.raises(ParameterError, match="did you mean 'token'"):
        Stochastic(per="tokn")
    with pytest.raises(ParameterError, match=r"p=1\.2"):
        Stochastic(p=1.2)
    with pytest.raises(OgiveError, match="nothing to change"):
        stochastic(nn.Sequential(nn.Linear(4, 2)), torch.randn(3, 4))
