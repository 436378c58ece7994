"""Signal propagation: measured against runs by hand and against wide networks, breaks, remedies, text and picture."""

from __future__ import annotations

import copy
import json
import math
import warnings
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import InputError
from ogive.probe.signal import signal
from tests.surgery.models import Double


def plain(width: int, depth: int, act: type[nn.Module], std: float | None = None) -> nn.Sequential:
    torch.manual_seed(3)
    model = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width), act())], nn.Linear(width, 10))
    if std is not None:
        for m in model:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0.0, std / math.sqrt(width))
                nn.init.zeros_(m.bias)
    return model


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_statistics_are_those_of_the_plain_run():
    model, x = plain(40, 3, nn.Tanh).double(), inputs(6, 40).double()
    found = signal(model, x, mend=False, seed=4)
    maps, values = [m for m in model if isinstance(m, nn.Linear)], []
    for m in maps:
        m.register_forward_hook(lambda _m, _i, y: values.append(y))
    out = model(x)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradients = torch.autograd.grad((out * direction).sum(), values)
    assert [r.name for r in found.layers] == ["0", "2", "4", "6"]
    for row, y, g, m in zip(found.layers, values, gradients, maps):
        y = y.detach()
        cosines = functional.cosine_similarity(y[:, None], y[None], dim=2)
        assert row.mean == pytest.approx(float(y.mean()), rel=1e-12)
        assert row.variance == pytest.approx(float(y.var(correction=0)), rel=1e-12)
        assert row.square == pytest.approx(float(y.square().mean()), rel=1e-12)
        assert row.channels == pytest.approx(float(y.mean(0).square().mean()), rel=1e-12)
        assert row.correlation == pytest.approx(float((cosines.sum() - 6) / 30), rel=1e-10)
        assert row.gradient == pytest.approx(float(g.square().sum(1).mean().sqrt()), rel=1e-12)
        assert row.weight_std == pytest.approx(float(m.weight.detach().square().mean().sqrt()), rel=1e-12)


def test_channels_of_images_are_along_dimension_one():
    model, x = nn.Sequential(nn.Conv2d(3, 5, 3)).double(), inputs(4, 3, 8, 8).double()
    row = signal(model, x, mend=False).layers[0]
    assert row.channels == pytest.approx(float(model(x).detach().mean((0, 2, 3)).square().mean()), rel=1e-12)


def test_relu_is_predicted_by_its_closed_forms():
    """With weights of variance 2/n: q stays, the gradient stays, c goes along the arc-cosine map."""
    model, x = plain(64, 4, nn.ReLU, 2**0.5), inputs(8, 64)
    found = signal(model, x, mend=False)
    maps = [m for m in model if isinstance(m, nn.Linear)]
    shares = [float(m.weight.detach().double().square().mean()) * 64 for m in maps]
    rows = functional.normalize(x.double())
    c = float((rows.sum(0).square().sum() - 8) / 56)
    q = shares[0] * float(x.double().square().mean())
    for k, row in enumerate(found.layers):
        if k:
            q *= shares[k] / 2.0
            c = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        assert row.predicted_square == pytest.approx(q, rel=1e-8)  # std to ten digits
        assert row.predicted_correlation == pytest.approx(c, rel=1e-8)
    square = 10.0  # ten outputs, a gradient of mean square 1 at each
    for row, share in zip(found.layers[::-1], shares[::-1]):
        assert row.predicted_gradient == pytest.approx(math.sqrt(square), rel=1e-9)
        square *= share / 2.0


@pytest.mark.parametrize("act", [nn.Tanh, nn.GELU, nn.Softplus, nn.ELU])
def test_wide_networks_do_as_predicted(act):
    found = signal(plain(768, 6, act), inputs(16, 768), mend=False)
    for row in found.layers:
        assert row.restarted == ("input" if row is found.layers[0] else "")
        if row is not found.layers[-1]:  # ten outputs say little of a mean
            assert row.square == pytest.approx(row.predicted_square, rel=0.1)
            assert row.correlation == pytest.approx(row.predicted_correlation, abs=0.05)
        assert row.gradient == pytest.approx(row.predicted_gradient, rel=0.25)


class Residual(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.a = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.b = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x):
        x = self.first(x)
        for a, b in zip(self.a, self.b):
            x = x + b(functional.silu(a(functional.layer_norm(x, x.shape[-1:]))))
        return x


