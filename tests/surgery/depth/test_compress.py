"""Depth compression end to end: the plan's model is what the report says, and comes back bit for bit."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.depth import compress_depth
from ogive.surgery.depth.chains import chains_of
from tests.surgery.depth.networks import Inverted, plain, used


def without(net, x, names):
    """The net with some activation modules taken out by hand."""
    kept = {n: net.get_submodule(n) for n in names}
    for n in names:
        net._modules[n] = nn.Identity()
    y = net(x)
    net._modules.update(kept)
    return y


def test_the_merged_net_is_the_net_without_those_activations():
    net, x = plain()
    before = net(x)
    report = compress_depth(net, x, budget=0.05, rounds=2, time=False)
    gone = [c.site for c in report.changes if c.after == "identity"]
    assert len(gone) == 3  # one in each chain of two
    merged = net(x)
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in net.modules()) == 3
    assert "cannot be met" in repr(report)
    report.undo()
    assert torch.equal(net(x), before)
    torch.testing.assert_close(merged, without(net, x, gone), atol=1e-5, rtol=1e-5)
    assert report["layers"].after == 3
    assert report["activations"].before == 3  # between two layers of a chain
    assert report["time by the tables"].after < report["time by the tables"].before


def test_norms_alone_are_folded_where_all_the_time_may_be_taken():
    net, x = plain()
    report = compress_depth(net, x, budget=1.0, rounds=3, time=False)
    assert report["importance"].after == 0.0, report
    assert report["activations"].after == report["activations"].before
    assert report["relative change"].after < 1e-5
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def test_the_importance_is_the_change_of_the_outputs():
    """The plan's importance is the sum over its runs, each measured alone."""
    net, x = plain()
    before = net(x).detach()
    report = compress_depth(net, x, budget=0.05, rounds=2, time=False)
    report.undo()
    gone = [c.site for c in report.changes if c.after == "identity"]
    alone = [-((without(net, x, [n]) - before).square().sum(1) / before.square().sum(1)).mean() for n in gone]
    assert report["importance"].after == pytest.approx(float(sum(alone).detach()), rel=1e-4)


def test_a_score_decides():
    net, x = plain()
    asked = []

    def score(model):
        asked.append(1)
        y = model(x)
        return -float((y - first).square().mean().detach())

    first = net(x)
    report = compress_depth(net, x, budget=0.6, rounds=2, importance="score", score=score, time=False)
    assert report["score"].before == 0.0 > report["score"].after
    assert len(asked) >= 4


def test_layers_go_where_the_identity_fits():
    net, x = plain()
    report = compress_depth(net, x, budget=0.05, rounds=2, remove=True, time=False)
    assert report["layers"].after <= 3
    report.undo()
    torch.manual_seed(0)
    square = used(nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), *[
        m for _ in range(3) for m in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]), 1)  # fmt: skip
    with torch.no_grad():
        square[4].weight.mul_(1e-4)
        square[4].weight[range(8), range(8), 1, 1] += 1.0  # nearly the identity: the one to go
        square[4].bias.zero_()
    report = compress_depth(square, x, budget=0.9, rounds=5, remove=True, time=False)
    assert any("without 4" in c.note for c in report.changes), report
    assert sum(isinstance(m, nn.Conv2d) for m in square.modules()) < 4
    assert report["relative change"].after < 0.05


def test_residual_blocks_with_a_shared_activation():
    torch.manual_seed(0)
    net = used(Inverted(), 3)
    x = torch.randn(4, 3, 8, 8)
    chains, every, _ = chains_of(net, x)
    paths = [[p.path.removeprefix("blocks.") for p in c] for c in chains]
    assert paths == [["0.expand", "0.depth", "0.project"], ["1.expand", "1.depth", "1.project"],
                     ["2.expand", "2.depth", "2.project"], ["out"]]  # fmt: skip
    assert len(every) == 6
    before = net(x)
    report = compress_depth(net, x, budget=0.3, rounds=2, padding="moved", time=False)
    assert report["layers"].after < report["layers"].before
    assert any("#2" in c.site or c.site.endswith(".act") for c in report.changes)
    report.undo()
    assert torch.equal(net(x), before)


def test_inner_cells_do_not_move():
    """With moved padding the middle of the image is exact: far from the border nothing has changed."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1))
    x = torch.randn(2, 1, 12, 12)
    before = net(x)
    compress_depth(net, x, budget=0.6, rounds=3, padding="moved", time=False)
    assert isinstance(net[1], nn.Identity)
    torch.testing.assert_close(net(x)[..., 1:-1, 1:-1], before[..., 1:-1, 1:-1], atol=1e-5, rtol=1e-5)


def test_an_interruption_leaves_the_model_as_it_was():
    net, x = plain()
    before, calls = net(x), itertools.count()

    def stop(model):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        compress_depth(net, x, rounds=1, importance="score", score=stop)
    assert torch.equal(net(x), before)


def test_what_is_refused():
    net, x = plain()
    with pytest.raises(ParameterError, match="budget=0"):
        compress_depth(net, x, budget=0.0)
    with pytest.raises(ParameterError, match="longest=1"):
        compress_depth(net, x, longest=1)
    with pytest.raises(ParameterError, match="needs score="):
        compress_depth(net, x, importance="score")
    with pytest.raises(OgiveError, match="no two layers follow"):
        compress_depth(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)), torch.randn(3, 4))
