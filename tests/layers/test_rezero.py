"""ReZero and its relatives: the identity at first, and deep networks that train because of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ogive
from ogive.layers.rezero import ReZero


def dense(width, act=nn.Tanh):
    return nn.Sequential(nn.Linear(width, width), act())


@pytest.mark.parametrize("act", [nn.Tanh, nn.ReLU, lambda: ogive.Act("mish")], ids=["tanh", "relu", "mish"])
def test_the_jacobian_of_a_deep_network_is_the_identity_at_first(act):
    model = nn.Sequential(*(ReZero(dense(6, act)) for _ in range(40)))
    jacobian = torch.autograd.functional.jacobian(model, torch.randn(6))
    assert torch.equal(jacobian, torch.eye(6))


def test_a_hundred_and_twenty_eight_layers_train_with_it_and_not_without():
    x = torch.randn(128, 16, generator=torch.Generator().manual_seed(2))
    y = torch.sin(2.0 * x[:, :1]) * x[:, 1:2]
    left = []
    for wrap in (ReZero, lambda block: block):
        torch.manual_seed(0)
        model = nn.Sequential(*(wrap(dense(16)) for _ in range(128)), nn.Linear(16, 1))
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(60):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimiser.step()
        left.append(float(loss.detach()) / float(y.var()))
    assert left[0] < 0.5
    assert left[1] > 0.9


def test_layer_scale_is_one_factor_per_channel():
    block = ReZero(nn.Conv2d(3, 3, 1), channels=3, init=0.1, dim=1)
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        block.alpha.copy_(torch.tensor([0.0, 1.0, -2.0]))
        want = x + torch.tensor([0.0, 1.0, -2.0])[:, None, None] * block.block(x)
    torch.testing.assert_close(block(x), want)
    block.reset_parameters()
    assert block.alpha.tolist() == pytest.approx([0.1] * 3)


def test_a_shortcut_changes_the_shape_and_extra_arguments_reach_the_block():
    class Two(nn.Module):
        def forward(self, x, scale=1.0):
            return scale * x[..., :2]

    block = ReZero(Two(), init=1.0, shortcut=nn.Linear(4, 2))
    x = torch.randn(3, 4)
    torch.testing.assert_close(block(x, scale=3.0), block.shortcut(x) + 3.0 * x[:, :2])


def test_state_dtype_and_fixed_factor():
    block = ReZero(dense(4), init=0.5, learned=False, dtype=torch.float64)
    assert "alpha" in block.state_dict()
    assert all(name != "alpha" for name, _ in block.named_parameters())
    assert block(torch.randn(2, 4)).dtype == torch.float32
    assert block.no_decay() == ()
    assert ReZero(dense(4)).no_decay() == ("alpha",)
    copy = ReZero(dense(4))
    copy.load_state_dict(ReZero(dense(4), init=2.0).state_dict())
    assert float(copy.alpha.detach()) == 2.0


def test_init_knows_that_a_learned_scale_ends_the_branch():
    from ogive.surgery import init_

    model = nn.Sequential(nn.Linear(16, 16), *(ReZero(nn.Sequential(nn.Tanh(), nn.Linear(16, 16))) for _ in range(3)))
    report = init_(model, torch.randn(64, 16))
    assert "a learned scale ends the branch" in report["1.block.1.weight"].note
    assert report["3.block.1.weight"].gain == pytest.approx(1.59253741972283, rel=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ogive.ParameterError, match="init=nan"):
        ReZero(dense(4), init=float("nan"))
    with pytest.raises(ogive.ParameterError, match="channels=0"):
        ReZero(dense(4), channels=0)
    with pytest.raises(ogive.InputError, match="a module as its branch"):
        ReZero(torch.tanh)
    with pytest.raises(ogive.InputError, match="shortcut="):
        ReZero(nn.Linear(4, 3))(torch.randn(2, 4))
    with pytest.raises(ogive.InputError, match="channels=5"):
        ReZero(dense(4), channels=5)(torch.randn(2, 4))
