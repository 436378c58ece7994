"""Verdicts are right: what is verified has no counterexample, what is falsified has a witness that stands."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import nn

from ogive.errors import InputError
from ogive.verify.attack import margins
from ogive.verify.certified_radius import radius
from ogive.verify.robustness import FALSIFIED, UNKNOWN, VERIFIED, verify
from tests.verify.models import MODELS, around, made, mlp


def lowest_of_relu(model, lo, hi, row):
    """The least of ``row`` times the output of a one-layer ReLU network in two inputs, exactly: a piecewise linear
    function is least at a vertex of its cells or at a corner of the box."""
    w, b = model[0].weight.double(), model[0].bias.double()
    lines = [(w[i], b[i]) for i in range(len(w))]
    for k in range(2):
        e = torch.eye(2, dtype=torch.float64)[k]
        lines += [(e, -lo[k]), (e, -hi[k])]
    points = []
    for (p, q), (r, s) in itertools.combinations(lines, 2):
        m = torch.stack([p, r])
        if abs(float(torch.linalg.det(m))) > 1e-12:
            z = torch.linalg.solve(m, -torch.stack([q, s]))
            if bool((z >= lo - 1e-9).all() & (z <= hi + 1e-9).all()):
                points.append(z)
    with torch.no_grad():
        return float((model.double()(torch.stack(points)) @ row).min())


def test_branch_and_bound_decides_a_relu_network_that_can_be_enumerated():
    torch.manual_seed(3)
    decided = {VERIFIED: 0, FALSIFIED: 0}
    for seed in range(12):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        x = torch.randn(1, 2)
        label = int(model(x).argmax())
        eps = 0.6
        found = verify(model, x, eps, method="branch", budget=20.0)
        row = torch.zeros(2, dtype=torch.float64)
        row[label], row[1 - label] = 1.0, -1.0
        exact = lowest_of_relu(model, x[0].double() - eps, x[0].double() + eps, row)
        model.float()
        assert found.verdicts[0] == (VERIFIED if exact > 0 else FALSIFIED), exact
        if found.verdicts[0] == VERIFIED:
            assert found.margins[0] <= exact + 1e-7  # the search box is a rounding wider
        decided[found.verdicts[0]] += 1
    assert min(decided.values()) >= 2  # both kinds were met


@pytest.mark.parametrize("name", ["relu", "smooth", "periodic", "residual", "attention", "gates"])
def test_no_sample_contradicts_a_verdict(name):
    model, x = made(name)
    for eps in (0.02, 0.2):
        found = verify(model, x, eps, method="alpha", steps=4)
        points = around(x, eps)
        with torch.no_grad():
            scores = model(points.float().flatten(0, 1)).reshape(*points.shape[:2], -1)
        right = (scores.argmax(-1) == torch.tensor(found.labels)).all(0)
        for i, verdict in enumerate(found.verdicts):
            assert right[i] or verdict != VERIFIED
            assert (verdict == VERIFIED) == (found.margins[i] > 0.0)
            if verdict == FALSIFIED:
                witness = found.witnesses[i]
                assert float((witness.double() - x[i].double()).abs().max()) <= eps
                assert float(margins(model, witness[None], torch.tensor(found.labels[i : i + 1]))) <= 0.0


def test_wrong_answers_are_their_own_witness():
    model = mlp("tanh")
    x = torch.randn(5, 6)
    wrong = (model(x).argmax(1) + 1) % 3
    found = verify(model, x, 0.0, labels=wrong)
    assert found.verdicts == (FALSIFIED,) * 5
    assert all(torch.equal(found.witnesses[i], x[i]) for i in range(5))


@pytest.mark.parametrize(("inputs", "eps"), [(3, 0.3), (12, 0.1)], ids=["cuts of inputs", "cuts of neurons"])
def test_splitting_proves_what_one_relaxation_cannot(inputs, eps):
    torch.manual_seed(0)
    model = mlp(nn.Tanh(), "x*sigmoid(2*x)", inputs=inputs, outputs=2)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(2.0)
    x = torch.randn(12, inputs)
    crown = verify(model, x, eps, method="crown")
    left = [i for i, v in enumerate(crown.verdicts) if v == UNKNOWN]
    assert left
    found = verify(model, x[left], eps, method="branch", budget=60.0)
    assert VERIFIED in found.verdicts


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_norms(norm):
    model, x = made("smooth")
    found = verify(model, x, 0.3, norm=norm, method="crown")
    for i, w in found.witnesses.items():
        assert float(torch.linalg.vector_norm((w - x[i]).double(), norm)) <= 0.3
    wider = verify(model, x, 0.3, norm=math.inf, method="crown")
    assert all(a >= b - 1e-9 for a, b in zip(found.margins, wider.margins) if a > 0 or b > 0)


def test_the_range_of_the_data_cuts_the_region():
    model, x = made("relu")
    x = x.clamp(0.0, 1.0)
    free, cut = (verify(model, x, 0.5, method="ibp", within=w, attacks=False) for w in (None, (0.0, 1.0)))
    assert all(b > a for a, b in zip(free.margins, cut.margins))
    found = verify(model, x, 0.5, within=(0.0, 1.0))
    assert all(float(w.min()) >= 0.0 and float(w.max()) <= 1.0 for w in found.witnesses.values())


def test_radii_are_proved_and_not_far_from_the_attacked_ones():
    model, x = made("smooth")
    found = radius(model, x, method="alpha", rounds=8)
    for i in range(len(x)):
        assert found.proved[i] < found.not_proved[i] and found.proved[i] < found.attacked[i]
        if found.proved[i] > 0:
            again = verify(model, x[i : i + 1], found.proved[i], labels=torch.tensor([int(model(x[i : i + 1]).argmax())]),
                           method="alpha")  # fmt: skip
            assert again.verdicts == (VERIFIED,)


def test_a_result_is_plain_data():
    model, x = made("relu")
    found = verify(model, x, 0.3, method="crown")
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["verdicts"] == list(found.verdicts) and told["norm"] == "inf"
    assert f"{found.verdicts.count(VERIFIED)} verified" in repr(found)
    with pytest.raises(AttributeError):
        found.eps = 1.0


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_left_as_it_was(name):
    model, x = made(name)
    if model(x).dim() != 2:
        return
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    verify(model, x, 0.1, method="crown")
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("change", "said"), [
    ({"eps": -0.1}, "eps=-0.1"), ({"eps": math.nan}, "eps=nan"), ({"norm": 0.5}, "norm=0.5"),
    ({"method": "crwon"}, "crwon"), ({"labels": torch.tensor([0, 1, 2, 7])}, "do not fit"),
    ({"labels": torch.tensor([0, 1])}, "do not fit"), ({"x": torch.full((4, 6), math.nan)}, "not finite"),
    ({"x": torch.zeros(4, 6, dtype=torch.long)}, "floating"), ({"dtype": torch.float16}, "float32 or float64"),
])  # fmt: skip
def test_wrong_arguments(change, said):
    model, x = made("relu")
    given = {"x": x, "eps": 0.1, **change}
    with pytest.raises(InputError, match=said):
        verify(model, **given)


def test_weights_that_are_no_numbers_are_named():
    model, x = made("relu")
    with torch.no_grad():
        model[2].weight[0, 0] = math.nan
    with pytest.raises(InputError, match=r"2\.weight holds numbers that are not finite"):
        verify(model, x, 0.1)


def test_one_score_is_not_enough():
    with pytest.raises(InputError, match="two classes"):
        verify(nn.Sequential(nn.Linear(6, 1), nn.Tanh()), torch.randn(2, 6), 0.1)
