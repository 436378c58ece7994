"""Rectified features: the formula, scores against scikit-learn, strange inputs told apart better."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.hardening import auroc, energy, fpr_at_tpr, vra
from ogive.surgery.hardening.rectify import Rectified

X = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 3))


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_scikit_learn(ties):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for n, m in ((400, 300), (37, 5), (1, 9)):
        a, b = rng.normal(1, 1, n), rng.normal(0, 1, m)
        a, b = (a.round(1), b.round(1)) if ties else (a, b)
        truth, score = np.r_[np.ones(n), np.zeros(m)], np.r_[a, b]
        assert auroc(a, b) == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-12)
        fpr, tpr, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
        for wanted in (0.5, 0.8, 0.95, 1.0):
            assert fpr_at_tpr(a, b, wanted) == pytest.approx(fpr[np.argmax(tpr >= wanted - 1e-12)], abs=1e-12)


def test_energy_is_the_logarithm_of_the_sum():
    z = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(energy(z, 2.0), 2 * (z / 2).exp().sum(1).log())
    assert float(energy(torch.tensor([[1e4, 0.0]]))) == 1e4


@pytest.mark.parametrize("site", ["penultimate", "3"])
def test_the_features_are_rectified_at_their_quantiles(site):
    model = net()
    with torch.no_grad():
        z = model[:4](X)
    low, high = (float(z.double().quantile(q)) for q in (0.4, 0.9))
    report = vra(model, X, lo_q=0.4, hi_q=0.9, gamma=0.25, site=site, time=False)
    want = np.select([z.numpy() < low, z.numpy() > high], [0.0, high], z.numpy() + 0.25).astype(np.float32)
    torch.testing.assert_close(model(X), net()[4](torch.from_numpy(want)))
    assert report.changes[0].site == ("4" if site == "penultimate" else "3")
    report.undo()
    assert torch.equal(model(X), net()(X))


def test_react_is_a_clamp_from_above_and_no_threshold_changes_nothing():
    model = net()
    with torch.no_grad():
        z = model[:4](X)
    vra(model, X, lo_q=0.0, hi_q=0.8, time=False)
    torch.testing.assert_close(model(X), net()[4](z.clamp(max=float(z.double().quantile(0.8)))))
    plain = net()
    report = vra(plain, X, lo_q=0.0, hi_q=1.0, time=False)
    assert torch.equal(plain(X), net()(X))
    assert report["agreement, inside"].after == 1.0


def test_large_strange_inputs_are_told_apart_better():
    model = net()
    strange = {"wide": 4 * X, "same": X}
    report = vra(model, X, lo_q=0.0, hi_q=0.9, outside=strange, time=False)
    before, after = (energy(m(X)).detach() for m in (net(), model))
    wide = energy(net()(4 * X)).detach()
    assert report["AUROC, wide"].before == pytest.approx(auroc(before, wide))
    assert report["AUROC, wide"].after == pytest.approx(auroc(after, energy(model(4 * X)).detach()))
    assert report["AUROC, wide"].after > report["AUROC, wide"].before + 0.01
    assert report["AUROC, same"].before == report["AUROC, same"].after == 0.5
    assert report["FPR95, wide"].before == pytest.approx(fpr_at_tpr(before, wide))


def test_it_works_on_images_pooled_before_the_last_layer_and_is_saved():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    x = torch.randn(50, 1, 8, 8)
    with torch.no_grad():
        pooled = model[:4](x)
        want = model[4](pooled.clamp(max=float(pooled.double().quantile(0.7))))
    vra(model, x, lo_q=0.0, hi_q=0.7, time=False)
    torch.testing.assert_close(model(x), want)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.load(buffer, weights_only=False)(x), want)


def test_rectified_says_what_it_is():
    assert "high=2" in repr(Rectified(nn.ReLU(), 0.5, 2.0, 0.0))


def test_bad_input():
    with pytest.raises(ParameterError, match=r"hi_q=0\.2"):
        vra(net(), X, lo_q=0.5, hi_q=0.2)
    with pytest.raises(ParameterError, match="no site is called 'relu'"):
        vra(net(), X, site="relu")
    with pytest.raises(OgiveError, match="name a site"):
        vra(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), torch.randn(2, 1, 4, 4))
    with pytest.raises(InputError, match="outside"):
        auroc([1.0], [])
    with pytest.raises(InputError, match="1 of them NaN"):
        fpr_at_tpr([1.0, float("nan")], [0.0])
    with pytest.raises(ParameterError, match="tpr=0"):
        fpr_at_tpr([1.0], [0.0], tpr=0.0)
    with pytest.raises(ParameterError, match="temperature"):
        energy(torch.zeros(1, 2), 0.0)
