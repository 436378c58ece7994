"""``accelerate``: what is exchanged and what is not, that nothing changes but time, and that all of it goes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import ogive
from ogive.errors import OgiveError, ParameterError
from ogive.surgery.sparsity.decode import accelerate
from ogive.surgery.sparsity.decode_modules import SparseFFN, SparseGLU, SparseLinear
from ogive.surgery.sparsity.linear import RankAwareLinear, ThresholdedLinear
from tests.surgery.models import SwiGLU

WIDTH, HIDDEN = 128, 2048


class Gated(SwiGLU):
    """relu of the gate, shifted so that some nine in ten are 0."""

    def forward(self, x):
        return self.down(functional.relu(self.gate(x) - 0.75) * self.up(x))


class Decoder(nn.Module):
    """Two gated blocks, a plain one written into the layer that adds the residual, and a read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, WIDTH)
        self.blocks = nn.ModuleList(Gated(WIDTH, HIDDEN) for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)
        self.first, self.second = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.head = nn.Linear(WIDTH, 50, bias=False)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = x + block(self.norm(x))
        x = x + self.second(functional.relu(self.first(self.norm(x)) - 0.5))
        return self.head(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Decoder().eval()


def state(model: nn.Module) -> list:
    return [(k, v.clone(), v.stride()) for k, v in model.state_dict().items()]


def same(one: list, other: list) -> bool:
    return all(a == c and torch.equal(b, d) and s == t for (a, b, s), (c, d, t) in zip(one, other, strict=True))


IDS = torch.arange(48).view(4, 12) % 50


@torch.no_grad()
def test_blocks_are_exchanged_and_everything_goes_back(model):
    before, want, token = state(model), model(IDS), model(IDS[:1, :1])
    report = accelerate(model, IDS, score=lambda m: float(m(IDS).sum()))
    assert [type(b) for b in model.blocks] == [SparseGLU, SparseGLU]
    # the plain block's module does more than the block, so its down projection alone
    assert type(model.second) is SparseLinear and type(model.first) is nn.Linear
    assert [c.site for c in report.changes] == ["blocks.0", "blocks.1", "second"]
    assert all(c.error < 1e-6 for c in report.changes)
    assert dict(report.left)["head"].startswith("0.0% of its inputs are 0")
    assert list(model.state_dict()) == [k for k, _, _ in before]
    assert all(torch.equal(model.state_dict()[k], v) for k, v, _ in before)
    got = model(IDS[:1, :1])
    assert 0 < (got - token).norm() / token.norm() < 1e-6  # other sums, the same numbers
    torch.testing.assert_close(model(IDS), want)
    assert report["relative change, one token"].after < 1e-6
    assert report["score"].after == pytest.approx(report["score"].before, rel=1e-4)
    assert report["time of one token"].after > 0
    assert len(report.to_dict()["changes"]) == 3 and "SparseGLU" in repr(report)
    report.undo()
    report.undo()
    assert same(before, state(model)) and torch.equal(model(IDS), want)
    assert [type(b) for b in model.blocks] == [Gated, Gated] and type(model.second) is nn.Linear


@torch.no_grad()
def test_shares_are_those_counted_by_hand(model):
    met = {}
    hooks = [m.register_forward_pre_hook(lambda _, a, p=p: met.setdefault(p, []).append((a[0] == 0).double().mean()))
             for p, m in model.named_modules() if isinstance(m, nn.Linear)]  # fmt: skip
    model(IDS)
    for hook in hooks:
        hook.remove()
    report = accelerate(model, [IDS[:2], IDS[2:]], time=False)
    shares = [float(met[p][0]) for p in ("blocks.0.down", "blocks.1.down", "second")]
    assert [c.after for c in report.changes] == [
        f"{kind}, {s:.1%} zeros" for kind, s in zip(("SparseGLU", "SparseGLU", "SparseLinear"), shares)
    ]
    n = WIDTH * HIDDEN
    read = (n + 2 * n * (1 - shares[0])) + (n + 2 * n * (1 - shares[1])) + n * (1 - shares[2])
    assert report["weights read in these places"].after == pytest.approx(read / (7 * n), rel=1e-9)


@torch.no_grad()
def test_a_plain_block_that_is_a_module_of_its_own():
    torch.manual_seed(1)
    block = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
    block[0].bias.sub_(0.5)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), block)
    x = torch.randn(3, WIDTH)
    want = model.double()(x.double())
    model.float()
    accelerate(model, x, time=False)
    assert type(model[1]) is SparseFFN
    assert (model(x).double() - want).norm() / want.norm() < 1e-6


