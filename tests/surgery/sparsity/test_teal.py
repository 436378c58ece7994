"""Thresholds on the inputs of linears: shares, the greedy allocation against all of them, R-Sparse's two paths."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.sparsity import RankAwareLinear, ThresholdedLinear, perplexity, rank_aware, rsparse, sparsity, teal
from ogive.surgery.sparsity.linear import exchange
from ogive.surgery.sparsity.rsparse import best_split, directions
from ogive.surgery.sparsity.teal import STEP, greedy, relative_error
from tests.surgery.sparsity.decoders import Decoder, text, trained


@pytest.fixture(scope="module")
def ready():
    return trained()


@pytest.fixture
def decoder(ready):
    return copy.deepcopy(ready)


def test_a_thresholded_layer_is_the_layer_of_the_large_inputs():
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 3), torch.randn(10, 6)
    per_input = torch.tensor([0.0, 0.5, 1.0, 2.0, 9.0, 0.1])
    for t in (0.5, per_input):
        layer = ThresholdedLinear.of(linear, t)
        want = torch.where(x.abs() > t, x, 0.0) @ linear.weight.T + linear.bias
        torch.testing.assert_close(layer(x), want)
        assert layer.weight is linear.weight
        assert list(layer.state_dict()) == ["weight", "bias"]
    assert torch.equal(ThresholdedLinear.of(linear, -1.0)(x), linear(x))
    assert ThresholdedLinear.of(linear.bfloat16(), 0.5)(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("target", [0.3, 0.6])
def test_uniform_shares_hold_on_other_data(decoder, target):
    ids, other = text(32, 1), text(32, 2)
    before = decoder(ids)
    report = teal(decoder, ids, target=target, time=False)
    found = sparsity(decoder, other)
    assert found["mixes.0"].zeros == pytest.approx(target, abs=0.02)  # the first layer is given what it was given
    assert {c.site for c in report.changes} == {"mixes.0", "mixes.1"} | {
        f"mlps.{i}.{a}" for i in range(2) for a in ("gate", "up", "down")
    }
    assert ("head", "nothing linear follows: it is the read-out") in report.left
    report.undo()
    assert torch.equal(decoder(ids), before)


def test_greedy_spends_where_it_costs_least():
    rng = torch.Generator().manual_seed(0)
    peaked = torch.randn(200, 12, generator=rng) ** 5  # few inputs carry all
    level = torch.randn(200, 12, generator=rng).sign() * (1 + 0.1 * torch.rand(200, 12, generator=rng))
    weights = {name: torch.randn(8, 12, generator=rng) for name in ("peaked", "level")}
    inputs = {"peaked": peaked, "level": level}
    shares = greedy(inputs, weights, 0.4)
    assert sum(shares.values()) / 2 == pytest.approx(0.4)
    assert shares["peaked"] > shares["level"]

    def cost(p, q):
        return sum(
            relative_error(inputs[n], inputs[n].abs() <= inputs[n].abs().quantile(s), weights[n])
            for n, s in (("peaked", p), ("level", q))
        )

    grid = [round(STEP * i, 2) for i in range(1, 19)]
    best = min((cost(p, q), p) for p, q in itertools.product(grid, grid) if abs(p + q - 0.8) < 1e-9)
    assert abs(shares["peaked"] - best[1]) <= 2 * STEP


def test_greedy_saves_what_was_asked(decoder):
    ids = text(32, 1)
    report = teal(decoder, ids, target=0.5, allocation="greedy", time=False)
    weights = [decoder.get_submodule(c.site).weight.numel() for c in report.changes]
    shares = [float(c.after.rsplit("(", 1)[1].rstrip("%)")) / 100 for c in report.changes]
    assert np.average(shares, weights=weights) == pytest.approx(0.5, abs=0.03)
    assert len(set(shares)) > 1
    report.undo()


def test_every_place_of_a_shared_layer_is_exchanged_and_restored():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    undo = exchange(model, {"0": ThresholdedLinear.of(shared, 0.1)})
    assert model[0] is model[2] is not shared
    undo()
    assert model[0] is model[2] is shared
    with pytest.raises(OgiveError, match="wrap it"):
        exchange(nn.Linear(2, 2), {"": shared})


def test_directions_are_those_of_the_singular_values():
    for shape in ((5, 9), (9, 5)):
        w = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        left, right = directions(w)
        torch.testing.assert_close(left @ right, w.double())
        u, s, v = np.linalg.svd(w.double().numpy())
        for r in (1, 3):
            best = u[:, :r] * s[:r] @ v[:r]
            np.testing.assert_allclose((left[:, :r] @ right[:r]).numpy(), best, atol=1e-6)


def test_rank_aware_is_the_sum_of_two_paths():
    torch.manual_seed(0)
    linear, x = nn.Linear(8, 6), torch.randn(50, 8)
    layer = rank_aware(linear, 0.5, 2, x)
    w = linear.weight.detach().double().numpy()
    u, s, v = np.linalg.svd(w)
    t = np.sort(np.abs(x.numpy()).ravel())[199]
    small = np.where(np.abs(x.numpy()) <= t, x.numpy(), 0.0)
    want = (x.numpy() - small) @ w.T + small @ (u[:, :2] * s[:2] @ v[:2]).T + linear.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), want, atol=1e-5)
    assert torch.allclose(rank_aware(linear, 0.0, 0, x)(x), linear(x))
    for bad in (-1, 7, 1.5):
        with pytest.raises(InputError, match="whole number from 0 to 6"):
            rank_aware(linear, 0.5, bad, x)


def test_low_rank_weights_take_the_low_rank_path():
    rng = torch.Generator().manual_seed(0)
    linear, x = nn.Linear(64, 64, bias=False), torch.randn(300, 64, generator=rng)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(64, 4, generator=rng) @ torch.randn(4, 64, generator=rng))
        linear.weight += 0.05 * torch.randn(64, 64, generator=rng)
    best, error = best_split(linear, x, 0.5)
    plain = relative_error(x, x.abs() <= float(x.abs().median()), linear.weight)
    assert best.right.shape[0] >= 3
    assert error < 0.3 * plain
    read = best.extra + float((x.abs() > best.threshold).double().mean()) * 64 * 64
    assert read <= 0.51 * 64 * 64
    random, found = nn.Linear(64, 64), []
    for rank in (0, 8):
        found.append(rank_aware(random, 0.5 + rank * 128 / 4096, rank, x))
    assert isinstance(found[1], RankAwareLinear)


def test_rsparse_of_a_model_reads_half_of_the_weights(decoder):
    ids = text(32, 1)
    before = perplexity(decoder, ids).nats
    plain = teal(decoder, ids, target=0.5, time=False)
    lost = perplexity(decoder, ids).nats - before
    errors = {c.site: c.error for c in plain.changes}
    plain.undo()
    report = rsparse(decoder, ids, target=0.5, time=False)
    assert report["weights that need no reading"].after == pytest.approx(0.5, abs=0.06)
    assert perplexity(decoder, ids).nats - before < 1.3 * lost + 0.01
    assert all(c.error <= errors[c.site] * 1.05 for c in report.changes)
    report.undo()
    assert perplexity(decoder, ids).nats == before


def test_refused():
    with pytest.raises(ParameterError, match="did you mean 'greedy'"):
        teal(Decoder(), text(2, 0), allocation="greed")
    with pytest.raises(OgiveError, match="read-out"):
        teal(nn.Sequential(nn.Linear(4, 2)), torch.randn(3, 4))
