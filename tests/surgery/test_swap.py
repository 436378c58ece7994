"""Other nonlinearities by rule: the right sites change, fits are least squares, undo gives back every bit."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.refit import fitted
from ogive.surgery.swap import swap

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8), nn.GELU())


@pytest.mark.parametrize("data", [None, X], ids=["modules", "data"])
def test_the_first_rule_that_fits_decides(data):
    model = net()
    report = swap(model, {"5": None, nn.Tanh: "elu", "gelu": "golu"}, data, time=False)
    assert [(c.site, c.before, c.after) for c in report.changes] == [("1", "gelu", "golu"), ("3", "tanh", "elu")]
    assert report.left == (("5", "the rule '5' leaves it"),)
    assert isinstance(model[5], nn.GELU)
    before = net()
    want = before[4](ogive.get("elu")(before[2](ogive.get("golu")(before[0](X)))))
    torch.testing.assert_close(model[:5](X), want)
    report.undo()
    assert torch.equal(model(X), net()(X))


def test_a_rule_may_be_a_function_of_the_site_or_one_for_all():
    model = net()
    report = swap(model, lambda site: "relu" if site.label == "tanh" else None, time=False)
    assert [c.site for c in report.changes] == ["3"]
    report.undo()
    assert len(swap(model, "x*sigmoid(2*x)", X, time=False).changes) == 3


def test_figures_say_how_far_the_outputs_moved():
    model = net()
    report = swap(model, {"gelu": "relu"}, [X[:40], X[40:]], score=lambda m: m(X).mean(1))
    with torch.no_grad():
        old, new = net()(X), model(X)
    cosine = torch.nn.functional.cosine_similarity(old, new)
    assert report.examples == 64
    assert report["cosine to before"].after == pytest.approx(float(cosine.mean()), rel=1e-6)
    assert report["cosine to before"].low < float(cosine.mean()) < report["cosine to before"].high
    assert report["score"].before == pytest.approx(float(old.mean()), rel=1e-5)
    assert report["score"].after == pytest.approx(float(new.mean()), rel=1e-5)
    assert report["time of a batch"].after > 0.0
    assert torch.equal(model(X), new)  # measuring the time left the change in place


def test_a_refit_is_the_least_squares_fit():
    x = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    old, new = ogive.get("gelu"), ogive.get("hardswish")
    errors = {how: fitted(new, old, x, how).error for how in ("keep", "hermite", "refit")}
    assert errors["refit"] < errors["hermite"] < errors["keep"]
    best = fitted(new, old, x, "refit")

    def loss(alpha, beta, gamma, delta):
        return float((gamma * new(alpha * x + beta) + delta - old(x)).square().mean())

    place = (best.alpha, best.beta, best.gamma, best.delta)
    least = loss(*place)
    for i in range(4):  # nothing near it is better
        for step in (-1e-3, 1e-3):
            assert loss(*(v + step * (i == j) for j, v in enumerate(place))) > least
    scaled = fitted(ogive.get("silu"), ogive.define("2*silu(0.5*x + 0.3) - 1"), x, "refit")
    assert scaled.error < 1e-6


def test_a_hermite_fit_has_the_mean_and_the_mean_slope():
    x = 0.7 + 1.3 * torch.randn(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    old, best = ogive.get("gelu"), fitted(ogive.get("tanh"), ogive.get("gelu"), x, "hermite").activation
    mean, std = float(x.mean()), float(x.std())
    for df in (0, 1):
        want = ogive.moment(old, 1 - df, df, mean=mean, std=std).value
        assert ogive.moment(best, 1 - df, df, mean=mean, std=std).value == pytest.approx(want, rel=1e-10)


def test_a_fit_beats_keeping_on_the_model():
    kept, fit = (swap(net(), {"gelu": "hardswish"}, X, fit=how, time=False) for how in ("keep", "refit"))
    assert fit["relative change"].after < 0.5 * kept["relative change"].after
    assert all(f.error < k.error for f, k in zip(fit.changes, kept.changes))


def test_a_module_may_be_put_in():
    class Clipped(nn.Module):
        def forward(self, x):
            return x.clamp(0.0, 1.0)

    model = net()
    report = swap(model, {"tanh": Clipped()}, X, time=False)
    assert report.changes[0].after == "Clipped"
    assert report.changes[0].error > 0.0
    want = copy.deepcopy(model)
    want[3] = Clipped()
    assert torch.equal(model(X), want(X))


def test_reports_are_written(tmp_path):
    report = swap(net(), {"gelu": "golu", "no_such": "relu"}, X)
    assert ("no_such", "no site fits this rule, or an earlier rule took it") in report.left
    assert max(map(len, repr(report).splitlines())) <= 80
    found = json.loads(report.save(tmp_path / "r.json").read_text())
    assert [c["after"] for c in found["changes"]] == ["golu", "golu"]
    page = report.save(tmp_path / "r.html").read_text()
    assert "<td>golu</td>" in page
    with pytest.raises(InputError, match=r"r\.txt"):
        report.save(tmp_path / "r.txt")


def test_bad_input_is_quoted_and_the_model_is_left_as_it_was():
    model = net()
    want = model(X)
    with pytest.raises(OgiveError, match=r"no site fits \{'silu': 'relu'\}.*1 \(gelu\)"):
        swap(model, {"silu": "relu"})
    with pytest.raises(ParameterError, match=r"'refti'.*'refit'"):
        swap(model, {"gelu": "relu"}, X, fit="refti")
    with pytest.raises(InputError, match="needs data"):
        swap(model, {"gelu": "relu"}, fit="refit")
    with pytest.raises(InputError, match="swiglu is a gate"):
        swap(model, {"gelu": "swiglu"}, X)
    with pytest.raises(OgiveError, match="NaN"):
        swap(model, {"gelu": "log(x)"}, X)
    with pytest.raises(OgiveError, match="1 is given 32 values"):
        swap(model, {"gelu": "relu"}, X.clone().index_fill_(0, torch.tensor([3]), float("nan")))
    assert torch.equal(model(X), want)
    assert isinstance(model[1], nn.GELU)


def test_a_change_that_moves_too_much_is_taken_back():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4)), torch.randn(50, 8)
    before = model(x)
    with pytest.raises(ogive.OgiveError, match=r"at_least=0\.999.*put back; try fit='refit'"):
        ogive.swap(model, {"gelu": "sin"}, x, at_least=0.999, time=False)
    assert torch.equal(model(x), before)
    assert isinstance(model[1], nn.GELU)
    assert ogive.swap(model, {"gelu": "gelu_tanh"}, x, at_least=0.999, time=False)["cosine to before"].after > 0.999


def test_linears_quantised_dynamically_are_no_obstacle():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4))
    small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    x = torch.randn(50, 8)
    before = small(x)
    report = ogive.swap(small, {"gelu": "hardswish"}, x, fit="refit", time=False)
    assert report["cosine to before"].after > 0.99
    report.undo()
    assert torch.equal(small(x), before)


def _chain(act, norm=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), *([nn.BatchNorm1d(32)] if norm else []), act(), nn.Linear(32, 16, bias=False),
                         act(), nn.Linear(16, 4)).eval()  # fmt: skip


@pytest.mark.parametrize("fit", ["refit", "hermite"])
def test_a_folded_fit_computes_what_the_fit_computes_and_leaves_the_plain_function(fit):
    x = torch.randn(200, 8, dtype=torch.float64)
    one, two = _chain(nn.GELU).double(), _chain(nn.GELU).double()
    before, state = two(x), {k: v.clone() for k, v in two.state_dict().items()}
    ogive.swap(one, {"gelu": "hardswish"}, x, fit=fit, time=False)
    report = ogive.swap(two, {"gelu": "hardswish"}, x, fit=fit, fold=True, time=False)
    torch.testing.assert_close(two(x), one(x), rtol=1e-6, atol=1e-8)  # two fits differ in the last digits of their sums
    assert not report.notes
    assert str(two[1].activation) == str(ogive.get("hardswish"))
    assert not torch.equal(two[0].weight, one[0].weight) or fit == "hermite"
    report.undo()
    assert torch.equal(two(x), before)
    assert state.keys() == two.state_dict().keys()
    assert all(torch.equal(v, state[k]) for k, v in two.state_dict().items())


def test_what_cannot_be_folded_is_fitted_in_place_and_said():
    x = torch.randn(200, 8)
    model, same = _chain(nn.GELU, norm=True), _chain(nn.GELU, norm=True)
    report = ogive.swap(model, {"gelu": "hardswish"}, x, fit="refit", fold=True, time=False)
    ogive.swap(same, {"gelu": "hardswish"}, x, fit="refit", time=False)
    torch.testing.assert_close(model(x), same(x), rtol=1e-5, atol=1e-5)
    assert [n for n in report.notes if "1 stands between it and 0" in n]

    conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 2, 3, padding=1)).eval()
    twin = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 2, 3, padding=1)).eval()
    twin.load_state_dict(conv.state_dict())
    images = torch.randn(4, 1, 6, 6)
    report = ogive.swap(conv, {"gelu": "hardswish"}, images, fit="refit", fold=True, time=False)
    ogive.swap(twin, {"gelu": "hardswish"}, images, fit="refit", time=False)
    torch.testing.assert_close(conv(images), twin(images), rtol=1e-5, atol=1e-5)
    assert "pads with zeros" in report.notes[0]
    with pytest.raises(ogive.OgiveError, match="fold=True has nothing to fold"):
        ogive.swap(twin, "relu", images, fold=True)


def test_one_run_of_a_shared_module_is_exchanged_alone():
    torch.manual_seed(0)
    act = nn.GELU()
    model, x = nn.Sequential(nn.Linear(8, 16), act, nn.Linear(16, 8), act, nn.Linear(8, 2)), torch.randn(20, 8)
    hidden = torch.nn.functional.gelu(model[0](x))
    wanted = model[4](torch.tanh(model[2](hidden)))
    report = ogive.swap(model, {"1#2": "tanh"}, x, time=False)
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-6)
    report.undo()
    assert model[1] is act
    assert model[3] is act