@torch.no_grad()
def test_thresholds_and_low_rank_paths_of_linears_are_kept():
    torch.manual_seed(2)
    linears = [nn.Linear(512, 512) for _ in range(2)]
    left, right = torch.randn(512, 4) * 0.1, torch.randn(4, 512) * 0.1
    threshold = torch.linspace(1.0, 2.0, 512)
    model = nn.Sequential(
        ThresholdedLinear.of(linears[0], threshold), RankAwareLinear.ranked(linears[1], 0.5, left, right)
    )
    x = torch.randn(2, 512)
    kept = torch.where(x.abs() <= threshold, 0.0, x).double()
    h = kept @ linears[0].weight.double().t() + linears[0].bias.double()
    big = torch.where(h.float().abs() <= 0.5, 0.0, h)
    want = big @ linears[1].weight.double().t() + linears[1].bias.double()
    want = want + ((h - big) @ right.double().t()) @ left.double().t()
    report = accelerate(model, x, time=False)
    assert [type(m) for m in model] == [SparseLinear, SparseLinear]
    assert (model(x).double() - want).norm() / want.norm() < 1e-6
    report.undo()
    assert [type(m) for m in model] == [ThresholdedLinear, RankAwareLinear]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(model, dtype):
    model = model.to(dtype)
    if dtype is torch.float64:
        with pytest.raises(OgiveError, match="weights of float64; there are kernels for float32 and bfloat16"):
            accelerate(model, IDS, time=False)
        return
    report = accelerate(model, IDS, time=False)
    assert [type(b) for b in model.blocks] == [SparseGLU, SparseGLU]
    assert report["relative change, one token"].after < 2e-2


def test_refusals_leave_the_model_as_it_was(model):
    before = state(model)
    with pytest.raises(ParameterError, match="minimum=90"):
        accelerate(model, IDS, minimum=90)
    with pytest.raises(OgiveError, match=r"no place to change\. Zeros on this data: .*second 9\d\.\d%|second 8\d"):
        accelerate(model, IDS, minimum=1.0)
    with pytest.raises(OgiveError, match="NaN"), torch.no_grad():
        model.norm.weight[0] = float("nan")
        accelerate(model, IDS)
    with torch.no_grad():
        model.norm.weight[0] = 1.0

    calls = []

    def score(m):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        accelerate(model, IDS, score=score)
    assert same(before, state(model)) and [type(b) for b in model.blocks] == [Gated, Gated]


@torch.no_grad()
def test_a_shared_weight_stays():
    """An embedding reads rows of the matrix that the read-out would have by columns."""
    torch.manual_seed(3)
    embed, head = nn.Embedding(2100, WIDTH), nn.Linear(WIDTH, 2100, bias=False)
    head.weight = embed.weight
    model = nn.Sequential(embed, nn.Linear(WIDTH, WIDTH), nn.Threshold(0.5, 0.0), head)
    with pytest.raises(OgiveError, match="its weight is shared with 0"):
        accelerate(model, IDS, time=False)


@torch.no_grad()
def test_sites_and_a_second_transform_see_the_same_model(model):
    names = [s.name for s in ogive.sites(model, IDS)]
    report = accelerate(model, IDS, time=False)
    assert len(ogive.sites(model, IDS)) == len(names)
    report.undo()
    assert [s.name for s in ogive.sites(model, IDS)] == names
