"""Masks under a budget: the budget is met, masks learn what matters, polynomials fit what channels are given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.private.autorep import autorep
from ogive.surgery.private.disparity import GroupWeights, by_group
from ogive.surgery.private.mask_training import cut_to
from ogive.surgery.private.masks import Masked, hysteresis, normal_powers

G = torch.Generator().manual_seed(0)
X = torch.randn(300, 8, generator=G)
Y = (X[:, 0] * X[:, 1] > 0).long()
RELU = ogive.get("relu")


def net(width=24):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


@pytest.mark.parametrize("options", [{}, {"per": "element"}, {"replace": "identity"}, {"masks": "random"}])
def test_the_budget_is_met_and_undo_gives_every_bit_back(options):
    model = net()
    want, state = model(X), {k: v.clone() for k, v in model.state_dict().items()}
    report = autorep(model, X, Y, budget=0.25, steps=20, **options)
    assert report["activations kept"].after == 0.25
    masked = [m for m in model.modules() if isinstance(m, Masked)]
    assert sum(int(m.mask.sum()) for m in masked) == 12
    assert max(map(len, repr(report).splitlines())) <= 80
    assert not [name for name, _ in model.named_parameters() if "score" in name]
    report.undo()
    assert torch.equal(model(X), want)
    assert {k: v.tolist() for k, v in model.state_dict().items()} == {k: v.tolist() for k, v in state.items()}


def test_what_is_computed_is_the_mixture():
    masked = Masked(RELU, (300, 8), replace="dapa", degree=2)
    x = X * torch.linspace(0.5, 3.0, 8) + torch.linspace(-1.0, 1.0, 8)
    masked(x)
    masked.mask.copy_(torch.tensor([1.0, 0.0] * 4))
    masked.eval()
    made = masked(x)
    for c in range(8):
        if c % 2 == 0:
            assert torch.equal(made[:, c], x[:, c].relu())
            continue
        m, s = float(x[:, c].mean()), float(x[:, c].std(unbiased=False))
        z = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)  # least squares under N(m, s^2) by brute force
        weight = torch.exp(-z * z / 4.0)[:, None]  # the root of the density
        columns = torch.stack([z**k for k in range(3)], 1)
        best = torch.linalg.lstsq(weight * columns, weight * (m + s * z).relu()[:, None]).solution[:, 0]
        at = (x[:, c].double() - m) / s
        want = best[0] + best[1] * at + best[2] * at * at
        torch.testing.assert_close(made[:, c].double(), want, rtol=1e-4, atol=1e-4)


def test_dapa_of_relu_is_known():
    found = normal_powers(RELU, 2, torch.zeros(1), torch.ones(1))[:, 0]
    one = 1.0 / (2.0 * math.sqrt(2.0 * math.pi))
    assert found.tolist() == pytest.approx([one, 0.5, one], abs=1e-12)
    assert round(one, 5) == 0.19947


def test_hysteresis_holds_inside_the_band_and_passes_softplus():
    score = torch.tensor([0.2, 0.04, -0.04, 0.04, -0.04, -0.2], requires_grad=True)
    before = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    made = hysteresis(score, before, 0.05)
    assert made.tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    grad = torch.randn(6, generator=G)
    (made * grad).sum().backward()
    torch.testing.assert_close(score.grad, functional.softplus(score.detach()) * grad)


def test_learned_masks_keep_the_channels_that_matter():
    # of 16 channels two carry the output; a line in their place costs |x|, in the place of the others nothing
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        model[2].weight.mul_(0.01)
        model[2].weight[0, [3, 11]] = 2.0
    report = autorep(model, X, budget=0.125, replace="linear", steps=120, lr=0.0, time=False)
    assert model[1].mask.nonzero().flatten().tolist() == [3, 11]
    assert report["relative change"].after < 0.2
    report.undo()
    autorep(model, X, budget=0.125, replace="linear", steps=120, lr=0.0, masks="random", time=False, seed=1)
    assert model[1].mask.nonzero().flatten().tolist() != [3, 11]


def test_channels_of_images_decide_for_all_their_places():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3), nn.ReLU())
    x = torch.randn(40, 1, 6, 6, generator=G)
    report = autorep(model, x, budget=0.5, steps=10, time=False)
    assert model[1].mask.shape == (4, 1, 1)
    kept = 16 * float(model[1].mask.sum()) + float(model[4].mask.sum())
    assert report["activations kept"].after == kept / 67
    assert kept <= 33.5
    assert any("the most below" in note for note in report.notes)


def test_the_highest_ranks_are_kept():
    masks = [Masked(RELU, (5, 4)), Masked(RELU, (5, 3))]
    cut_to(masks, [torch.tensor([4.0, 1.0, 7.0, 0.0]), torch.tensor([6.0, 2.0, 5.0])], 4 / 7)
    assert [m.mask.tolist() for m in masks] == [[1, 0, 1, 0], [1, 0, 1]]


def test_groups_are_counted_and_weighed():
    groups = torch.tensor([0, 1, 1] * 100)
    model = net()
    before = {g: float((model(X).argmax(1) == Y)[groups == g].double().mean()) for g in (0, 1)}
    report = autorep(model, X, Y, budget=0.2, steps=10, groups=groups, group_rate=0.1, time=False)
    after = {g: float((model(X).argmax(1) == Y)[groups == g].double().mean()) for g in (0, 1)}
    for g in (0, 1):
        figure = report[f"accuracy of group {g}"]
        assert (figure.before, figure.after) == (before[g], after[g])
    assert report["gap between groups"].after == pytest.approx(abs(after[0] - after[1]))


def test_the_distance_to_the_boundary_of_a_line_is_exact():
    line = nn.Linear(2, 2)
    with torch.no_grad():
        line.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        line.bias.zero_()
    x = torch.tensor([[1.0, 0.0], [0.0, -1.0], [3.0, 4.0]])
    found = by_group(line, x, torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]))
    assert found.rows[0].distance == pytest.approx((0.6 + 0.8) / 2)
    assert found.rows[1].distance == pytest.approx(5.0)
    assert [r.accuracy for r in found.rows] == [0.5, 1.0]
    assert found.gap == 0.5


def test_weights_pull_up_the_group_that_is_behind():
    x = torch.linspace(-1, 1, 200)[:, None]
    groups = (torch.arange(200) % 10 == 0).long()  # one in ten wants the opposite line
    y = torch.where(groups == 1, -x[:, 0], x[:, 0])

    def losses(rate):
        slope = torch.zeros(1, requires_grad=True)
        weights = GroupWeights(2, rate) if rate else None
        optimiser = torch.optim.SGD([slope], 0.1)
        for _ in range(300):
            each = (slope * x[:, 0] - y) ** 2
            loss = each.mean() if weights is None else weights(each, groups)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        each = ((slope * x[:, 0] - y) ** 2).detach()
        return [float(each[groups == g].mean()) for g in (0, 1)]

    plain, weighed = losses(0.0), losses(0.05)
    assert weighed[1] - weighed[0] < 0.3 * (plain[1] - plain[0])


def test_bad_input_leaves_the_model_as_it_was():
    model = net()
    want = model(X)
    with pytest.raises(ParameterError, match="budget=2"):
        autorep(model, X, Y, budget=2)
    with pytest.raises(ParameterError, match=r"'dappa'.*'dapa'"):
        autorep(model, X, Y, replace="dappa")
    with pytest.raises(ParameterError, match="per='pixel'"):
        autorep(model, X, Y, per="pixel")
    with pytest.raises(InputError, match="300 inputs and 10 labels"):
        autorep(model, X, Y[:10])
    with pytest.raises(ParameterError, match="no groups"):
        autorep(model, X, Y, group_rate=0.1)
    with pytest.raises(InputError, match="one number for each"):
        autorep(model, X, Y, loss=functional.cross_entropy, steps=3)
    with pytest.raises(OgiveError, match=r"loss is (nan|inf)"):
        autorep(model, X, Y, loss=lambda out, y: out.sum(1) * float("nan"), steps=3)
    with pytest.raises(OgiveError, match="no activation"):
        autorep(nn.Linear(8, 2), X, Y)

    def stopped(m):
        if isinstance(m[1], Masked):
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        autorep(model, X, Y, steps=4, score=stopped)
    assert torch.equal(model(X), want)
    assert type(model[1]) is nn.ReLU
