"""Every transform on a model that lies on another device, and on one that lies on two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.surgery.hardening import flip_bits, resilience
from ogive.surgery.private import polynomialise, range_loss
from ogive.surgery.sparsity import sparsity
from ogive.surgery.transforms import TRANSFORMS, transform
from ogive.surgery.tuning import dead_rate
from ogive.verify import certified_fit, verify
from tests.surgery.elsewhere import CUDA, Elsewhere

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
IDS = torch.randint(16, (4, 9), generator=torch.Generator().manual_seed(0))

OPTIONS = {
    "swap": {"fit": "refit"},
    "distil": {"steps": 3},
    "fat_relu": {"target": 0.6},
    "prosparse": {"steps": 3},
    "harden": {"method": "proact", "outputs": True, "rates": "1e-4", "repeats": 1, "steps": 2},
    "compress_depth": {"budget": 0.9, "rounds": 1},
    "nora": {"groups": 2, "rank": 1},
    "safs": {"tries": 1, "probe": 2, "steps": 3},
    "activate_while_prune": {"rounds": 1, "steps": 2},
    "autorep": {"steps": 4},
    "accelerate": {"minimum": 0.0},
}
LABELS = {"safs", "activate_while_prune", "autorep"}
RECTIFIERS = {"fat_relu", "prosparse", "equalise"}


class Split(nn.Module):
    """Two parts; the signal goes to where the second lies."""

    def __init__(self, act, wide=16):
        super().__init__()
        self.one = nn.Sequential(nn.Linear(8, wide), act())
        self.two = nn.Sequential(nn.Linear(wide, 32), nn.LayerNorm(32), act(), nn.Linear(32, wide), act(),
                                 nn.Linear(wide, 2))  # fmt: skip

    def forward(self, x):
        return self.two(self.one(x).to(next(self.two.parameters()).device))


class Words(nn.Module):
    """Logits of the next token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 8)
        self.body = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 16))

    def forward(self, ids):
        return self.body(self.embed(ids))


def test_the_device_that_is_not_there_refuses_what_cuda_refuses():
    with Elsewhere() as there:
        layer, x = there.move(nn.Linear(8, 2)), there.moved(X)
        assert layer(x).device == CUDA == torch.zeros(2, device=x.device).device
        assert layer(x).cpu().device.type == "cpu"
        with pytest.raises(RuntimeError, match="same device"):
            layer(X)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        assert (x * torch.tensor(2.0)).device == CUDA
        layer(x).sum().backward()
        assert layer.weight.grad.device == CUDA


@pytest.mark.parametrize("where", ["elsewhere", "split"])
@pytest.mark.parametrize("verb", TRANSFORMS)
def test_every_transform(verb, where):
    torch.manual_seed(0)
    act = nn.ReLU if verb in RECTIFIERS else nn.GELU
    model = Words() if verb == "ppl_sparsity" else Split(act, 1 << 13 if verb == "accelerate" else 16)
    x, y = (IDS if verb == "ppl_sparsity" else X), Y
    with Elsewhere() as there:
        if where == "elsewhere":
            there.move(model)
            x, y = there.moved(x), there.moved(y)
        else:
            there.move(model.body if verb == "ppl_sparsity" else model.two)
            if verb == "ppl_sparsity":
                model.body.register_forward_pre_hook(lambda m, args: (args[0].to(CUDA),))
            y = there.moved(y)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        changes(verb, model, x, y)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def changes(verb, model, x, y, options=None):
    first = {"merge": lambda: transform("linearise")(model, x, where="two.4", lean=1.0, time=False),
             "fold_idle": lambda: transform("channel_idle")(model, x, theta=0.5, time=False)}  # fmt: skip
    undo = first[verb]().undo if verb in first else None
    given = {"swap": ("golu", x), "distil": (x, "relu")}.get(verb, (x, y) if verb in LABELS else (x,))
    report = transform(verb)(model, *given, **(OPTIONS.get(verb, {}) if options is None else options))
    made = model(x)
    assert made.device == CUDA and bool(torch.isfinite(made).all())
    report.undo()
    if undo is not None:
        undo()


