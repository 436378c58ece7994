"""Bounds on activations: the four forms against formulas, profiles by brute force, faults survived, undone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.hardening import Bounded, flip_bits, harden, resilience
from ogive.surgery.hardening.outputs import unbounded

DRAW = torch.Generator().manual_seed(0)
CENTRES = 2 * torch.randn(4, 12, generator=DRAW)


def blobs(count, seed):
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (count,), generator=draw)
    return CENTRES[y] + torch.randn(count, 12, generator=draw), y


X, Y = blobs(400, 1)
HELD = blobs(400, 2)
ACTS = {"relu": nn.ReLU, "gelu": nn.GELU, "leaky": nn.LeakyReLU}


def trained(act="relu"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 48), ACTS[act](), nn.Linear(48, 48), ACTS[act](), nn.Linear(48, 4))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        functional.cross_entropy(model(X), Y).backward()
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return model.eval()


NETS = {act: trained(act) for act in ACTS}
FAULTS = torch.tensor([-3e38, -2.0, 0.5, 1.0, 1.5, 2.0, 7.0, 3e38, torch.inf, -torch.inf, torch.nan])


def test_forms():
    one = torch.tensor(1.5)
    relu = nn.ReLU()
    assert Bounded(relu, one)(FAULTS).tolist() == [0, 0, 0.5, 1, 1.5, 1.5, 1.5, 1.5, 1.5, 0, 0]
    assert Bounded(relu, one, form="zero")(FAULTS).tolist() == [0, 0, 0.5, 1, 1.5, 0, 0, 0, 0, 0, 0]
    two = Bounded(nn.Identity(), one, -one)
    assert two(FAULTS).tolist() == [-1.5, -1.5, 0.5, 1, 1.5, 1.5, 1.5, 1.5, 1.5, -1.5, 0]
    zero = Bounded(nn.Identity(), one, -one, form="zero")
    assert zero(FAULTS).tolist() == [0, 0, 0.5, 1, 1.5, 0, 0, 0, 0, 0, 0]
    smooth = Bounded(relu, one, form="smooth", steepness=30.0)(FAULTS)
    want = [0.0, 0.0] + [x * (1 - 1 / (1 + pow(2.718281828459045, -20 * (x - 1.5)))) for x in (0.5, 1.0, 1.5, 2.0, 7.0)]
    torch.testing.assert_close(smooth[:7], torch.tensor(want), rtol=1e-3, atol=1e-7)
    assert smooth[7:].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("act", list(ACTS))
def test_ranger_has_the_largest_values_of_the_data(act):
    model = NETS[act]
    with torch.no_grad():
        first = model[1](model[0](X))
        second = model[3](model[2](first))
        clean = model(X)
    report = harden(model, [X[:150], X[150:]], Y, repeats=2, time=False)
    for at, values in ((1, first), (3, second)):
        assert float(model[at].high) == float(values.max())
        assert (model[at].low is None) == (act != "leaky")  # the formula has no least value: a lower bound too
        if act == "leaky":
            assert float(model[at].low) == float(values.min())
    assert torch.equal(model(X), clean)
    assert report["accuracy, no flips"].after == report["accuracy, no flips"].before
    assert report["cosine to before"].after == pytest.approx(1.0, abs=1e-6)
    assert report["bounds"].after == (4 if act == "leaky" else 2)
    assert max(map(len, repr(report).splitlines())) <= 80
    report.undo()
    assert type(model[1]) is ACTS[act]


@pytest.mark.parametrize("method", ["ranger", "ftclip", "fitact", "proact"])
@pytest.mark.parametrize("act", ["relu", "leaky"])
def test_every_protection_keeps_clean_accuracy_and_survives_faults(method, act):
    model = NETS[act]
    before = resilience(model, *HELD, rates=[1e-4, 1e-3], repeats=8)
    weights = [p.detach().clone() for p in model.parameters()]
    clean = model(X)
    report = harden(model, X, Y, method=method, repeats=2, rates="1e-4,1e-3", steps=20, rounds=1, time=False)
    after = resilience(model, *HELD, rates=[1e-4, 1e-3], repeats=8)
    assert after.clean > before.clean - 0.03
    assert after.mean(0) > before.mean(0) + 0.02
    assert after.auc > before.auc + 0.02
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights))
    assert not any(b.requires_grad for b in model.buffers())
    report.undo()
    assert torch.equal(model(X), clean)
    assert not list(model.buffers())


def test_against_flips_in_activations():
    model = NETS["relu"]
    report = harden(model, X, Y, what="activations", dtype="bfloat16", rates="1e-4,1e-3", repeats=4, time=False)
    assert report["accuracy, 1e-03"].after > report["accuracy, 1e-03"].before + 0.02
    report.undo()


def test_how_many_bounds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 7), nn.ReLU(), nn.Linear(7, 3))
    x = torch.randn(30, 1, 6, 6, generator=DRAW)
    want = {("ranger", "method"): 2, ("ftclip", "method"): 2, ("fitact", "method"): 5 * 16 + 7,
            ("proact", "method"): 1 + 7, ("ranger", "channel"): 5 + 7, ("fitact", "layer"): 2}  # fmt: skip
    for (method, per), count in want.items():
        report = harden(model, x, method=method, per=per, repeats=1, steps=0, rounds=0, time=False)
        assert report["bounds"].after == count
        assert report["agreement, no flips"].after >= 0.9
        if (method, per) == ("ranger", "channel"):
            assert model[1].high.shape == (5, 1, 1)
            tall = model[1].function(model[0](x)).amax((0, 2, 3))
            torch.testing.assert_close(model[1].high.flatten(), torch.maximum(tall, 0.1 * tall.max()))
        report.undo()


def test_tuned_thresholds_are_no_worse_than_the_largest_values():
    model = NETS["gelu"]
    options = {"repeats": 3, "rates": "3e-4,1e-3", "time": False, "method": "ftclip"}
    plain = harden(model, X, Y, rounds=0, **options)
    plain.undo()
    report = harden(model, X, Y, rounds=2, **options)
    assert report["area under it, log rate"].after >= plain["area under it, log rate"].after
    assert report["accuracy, no flips"].after >= report["accuracy, no flips"].before - 0.01
    report.undo()


def test_training_makes_bounds_smaller_and_stops_at_the_drop():
    model = NETS["relu"]
    start = harden(model, X, Y, method="fitact", steps=0, repeats=1, time=False)
    first = model[1].high.clone()
    start.undo()
    report = harden(model, X, Y, method="fitact", steps=40, lr=0.02, weight=1.0, repeats=1, time=False)
    assert float(model[1].high.mean()) < 0.95 * float(first.mean())
    assert report["accuracy, no flips"].after >= report["accuracy, no flips"].before - 0.011
    report.undo()
    none = harden(model, X, Y, method="fitact", steps=40, lr=2.0, weight=1e4, drop=0.0, repeats=1, time=False)
    assert any("No trained bound" in n for n in none.notes)
    torch.testing.assert_close(model[1].high, first)
    none.undo()


def test_functions_in_the_code_are_bounded_and_the_state_is_saved():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(12, 32), nn.Linear(32, 4)

        def forward(self, x):
            return self.b(functional.gelu(self.a(x)))

    torch.manual_seed(0)
    model = Functional()
    keys = list(model.state_dict())
    report = harden(model, X, repeats=1, time=False)
    assert [c.site for c in report.changes] == ["gelu"]
    assert list(model.state_dict()) == [*keys, "instead_gelu.high"]
    with torch.no_grad():
        wanted = functional.gelu(model.a(X)).max()
    assert float(model.instead_gelu.high) == pytest.approx(float(wanted), rel=1e-6)
    report.undo()
    assert list(model.state_dict()) == keys


def test_bounds_are_not_hit_and_flips_are_the_same_under_protection():
    model = NETS["relu"]
    with flip_bits(model, 1e-3, seed=3) as faults:
        unprotected = [p.detach().clone() for p in model.parameters()]
    report = harden(model, X, repeats=1, time=False)
    high = model[1].high.clone()
    with flip_bits(model, 1e-3, seed=3) as again:
        assert again.flips == faults.flips
        assert all(
            torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(model.parameters(), unprotected)
        )
        assert torch.equal(model[1].high, high)
    report.undo()


def test_an_error_on_the_way_leaves_the_model():
    model, calls = NETS["relu"], []

    def score(m):
        calls.append(m)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return 1.0

    text = repr(model)
    with pytest.raises(KeyboardInterrupt):
        harden(model, X, method="proact", steps=2, repeats=1, score=score, time=False)
    assert repr(model) == text


def test_bad_input():
    model = NETS["relu"]
    with pytest.raises(ParameterError, match="did you mean 'ranger'"):
        harden(model, X, method="rangers")
    with pytest.raises(ParameterError, match="per='pixel'"):
        harden(model, X, per="pixel")
    with pytest.raises(ParameterError, match="rounds=-1"):
        harden(model, X, rounds=-1)
    with pytest.raises(ParameterError, match=r"drop=2"):
        harden(model, X, drop=2.0)
    with pytest.raises(OgiveError, match="no nonlinearity"):
        harden(nn.Sequential(nn.Linear(12, 4)), X)
    with pytest.raises(OgiveError, match="not finite"):
        harden(model, torch.full((3, 12), torch.inf), repeats=1)


class Bottleneck(nn.Module):
    """A residual block whose last map has no nonlinearity after it."""

    def __init__(self):
        super().__init__()
        self.up, self.norm, self.down, self.head = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x + self.down(torch.relu(self.norm(self.up(x)))))


def test_results_that_no_nonlinearity_follows_are_held_and_released():
    torch.manual_seed(0)
    model, x = Bottleneck().eval(), torch.randn(100, 8)
    keys, before = list(model.state_dict()), model(x)
    assert unbounded(model, x) == ["down", "head"]
    report = harden(model, x, outputs=True, rates="1e-6", repeats=1, time=False)
    torch.testing.assert_close(model(x), before)
    with torch.no_grad():
        model.down.weight[0, 0] = 1e30
        low, high = float(before.amin()), float(before.amax())
        hit = model(x)
        model.down.weight[0, 1] = float("nan")
    assert bool(torch.isfinite(hit).all())
    assert low <= float(hit.min()) <= float(hit.max()) <= high
    assert bool(torch.isfinite(model(x)).all())
    assert [c.site for c in report.changes][1:] == ["down", "head"]
    report.undo()
    assert list(model.state_dict()) == keys
    assert bool(torch.isnan(model(x)).any())
    assert not model.down._forward_hooks
