"""Activations on their way to the identity, and the layers around them merged when they are there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.depth import Leaning, Schedule, linearise, merge
from tests.surgery.depth.networks import Inverted, plain, used


def convolutions(net):
    return sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in net.modules())


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.Tanh])
def test_train_lean_merge(act):
    """VanillaNet's way: after the schedule the merged net is the unmerged one to 1e-5."""
    net, x = plain(act)
    before = net(x)
    report = linearise(net, x, where="2,9,15", time=False)
    assert torch.equal(net(x), before)
    plan = Schedule(net, 4)
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()
    for _ in range(4):
        plan.step()
        adam.zero_grad()
        net(x).square().mean().backward()
        adam.step()
    net.eval()
    trained = net(x)
    done = merge(net, x, time=False)
    torch.testing.assert_close(net(x), trained, atol=1e-5, rtol=1e-5)
    assert convolutions(net) == 3
    assert done["layers"].before == 6
    assert done["layers"].after == 3
    assert done["multiplications, merged layers"].after < done["multiplications, merged layers"].before
    done.undo()
    assert torch.equal(net(x), trained)
    report.undo()
    assert not any(isinstance(m, Leaning) for m in net.modules())


def test_the_blend_and_its_slope():
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    lean = Leaning(nn.GELU(), 0.3)
    torch.testing.assert_close(lean(x), 0.7 * nn.functional.gelu(x) + 0.3 * x)
    assert torch.autograd.gradcheck(lean, (x,))


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_schedule(shape):
    net = nn.Sequential(Leaning(nn.ReLU(), 0.5))
    plan = Schedule(net, 10, shape)
    ways = [plan.step() for _ in range(12)]
    want = [t / 10 if shape == "linear" else (1 - math.cos(math.pi * t / 10)) / 2 for t in range(1, 11)] + [1.0, 1.0]
    assert ways == pytest.approx(want)
    assert net[0].lean == 1.0


def test_functions_in_the_code_lean_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    net, x = Net(), torch.randn(8, 4)
    linearise(net, x, lean=1.0, time=False)
    want = net.b(net.a(x))
    torch.testing.assert_close(net(x), want)


def test_one_run_of_a_shared_module_leans_alone():
    torch.manual_seed(0)
    net = used(Inverted(), 3)
    x = torch.randn(4, 3, 8, 8)
    block = net.blocks[0]
    linearise(net, x, where="blocks.0.act#2", lean=1.0, time=False)
    y = nn.functional.relu6(block.n0(block.expand(x)))
    want = block.n2(block.project(block.n1(block.depth(y))))
    torch.testing.assert_close(net.blocks[0](x), want)


def test_padding_is_exact_or_refused_with_the_reason():
    net, x = plain(inner=3)
    linearise(net, x, where="2", lean=1.0, time=False)
    with pytest.raises(OgiveError, match="pads what a wider convolution gives; padding='moved'"):
        merge(net, x, time=False)
    report = merge(net, x, padding="moved", dearer=True, time=False)
    assert net[0].kernel_size == (5, 5)
    assert 0.0 < report["relative change"].after < 0.5


def test_a_merge_that_costs_more_is_left():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(64, 2), nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 3)), torch.randn(3, 64)
    with pytest.raises(OgiveError, match=r"4.*multiplications where two layers take"):
        merge(net, x)
    before = net(x)
    assert merge(net, x, dearer=True, time=False)["layers"].after == 2
    torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-5)


def test_a_transpose_between_two_linears_ends_the_chain():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.b(self.a(x).transpose(1, 2))

    with pytest.raises(OgiveError, match="in another shape or order"):
        merge(Mixer(), torch.randn(2, 4, 4))


def test_what_is_refused():
    net, x = plain()
    with pytest.raises(OgiveError, match="relu stands between"):
        merge(net, x)
    with pytest.raises(ParameterError, match=r"padding='exat'.*did you mean 'exact'"):
        merge(net, x, padding="exat")
    with pytest.raises(ParameterError, match=r"lean=1\.5"):
        linearise(net, x, lean=1.5)
    with pytest.raises(OgiveError, match="no site fits where='gone'"):
        linearise(net, x, where="gone")
    with pytest.raises(OgiveError, match=r"call ogive\.linearise"):
        Schedule(net, 3)
    with pytest.raises(ParameterError, match="steps=0"):
        Schedule(nn.Sequential(Leaning(nn.ReLU())), 0)