def test_residual_branches_are_predicted_and_their_sums_listed():
    torch.manual_seed(0)
    found = signal(Residual(400, 4), inputs(8, 400), mend=False)
    assert len(found.streams) == 4
    assert [r.branch for r in found.layers[1:]] == ["", "end"] * 4
    for row in found.layers:
        assert row.square == pytest.approx(row.predicted_square, rel=0.2)
        assert row.gradient == pytest.approx(row.predicted_gradient, rel=0.25)
    assert found.streams[-1].square > found.streams[0].square
    assert all(0.0 < s.branch < s.square for s in found.streams)


def test_strides_flattening_and_average_pooling_carry_the_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, padding_mode="circular"), nn.Tanh(),
        nn.Conv2d(64, 64, 2, stride=2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64 * 16, 10),
    )  # fmt: skip
    found = signal(model, inputs(16, 3, 16, 16), mend=False)
    assert all(not r.restarted.endswith("gradient") for r in found.layers)
    for row in found.layers:
        assert row.gradient == pytest.approx(row.predicted_gradient, rel=0.2)


def test_batch_normalisation_makes_gradients_explode_as_predicted():
    """Yang et al. 2019: each layer of relu behind batch normalisation multiplies the squared gradient by pi/(pi - 1)."""
    torch.manual_seed(0)
    layers = [m for _ in range(20) for m in (nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU())]
    found = signal(nn.Sequential(*layers, nn.Linear(256, 10)), inputs(256, 256), mend=False)
    growth = (found.layers[2].gradient / found.layers[18].gradient) ** (2 / 16)
    assert growth == pytest.approx(math.pi / (math.pi - 1), rel=0.05)
    predicted = (found.layers[2].predicted_gradient / found.layers[18].predicted_gradient) ** (2 / 16)
    assert predicted == pytest.approx(growth, rel=0.05)


