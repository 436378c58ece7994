"""Top-k units: counts, thresholds by the formula, what stands at a site."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.sparsity import SparkFFN, TopK, keep_topk, sparsity, statistical_topk, top_k
from tests.surgery.models import SwiGLU

scipy_stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("k", [5, 40, 250, 499])
def test_the_threshold_is_the_formula(k):
    x = torch.randn(7, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 2
    a = x.numpy()
    theta = a.mean(1, keepdims=True) + a.std(1, ddof=1, keepdims=True) * scipy_stats.norm.ppf(1 - k / 500)
    np.testing.assert_allclose(statistical_topk(x, k).numpy(), np.maximum(a - theta, 0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(statistical_topk(x.T, k, dim=0).T, statistical_topk(x, k))


def test_how_many_stay_on_normal_and_on_other_values():
    rng = torch.Generator().manual_seed(0)
    x, d, k = torch.randn(64, 8192, generator=rng), 8192, 655
    for scale, shift in ((1.0, 0.0), (0.01, 3.0)):  # float32 whatever the scale
        kept = (statistical_topk(scale * x + shift, k) > 0).sum(1).double()
        assert float((kept / k - 1).abs().mean()) < 0.03
    heavy = x * torch.rand(64, d, generator=rng) ** -0.4
    off = float(((statistical_topk(heavy, k) > 0).sum(1).double() / k - 1).abs().mean())
    assert off > 0.05  # heavy tails are not what the threshold is made for


def test_gradients_and_types():
    x = torch.randn(3, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: statistical_topk(v, 6), (x,))
    assert statistical_topk(x.detach().bfloat16(), 6).dtype == torch.bfloat16
    assert torch.equal(statistical_topk(x, 40), x)
    with pytest.raises(ParameterError, match="from 1 to 40"):
        statistical_topk(x, 41)
    with pytest.raises(InputError, match="floating"):
        statistical_topk(torch.ones(3, dtype=torch.long), 1)


def test_exactly_k_stay_also_among_equals():
    x = torch.tensor([[1.0, 1.0, 1.0, 0.0], [-3.0, -2.0, -1.0, -4.0]])
    kept = keep_topk(x, 2)
    assert float(kept[0].sum()) == float((kept[0] != 0).sum()) == 2.0
    assert torch.equal(kept[1], torch.tensor([0.0, -2.0, -1.0, 0.0]))
    module = TopK(0.25, "gelu")
    y = module(torch.randn(5, 40))
    assert bool(((y != 0).sum(1) == 10).all())
    for bad in (0, 1.5, True, -0.1):
        with pytest.raises(ParameterError, match="k="):
            TopK(bad)


@pytest.mark.parametrize("statistical", [False, True])
def test_at_the_site_of_a_gated_block(statistical):
    torch.manual_seed(0)
    model, x = SwiGLU(16, 64), torch.randn(100, 16)
    g, u = model.gate(x).detach(), model.up(x).detach()
    if statistical:
        gate = functional.silu(statistical_topk(g, 8))
    else:
        f = functional.silu(g).numpy()
        gate = torch.from_numpy(np.where(f >= np.sort(f, 1)[:, -8:-7], f, 0.0))
    before = model(x)
    report = top_k(model, x, k=8, statistical=statistical, time=False)
    torch.testing.assert_close(model(x), model.down(gate * u))
    assert report["zeros into down projections"].after == pytest.approx(1 - 8 / 64, abs=0.02 if statistical else 1e-9)
    report.undo()
    assert torch.equal(model(x), before)


def test_what_is_not_zero_at_zero_is_left():
    model, x = nn.Sequential(nn.Linear(4, 32), nn.Softplus(), nn.Linear(32, 2)), torch.randn(20, 4)
    with pytest.raises(OgiveError, match=r"softplus is 0\.693 at 0"):
        top_k(model, x, k=4, statistical=True)
    assert top_k(model, x, k=4, time=False)["zeros into down projections"].after == 1 - 4 / 32
    with pytest.raises(ParameterError, match="has 32 units"):
        top_k(nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 2)), x, k=40)


def test_a_spark_layer():
    torch.manual_seed(0)
    layer, x = SparkFFN(32, 512, k=0.08, r=12), torch.randn(200, 32)
    gate = functional.gelu(statistical_topk(x[:, :12] @ layer.gate_proj.weight.T, 41))
    want = (gate * (x[:, 12:] @ layer.up_proj.weight.T)) @ layer.down_proj.weight.T
    torch.testing.assert_close(layer(x), want)
    assert sparsity(layer, x)["down_proj"].zeros == pytest.approx(0.92, abs=0.02)
    with pytest.raises(ParameterError, match="r=32"):
        SparkFFN(32, 64, r=32)
    with pytest.raises(ParameterError, match="not 0 at 0"):
        SparkFFN(32, 64, act="sigmoid")