VARIANTS = [
    ("swap", {"fit": "hermite", "fold": True, "at_least": 0.1}),
    ("tabulate", {"bits": 16}),
    ("tabulate", {"scale": "mse", "symmetric": True}),
    ("integer_only", {"form": "polynomial"}),
    ("bias_correction", {"method": "empirical", "bits": 6, "per_channel": True}),
    ("teal", {"allocation": "greedy"}),
    ("top_k", {"k": 4, "statistical": True}),
    ("stochastic", {"inference": "sample", "per": "element"}),
    ("relufy", {"stage": 2, "shift": 0.5, "act": "relu2"}),
    *(("lighten", {"policy": p}) for p in ("bits=2", "nothing", "approx-bp", "x")),
    *(("harden", {"method": m, "rates": "1e-4", "repeats": 1}) for m in ("ranger", "ftclip")),
    ("harden", {"method": "fitact", "rates": "1e-4", "repeats": 1, "steps": 2, "per": "neuron"}),
    ("harden", {"what": "activations", "dtype": "int8", "rates": "1e-4", "repeats": 1}),
    ("vra", {"lo_q": 0.0, "site": "two.4", "outside": X}),
    ("compress_depth", {"budget": 0.6, "rounds": 1, "remove": True, "padding": "moved"}),
    ("channel_idle", {"theta": 0.5, "fold": True}),
    ("nora", {"tolerance": 0.0}),
    ("polynomialise", {"fit": "normal", "train": True, "in_turn": False}),
    ("polynomialise", {"fit": "minimax"}),
    ("autorep", {"steps": 4, "per": "element", "masks": "random", "groups": Y, "group_rate": 0.1}),
    ("autorep", {"steps": 4, "replace": "identity"}),
]


@pytest.mark.parametrize(("verb", "options"), VARIANTS, ids=[f"{v}-{'-'.join(map(str, o))}" for v, o in VARIANTS])
def test_options(verb, options):
    torch.manual_seed(0)
    model = Split(nn.GELU)
    with Elsewhere() as there:
        there.move(model)
        x, y = there.moved(X), there.moved(Y)
        there_too = {k: there.moved(v) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        changes(verb, model, x, y, there_too)


def test_a_learned_parameter_goes_to_where_its_site_is():
    with Elsewhere() as there:
        model = Split(nn.GELU)
        there.move(model.two)
        ogive.swap(model, lambda site: ogive.Act("swish", beta=ogive.learn("layer")), X, time=False)
        assert [p.device.type for m in model.modules() if isinstance(m, ogive.Act) for p in m.parameters()] == [
            "cpu", "cuda", "cuda"]  # fmt: skip
        model(X).sum().backward()


def ranged(model, x):
    polynomialise(model, x, time=False)
    with range_loss(model) as outside:
        (model(x).square().mean() + outside()).backward()


LOOKS = {
    "sites": ogive.sites,
    "survey": ogive.survey,
    "sparsity": sparsity,
    "dead_rate": dead_rate,
    "resilience": lambda m, x: resilience(m, x, rates="1e-4", repeats=1),
    "signal": ogive.signal,
    "init_": lambda m, x: ogive.init_(m, x),
    "init_, orthogonal": lambda m, x: ogive.init_(m, x, distribution="orthogonal"),
    "lsuv_": lambda m, x: ogive.lsuv_(m, x),
    "standardise_": lambda m, x: ogive.standardise_(m, x),
    "flip_bits": lambda m, x: flip_bits(m, 1e-3).undo(),
    "range_loss": ranged,
}


@pytest.mark.parametrize("where", ["elsewhere", "split"])
@pytest.mark.parametrize("look", LOOKS)
def test_every_look(look, where):
    torch.manual_seed(0)
    model = Split(nn.GELU)
    with Elsewhere() as there:
        there.move(model if where == "elsewhere" else model.two)
        x = there.moved(X) if where == "elsewhere" else X
        LOOKS[look](model, x)
        assert model(x).device == CUDA


def test_certificates_are_refused_elsewhere():
    with Elsewhere() as there:
        model, x = there.move(Split(nn.GELU)), there.moved(X)
        for attempt in (lambda: verify(model, x, 1e-3), lambda: certified_fit(model, x, there.moved(Y), 0.01, 1)):
            with pytest.raises(InputError, match=r"lies on cuda:0; .* model\.cpu\(\)"):
                attempt()