def test_the_model_is_left_as_it_was():
    model = plain(32, 3, nn.ReLU).train()
    model[1] = nn.ReLU(inplace=True)
    before = copy.deepcopy(model.state_dict())
    found = signal(model, inputs(4, 32), seed=1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and all(m.training for m in model.modules())
    assert not any(m._forward_hooks for m in model.modules())
    model[1] = nn.ReLU()
    again = signal(model, inputs(4, 32), seed=1)
    assert [r.square for r in again.layers] == [r.square for r in found.layers], "in place or not"
    assert [r.gradient for r in again.layers] == [r.gradient for r in found.layers]


@pytest.mark.parametrize(("std", "what"), [
    (0.5, {"the signal vanishes", "the gradient vanishes"}), (4.0, {"the signal explodes", "the gradient explodes"}),
])  # fmt: skip
def test_what_vanishes_and_explodes(std, what):
    found = signal(plain(64, 12, nn.ReLU, std), inputs(8, 64), mend=False)
    assert {b.what for b in found.breaks} == what
    forward = next(b for b in found.breaks if "signal" in b.what)
    squares = [r.square / found.layers[0].square for r in found.layers]
    first = next(k for k, s in enumerate(squares) if not 1e-4 <= s <= 1e4)
    assert (forward.depth, forward.layer) == (first + 1, found.layers[first].name)
    backward = next(b for b in found.breaks if "gradient" in b.what)
    ratios = [r.gradient / found.layers[-1].gradient for r in found.layers]
    assert backward.depth == 1 + max(k for k, s in enumerate(ratios) if not 1e-2 <= s <= 1e2)


def test_inputs_become_alike_and_a_fine_model_does_not_break():
    alike = signal(plain(128, 16, nn.Sigmoid), inputs(8, 128), mend=False)
    assert "inputs become alike" in {b.what for b in alike.breaks}
    assert signal(plain(128, 12, nn.Tanh, 1.0), inputs(8, 128)).breaks == ()


def test_overflow_is_named():
    found = signal(plain(16, 30, nn.ReLU, 100.0), inputs(4, 16), mend=False)
    assert found.breaks[0].what == "the signal explodes"
    model = plain(16, 3, nn.ReLU, 1.0)
    model[2].weight.data.fill_(math.inf)
    found = signal(model, inputs(4, 16), mend=False)
    assert (found.breaks[0].what, found.breaks[0].depth) == ("the signal is not finite", 2)
    assert "signal" in found.plot() and found.to_dict()["layers"][1]["square"] is None


def test_a_pooling_is_no_break():
    """An average over 1,024 positions of noise makes outputs small and alike; depth has no part in it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    found = signal(model, inputs(8, 3, 34, 34))
    assert found.layers[-1].correlation > 0.98 and found.breaks == ()


def test_remedies_are_tried_on_copies_and_the_best_one_is_named():
    model = plain(96, 20, nn.Tanh)
    found = signal(model, inputs(16, 96))
    assert found.breaks and [r.name for r in found.remedies][:1] == ["init_(model, x)"]
    assert found.best is found.remedies[0] and found.best.mends
    ogive.init_(model, inputs(16, 96), check=False, generator=torch.Generator().manual_seed(0))
    after = signal(model, inputs(16, 96))
    assert after.breaks == () and after.remedies == ()
    assert after.layers[-1].square == pytest.approx(found.best.square, rel=1e-6)
    tailored = next(r for r in found.remedies if r.name == "tailored activations")
    assert tailored.mends and "'dks'" in tailored.call


def test_a_remedy_that_cannot_be_tried_says_why():
    found = signal(nn.Sequential(*[Squeezed() for _ in range(14)]), inputs(8, 64))
    tailored = next(r for r in found.remedies if r.name == "tailored activations")
    assert "is a call" in tailored.failed and not tailored.mends
    assert "not possible" in " ".join(repr(found).split())


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(64, 64)

    def forward(self, x):
        return torch.relu(self.map(x))


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        return self.b(Double.apply(self.a(x)))


def test_what_cannot_be_followed_is_named_and_the_rest_is_measured():
    found = signal(Hidden(), inputs(4, 32), mend=False)
    assert [r.name for r in found.layers] == ["a", "b"] and len(found.stops) == 1
    assert found.layers[1].restarted == "input" and math.isfinite(found.layers[1].predicted_square)
    assert found.layers[0].restarted.endswith("gradient") and found.layers[0].gradient > 0.0
    assert "not followed: " in repr(found)


def test_shared_weights_are_named_by_their_use():
    map_ = nn.Linear(16, 16)
    found = signal(nn.Sequential(map_, nn.Tanh(), map_), inputs(4, 16), mend=False)
    assert [r.name for r in found.layers] == ["0", "0#2"]


def test_text_fits_eighty_columns_and_json_is_strict():
    found = signal(plain(48, 40, nn.Sigmoid), inputs(8, 48))
    assert max(len(line) for line in repr(found).splitlines()) <= 80
    assert "⋮" in repr(found)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(read["layers"]) == 41 and read["breaks"][0]["layer"] and read["examples"] == 8


def test_the_picture_is_well_formed_and_has_every_layer():
    found = signal(plain(48, 10, nn.ReLU, 0.5), inputs(8, 48), mend=False)
    root = ElementTree.fromstring(found.plot())
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{space}circle")) == 3 * len(found.layers)
    said = {t.text for t in root.iter(f"{space}text")}
    assert {"the signal vanishes", "the gradient vanishes", "layer"} <= said


def test_a_branch_that_starts_at_zero_is_no_break():
    torch.manual_seed(0)
    model = Residual(400, 3)
    for b in model.b:
        nn.init.zeros_(b.weight)
        nn.init.zeros_(b.bias)
    found = signal(model, inputs(8, 400))
    assert found.breaks == () and [r.restarted for r in found.layers[1:]] == [""] * 6
    assert [s.branch for s in found.streams] == [0.0] * 3
    for row in found.layers[1::2]:
        assert row.correlation == pytest.approx(row.predicted_correlation, abs=0.05)


class Sealed(nn.Linear):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def test_a_model_without_gradients_is_measured_forward():
    found = signal(nn.Sequential(Sealed(8, 8), nn.ReLU()), inputs(4, 8))
    assert math.isnan(found.layers[0].gradient) and found.layers[0].square > 0.0
    assert "no gradient comes back" in repr(found) and found.breaks == ()


def test_one_layer_and_bad_models():
    with warnings.catch_warnings(), pytest.raises(InputError, match="Linear is TorchScript"):
        warnings.simplefilter("ignore", DeprecationWarning)
        signal(torch.jit.trace(nn.Linear(4, 2), inputs(3, 4)), inputs(3, 4))
    assert "1 layer with weights, 3 examples" in repr(signal(nn.Linear(4, 2), inputs(3, 4)))
    with pytest.raises(InputError, match="no linear map or convolution was reached in ReLU"):
        signal(nn.ReLU(), inputs(3, 4))
    with pytest.raises(InputError, match="expected a model"):
        signal("tanh", inputs(3, 4))
    with pytest.raises(InputError, match="the example is what the model is called with"):
        signal(nn.Linear(4, 2), "x")
