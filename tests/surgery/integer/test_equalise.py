"""Weight equalisation and bias correction: the function stays, ranges meet, refusals have their reason."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.integer.correction import bias_correction
from ogive.surgery.integer.equalise import equalise, unclipped, why_not_homogeneous
from ogive.surgery.integer.rounding import rounded, rounded_weights

HOMOGENEOUS = ["relu", "leaky_relu", "abs", "prelu", "identity"]
OTHERS = ["gelu", "silu", "elu", "tanh", "relu6", "hardswish", "softplus", "shifted_relu"]


def skewed(act=nn.ReLU, seed=0, images=False):
    """A net whose channels have ranges far apart: scaled up and down again at random."""
    torch.manual_seed(seed)
    if images:
        net = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12), act(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), act(),
            nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), act(), nn.Flatten(), nn.Linear(24 * 16, 10),
        )  # fmt: skip
    else:
        net = nn.Sequential(nn.Linear(8, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, 3))
    return net


def skew(net, spread=3.0, seed=5):
    """Multiply channels of each scaled layer by 10^u and divide in the next layer: the function of ReLU stays."""
    g = torch.Generator().manual_seed(seed)
    layers = [m for m in net if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    with torch.no_grad():
        for one, two in pairwise(layers):
            if isinstance(two, nn.BatchNorm2d):
                continue
            t = 10.0 ** (spread * (torch.rand(one.weight.shape[0], generator=g) - 0.5))
            one.weight.mul_(t.view(-1, *[1] * (one.weight.dim() - 1)))
            if one.bias is not None:
                one.bias.mul_(t)
            if isinstance(two, nn.Linear):
                two.weight.div_(t.repeat_interleave(two.in_features // len(t)))
            elif two.groups > 1:
                two.weight.div_(t.view(-1, 1, 1, 1))
            else:
                two.weight.div_(t.view(1, -1, 1, 1))
    return net


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_homogeneous_functions_are_let_through(name):
    assert why_not_homogeneous(ogive.get(name)) == ""
    act, x = ogive.get(name), torch.linspace(-3.0, 3.0, 31, dtype=torch.float64)
    for s in (0.01, 3.0, 100.0):
        torch.testing.assert_close(act(s * x), s * act(x))


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_refused_with_two_numbers_that_differ(name):
    why = why_not_homogeneous(ogive.get(name))
    assert "not positively homogeneous: f(" in why
    one, two = (float(part.split("=")[1].split(",")[0]) for part in why.split(": ")[1].split(", "))
    assert abs(one - two) > 5e-4 * max(abs(one), abs(two))


def test_gelu_between_layers_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OgiveError, match=r"gelu is not positively homogeneous: f\(2\) = 1.954, 2 f\(1\) = 1.683"):
        equalise(model, torch.randn(4, 4))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("act", [nn.ReLU, lambda: nn.LeakyReLU(0.1), nn.PReLU, nn.Identity])
@pytest.mark.parametrize("with_data", [True, False])
def test_the_function_stays_and_ranges_meet(act, with_data):
    model = skew(skewed(act))
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    before, out = copy.deepcopy(model), model(x).detach()
    report = equalise(model, x if with_data else None, time=False)
    assert float((model(x).detach() - out).norm()) < 1e-5 * float(out.norm())
    assert [c.site for c in report.changes] == ["0 to 2", "2 to 4"]
    for one, two in ((0, 2), (2, 4)):
        r1, r2 = model[one].weight.abs().amax(1), model[two].weight.abs().amax(0)
        torch.testing.assert_close(r1, r2, rtol=1e-3, atol=0.0)
    report.undo()
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in model.state_dict().items())


def test_one_pair_has_the_papers_scale():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    w1, w2 = model[0].weight.detach().clone(), model[2].weight.detach().clone()
    r1, r2 = w1.abs().amax(1), w2.abs().amax(0)
    s = (r1 * r2).sqrt() / r2
    equalise(model)
    torch.testing.assert_close(model[0].weight.detach(), w1 / s[:, None])
    torch.testing.assert_close(model[2].weight.detach(), w2 * s[None, :])


def test_convolutions_norms_and_flattening():
    model = skew(skewed(images=True)).train()
    for _ in range(5):
        model(torch.randn(64, 1, 8, 8))
    model.eval()
    x = torch.randn(32, 1, 8, 8)
    before, out, keys = copy.deepcopy(model), model(x).detach(), list(model.state_dict())
    report = equalise(model, x, time=False)
    assert float((model(x).detach() - out).norm()) < 1e-5 * float(out.norm())
    assert [c.site for c in report.changes] == ["0 to 3", "3 to 6", "6 to 10"]
    assert "3 batch normalisations folded" in report.notes[0]
    assert report["change, 8-bit weights"].after < 0.2 * report["change, 8-bit weights"].before
    assert max(map(len, repr(report).splitlines())) <= 80
    report.undo()
    assert list(model.state_dict()) == keys
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in model.state_dict().items())
    assert torch.equal(model(x), out)
    with pytest.raises(OgiveError, match="fold=True"):
        equalise(model, x, fold=False)


def test_relu6_is_relaxed_on_request():
    assert str(unclipped(ogive.get("relu6"))) == "maximum(x, 0)"
    assert unclipped(ogive.get("hardswish")) is None
    model = skewed(nn.ReLU6)
    x = torch.randn(64, 8)
    with pytest.raises(OgiveError, match="relax=True"):
        equalise(model, x)
    report = equalise(model, x, relax=True, time=False)
    assert [c.before for c in report.changes[2:]] == ["relu6", "relu6"]
    assert float(report["relative change"].after) < 1e-5  # nothing reaches 6 here
    report.undo()
    assert isinstance(model[1], nn.ReLU6)


def test_branches_and_shared_weights_are_left():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, x):
            y = self.a(x)
            y = y + self.c(self.b(y).relu())
            return self.d(self.d(y).relu())

    torch.manual_seed(0)
    model, x = Residual(), torch.randn(16, 8)
    out = model(x).detach()
    report = equalise(model, x, time=False)
    assert [c.site for c in report.changes] == ["b to c"]
    assert dict(report.left)["a"] == "its result goes to 2 places"
    assert "used 2 times" in dict(report.left)["d"]
    torch.testing.assert_close(model(x), out)


def test_channels_that_move_are_left():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1)
            self.c = nn.Linear(4 * 36, 3)

        def forward(self, x):
            y = self.b(self.a(x).relu()).relu()
            return self.c(y.permute(0, 2, 3, 1).flatten(1))

    torch.manual_seed(0)
    model, x = Turned(), torch.randn(16, 1, 8, 8)
    out = model(x).detach()
    report = equalise(model, x, time=False)
    assert [c.site for c in report.changes] == ["a to b"]
    assert dict(report.left)["b"] == "what stands between it and c does not keep its channels"
    torch.testing.assert_close(model(x).detach(), out)


def test_an_interruption_leaves_the_model_as_it_was():
    model, x, calls = skew(skewed()), torch.randn(8, 8), []
    before = copy.deepcopy(model.state_dict())

    def score(m):
        calls.append(1)
        if len(calls) >= 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        equalise(model, x, score=score)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_rounding_is_to_a_grid():
    w = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    low, high = float(w.min()), float(w.max())
    step = (high - low) / 255
    assert float((rounded(w) - w).abs().max()) <= 0.51 * step + 0.5 * step  # half a step, and the zero point's
    assert len(rounded(w, 2).unique()) <= 4
    by_row = torch.stack([rounded(r[None])[0] for r in w])
    assert torch.equal(rounded(w, 8, per_channel=True), by_row)


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.Tanh])
def test_the_analytic_mean_is_the_mean_under_normal_inputs(act):
    torch.manual_seed(0)
    first = nn.Linear(64, 48)
    model = nn.Sequential(first, act(), nn.Linear(48, 6))
    x = torch.randn(40_000, 64)  # pre-activations are normal then
    with torch.no_grad():
        first.bias.add_(0.5)
        model[2].weight.mul_(20.0)
        hidden = model[1](first(x)).mean(0).double()
        old = model[2].weight.double().clone()
        bias = model[2].bias.double().clone()
    bias_correction(model, x, bits=3, time=False)
    want = bias - (model[2].weight.detach().double() - old) @ hidden
    torch.testing.assert_close(model[2].bias.detach().double(), want, rtol=0.0, atol=2e-2)
    assert float((model[2].bias.detach() - bias).abs().max()) > 0.2  # ten times what is allowed above


def test_means_come_from_batch_normalisation_without_data():
    model = skewed(nn.GELU, images=True)
    for _ in range(5):
        model(torch.randn(64, 1, 8, 8))
    with torch.no_grad():
        model[1].bias.copy_(torch.linspace(-1.0, 2.0, 12))
        model[1].weight.copy_(torch.linspace(0.2, 1.5, 12))
    model.eval()
    old = model[3].weight.detach().double().clone()
    report = bias_correction(model, bits=4)
    mean = torch.tensor([ogive.moment("gelu", mean=m, std=s).value
                         for m, s in zip(model[1].bias.tolist(), model[1].weight.tolist())], dtype=torch.float64)  # fmt: skip
    error = (model[3].weight.detach().double() - old).sum((1, 2, 3)) * mean  # one input an output: depthwise
    torch.testing.assert_close(model[3].bias.detach().double(), -error, rtol=1e-5, atol=1e-7)
    assert dict(report.left) == {"0": "the mean of its input is not known without data"}
    report.undo()
    assert model[3].bias is None
    assert torch.equal(model[3].weight.detach().double(), old)


def test_what_a_folded_norm_told_is_scaled_with_the_channel():
    model = skew(skewed(images=True)).train()
    for _ in range(5):
        model(torch.randn(64, 1, 8, 8))
    model.eval()
    beta = model[1].bias.detach().double().clone()
    w = model[0].weight.detach().double().clone()
    fold = model[1].weight.detach().double() / (model[1].running_var.double() + model[1].eps).sqrt()
    report = equalise(model, torch.randn(8, 1, 8, 8), time=False)
    s = (w * fold.view(-1, 1, 1, 1)).flatten(1).norm(dim=1) / model[0].weight.detach().double().flatten(1).norm(dim=1)
    torch.testing.assert_close(vars(model[0])["preactivation"].mean, beta / s, rtol=1e-5, atol=1e-9)
    assert len(bias_correction(model, bits=6).left) == 1
    report.undo()


def test_empirical_correction_brings_back_the_means():
    model = skewed(nn.GELU)
    x = torch.randn(500, 8)
    with torch.no_grad():
        want = model(x).mean(0)
    report = bias_correction(model, x, method="empirical", bits=4, time=False)
    with torch.no_grad():
        torch.testing.assert_close(model(x).mean(0), want, rtol=0.0, atol=1e-5)
    assert report["mean output error"].after < 1e-5
    report.undo()
    none = bias_correction(model, x, method="none", bits=4, time=False)
    assert none["mean output error"].after > 1e-3


def test_errors_say_what_to_do():
    with pytest.raises(ParameterError, match="did you mean 'analytic'"):
        bias_correction(skewed(), method="analitic")
    with pytest.raises(InputError, match="empirical"):
        bias_correction(skewed(), method="empirical")
    with pytest.raises(OgiveError, match="no layer to correct"):
        bias_correction(skewed())
    with pytest.raises(InputError, match="no Linear"):
        equalise(nn.Sequential(nn.ReLU()))
    with pytest.raises(ParameterError, match="bits=99"):
        equalise(skewed(), bits=99)


def test_digits_in_8_bits_a_tensor():
    """A MobileNet-like net: skewed ranges ruin 8-bit weights, equalisation and bias correction repair them."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8.0 - 1.0
    y = torch.tensor(digits.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, held = order[:1297], order[1297:]
    model = skewed(images=True)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(120):
        pick = train[torch.randint(len(train), (128,), generator=torch.Generator().manual_seed(step))]
        loss = nn.functional.cross_entropy(model(x[pick]), y[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    skew(model, 4.0)

    def right(m):
        with torch.no_grad():
            return float((m(x[held]).argmax(1) == y[held]).float().mean())

    full = right(model)
    with rounded_weights(model):
        ruined = right(model)
    report = equalise(model, x[train], score=right, time=False)
    assert full > 0.9
    assert ruined < full - 0.15
    assert report["score"].after == pytest.approx(full, abs=0.005)
    assert report["score, 8-bit weights"].before == ruined
    assert report["score, 8-bit weights"].after > full - 0.02
    corrected = bias_correction(model, x[train], bits=4, score=right, time=False)["mean output error"].after
    assert corrected > 0.0
