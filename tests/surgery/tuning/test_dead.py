"""Silent units counted by hand, and pruning that leaves fewer of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.tuning import activate_while_prune, dead_rate
from ogive.surgery.tuning.wake import holding


def test_rates_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 2))
    with torch.no_grad():
        net[3].bias[:3] = -100.0  # three units that never speak
    x = torch.randn(40, 1, 6, 6)
    first, second = torch.relu(net[0](x)) == 0, torch.relu(net[3](torch.relu(net[0](x)).flatten(1))) == 0
    found = dead_rate(net, [x[:25], x[25:]])
    assert found.examples == 40
    assert [r.units for r in found.rows] == [64, 10]
    assert found.rows[0].dynamic == pytest.approx(float(first.double().mean()))
    assert found.rows[1].dynamic == pytest.approx(float(second.double().mean()))
    assert found.rows[1].static == pytest.approx(float(second.all(0).double().mean()))
    assert found.rows[1].static >= 0.3
    every = torch.cat([first.flatten(1), second], 1).double()
    assert found.dynamic == pytest.approx(float(every.mean()))
    assert max(len(line) for line in repr(found).splitlines()) <= 80


def test_a_smooth_activation_is_never_silent():
    net = nn.Sequential(nn.Linear(4, 30), nn.GELU(), nn.Linear(30, 2))
    assert dead_rate(net, torch.randn(50, 4)).dynamic == 0.0


def test_what_holds_a_unit_silent():
    """d_i max(0, -w_ij m_j), one entry at a time, for a Linear and for a grouped convolution."""
    torch.manual_seed(0)
    linear, silent, mean = nn.Linear(3, 5), torch.rand(5).double(), torch.randn(3).double()
    found = holding(linear, silent, mean)
    for i in range(5):
        for j in range(3):
            assert float(found[i, j]) == pytest.approx(
                float(silent[i] * max(0.0, -float(linear.weight.detach()[i, j] * mean[j])))
            )
    conv, silent, mean = nn.Conv2d(4, 6, 3, groups=2), torch.rand(6, 2, 2).double(), torch.randn(4).double()
    found = holding(conv, silent, mean)
    for i in range(6):
        for j in range(2):
            w = conv.weight[i, j].detach().double()
            want = silent[i].mean() * (-w * mean[(i // 3) * 2 + j]).clamp_min(0)
            torch.testing.assert_close(found[i, j], want)


def net_and_data():
    torch.manual_seed(0)
    x = torch.randn(400, 10).abs()  # inputs above 0, as after a rectifier
    net = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 2))
    return net, x, (x[:, 0] > x[:, 1]).long()


def test_waking_leaves_fewer_silent_units_at_the_same_size():
    rates, weights = [], []
    for wake in (0.0, 0.3):
        net, x, y = net_and_data()
        before = net(x)
        report = activate_while_prune(net, x, y, sparsity=0.8, rounds=3, steps=10, wake=wake, time=False)
        rates.append(report["dynamic dead rate"].after)
        weights.append(sum(int((m.weight != 0).sum()) for m in net if isinstance(m, nn.Linear)))
        assert report["weights that stay"].after == weights[-1]
        report.undo()
        assert torch.equal(net(x), before)
    assert weights[0] == weights[1] == sum(n - round(0.8 * n) for n in (400, 800, 40))
    assert rates[1] < 0.8 * rates[0]


def test_what_is_refused():
    net, x, y = net_and_data()
    with pytest.raises(InputError, match="needs labels"):
        activate_while_prune(net, x)
    with pytest.raises(ParameterError, match="wake=1"):
        activate_while_prune(net, x, y, wake=1.0)
    with pytest.raises(ParameterError, match="rounds=0"):
        activate_while_prune(net, x, y, rounds=0)
    with pytest.raises(OgiveError, match="no activation"):
        dead_rate(nn.Linear(10, 2), x)
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with pytest.raises(OgiveError, match="other shapes"):
        dead_rate(conv, [torch.randn(2, 1, 6, 6), torch.randn(2, 1, 8, 8)])
