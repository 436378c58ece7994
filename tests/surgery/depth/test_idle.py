"""Channels that bypass the activation: what the block computes, folded and not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.depth import channel_idle, fold_idle


class Net(nn.Module):
    """Two residual feed-forward blocks, one with a module and one with a function, over tokens."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.act = nn.Linear(8, 32), nn.Linear(32, 8), nn.GELU()
        self.up2, self.down2, self.norm = nn.Linear(8, 24), nn.Linear(24, 8, bias=False), nn.LayerNorm(8)

    def forward(self, x):
        x = x + self.down(self.act(self.up(x)))
        return x + self.down2(functional.relu(self.up2(self.norm(x))))


def model_and_data(seed=0):
    torch.manual_seed(seed)
    return Net().eval(), torch.randn(16, 5, 8)


@pytest.mark.parametrize("theta", [0.25, 0.75, 1.0])
@pytest.mark.parametrize("fit", ["line", "identity"])
def test_folded_is_unfolded(theta, fit):
    model, x = model_and_data()
    before = model(x)
    idle = channel_idle(model, x, theta=theta, fit=fit, time=False)
    unfolded = model(x)
    fold = fold_idle(model, x, time=False)
    torch.testing.assert_close(model(x), unfolded, atol=1e-5, rtol=1e-5)
    active = 32 - round(theta * 32)
    assert model.up.weight.shape == (active + 8, 8)
    assert model.down.weight.shape == (8, active)
    fold.undo()
    assert torch.equal(model(x), unfolded)
    idle.undo()
    assert torch.equal(model(x), before)


def test_the_block_written_out():
    model, x = model_and_data()
    report = channel_idle(model, x, theta=0.5, fit="identity", time=False)
    idle = model.act.idle
    assert int(idle.sum()) == 16
    h = model.up(x)
    h = torch.where(idle, h, functional.gelu(h))
    first = x + model.down(h)
    pre = model.up2(model.norm(first))
    bypass = next(m for n, m in model.named_modules() if n.startswith("instead_relu") and hasattr(m, "idle")).idle
    want = first + model.down2(torch.where(bypass, pre, torch.relu(pre)))
    torch.testing.assert_close(model(x), want)
    assert len(report.changes) == 2


def test_a_line_is_nearer_than_the_identity_and_the_best_channels_go():
    model, x = model_and_data()
    changes = {}
    for fit in ("line", "identity"):
        changes[fit] = channel_idle(model, x, theta=0.5, fit=fit, time=False)
        changes[fit].undo()
    assert changes["line"]["relative change"].after < 0.5 * changes["identity"]["relative change"].after
    with torch.no_grad():
        model.up.bias[:10] += 20.0  # far right of the bend: a line already
    report = channel_idle(model, x, theta=10 / 32, time=False)
    assert bool(model.act.idle[:10].all())
    assert report.changes[0].error < 1e-4


def test_a_batch_norm_in_the_block_is_folded_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 4))
    for _ in range(10):
        net(2 * torch.randn(64, 6) + 1)
    net.eval()
    x = torch.randn(9, 6)
    channel_idle(net, x, theta=0.4, time=False)
    unfolded = net(x)
    fold_idle(net, x, time=False)
    torch.testing.assert_close(net(x), unfolded, atol=1e-5, rtol=1e-5)
    assert isinstance(net[1], nn.Identity)


def test_training_moves_the_lines_and_folds_all_the_same():
    model, x = model_and_data()
    channel_idle(model, x, theta=0.75, time=False)
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(5):
        adam.zero_grad()
        model(x).square().mean().backward()
        adam.step()
    unfolded = model(x)
    assert float((model.act.slope - 0.5).abs().max().detach()) > 0.0
    fold_idle(model, x, time=False)
    torch.testing.assert_close(model(x), unfolded, atol=1e-5, rtol=1e-5)


def test_what_is_refused():
    model, x = model_and_data()
    with pytest.raises(ParameterError, match="theta=0"):
        channel_idle(model, x, theta=0.0)
    with pytest.raises(OgiveError, match="no idle channels"):
        fold_idle(model, x)
    with pytest.raises(OgiveError, match="no Linear, activation, Linear"):
        channel_idle(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), x)
    with pytest.raises(OgiveError, match="not finite"):
        channel_idle(model, torch.full((4, 5, 8), torch.nan))
    three = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    report = channel_idle(three, x, time=False)
    assert report.left == (("3", "2 is part of the block before it"),)
