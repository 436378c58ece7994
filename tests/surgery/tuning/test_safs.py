"""The search for activations of pruned networks: climbing, masks, what is put in."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from ogive import get
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.tuning import Scaled, climb, safs
from ogive.surgery.tuning.safs import CANDIDATES
from ogive.surgery.tuning.sparse_training import magnitude_masks


def net_and_data():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.randn(400, 8)
    return net, x, ((x[:, 0] * x[:, 1]) > 0).long()


QUICK = {"tries": 3, "probe": 5, "steps": 20, "time": False}


def test_climbing_gets_over_a_ledge():
    """A cost with a local best at the start: every single change is worse, two together are better."""
    cost = {("a", "a"): 1.0, ("b", "b"): 0.0}

    def of(state):
        return cost.get(state, 1.5)

    found, _ = climb(("a", "a"), ["a", "b"], of, tries=200, history=5, seed=0)
    assert found == ("a", "a")  # nothing in the history is as bad as the ledge
    of_soft = {s: of(s) for s in itertools.product("ab", repeat=2)} | {("a", "b"): 1.0}
    assert climb(("a", "a"), ["a", "b"], of_soft.__getitem__, tries=200, history=5, seed=0)[0] == ("b", "b")


@pytest.mark.parametrize("seed", range(4))
def test_climbing_finds_the_best_of_a_small_table(seed):
    rng = torch.Generator().manual_seed(seed)
    worth = {c: torch.rand(3, generator=rng).tolist() for c in "abcd"}

    def of(state):
        return sum(worth[c][i] for i, c in enumerate(state))

    found, known = climb(("a", "a", "a"), list("abcd"), of, tries=150, history=4, seed=seed)
    assert of(found) == pytest.approx(min(of(s) for s in itertools.product("abcd", repeat=3)))
    assert all(known[s] == of(s) for s in known)


def test_the_network_stays_pruned_and_comes_back():
    net, x, y = net_and_data()
    before = net(x)
    report = safs(net, x, y, sparsity=0.8, candidates="silu,tanh", **QUICK)
    masks = magnitude_masks(net_and_data()[0], 0.8)
    for path, mask in masks.items():
        weight = net.get_submodule(path).weight
        assert bool((weight[~mask] == 0).all())
        assert int(mask.sum()) == mask.numel() - round(0.8 * mask.numel())
        assert bool((weight[mask] != 0).all())
    picked = {c.after for c in report.changes}
    assert picked <= {"silu", "tanh", "relu"}
    first = next(m for m in net.modules() if isinstance(m, Scaled))
    assert float(first.alpha.detach()) != 1.0
    assert f"alpha {float(first.alpha.detach()):.3g}" in report.changes[0].note
    report.undo()
    assert torch.equal(net(x), before)
    assert isinstance(net[1], nn.ReLU)


def test_a_better_activation_is_picked():
    """Targets that are a square: between tanh, which is there, and the square the search takes the square."""
    torch.manual_seed(0)
    x = torch.rand(400, 4) * 2 - 1
    y = x[:, :2].sum(1, keepdim=True).square() - (x[:, 2:].sum(1, keepdim=True)).square()
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    report = safs(net, x, y, sparsity=0.3, candidates="x**2", tries=2, probe=60, steps=60, lr=1e-2, time=False)
    assert report.changes[0].after == "x**2"
    assert report["loss after the probe"].after < 0.5 * report["loss after the probe"].before


def test_the_scales_are_what_is_written():
    scaled = Scaled(get("gelu"))
    with torch.no_grad():
        scaled.alpha.fill_(0.5)
        scaled.beta.fill_(2.0)
    x = torch.randn(9)
    torch.testing.assert_close(scaled(x), 0.5 * nn.functional.gelu(2 * x))


def test_default_candidates_are_all_there():
    assert all(math.isfinite(float(get(n)(torch.tensor(0.5)))) for n in CANDIDATES.split(","))


def test_what_is_refused():
    net, x, y = net_and_data()
    before = net(x)
    with pytest.raises(InputError, match="needs labels"):
        safs(net, x)
    with pytest.raises(InputError, match="400 inputs and 3 labels"):
        safs(net, x, y[:3])
    with pytest.raises(ParameterError, match="sparsity=1"):
        safs(net, x, y, sparsity=1.0)
    with pytest.raises(InputError, match="gate of two inputs"):
        safs(net, x, y, candidates="swiglu")
    with pytest.raises(OgiveError, match="no activation"):
        safs(nn.Linear(8, 2), x, y)
    with pytest.raises(OgiveError, match="smaller lr"):
        safs(net, x, torch.full((400, 2), 1e30), lr=1e30, **QUICK)
    assert torch.equal(net(x), before)
