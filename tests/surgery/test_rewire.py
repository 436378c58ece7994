"""What stands in the place of a site is what runs there, and what is taken away leaves no trace."""

from __future__ import annotations

import copy
import gc
import io
import itertools
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ogive
from ogive.errors import OgiveError
from ogive.surgery.rewire import rewire
from tests.surgery.models import Block, Functional, SwiGLU

X = torch.linspace(-2.0, 2.0, 8 * 16).reshape(8, 16)


class Written(nn.Module):
    """Functions, an operator formula that uses its input twice, a call in place, one module at two places."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(16, 16), nn.Linear(16, 16), nn.GELU()

    def forward(self, x):
        x = F.relu_(self.a(x))
        x = self.act(self.b(x))
        x = self.a(x)
        x = x * torch.sigmoid(1.5 * x)
        return self.act(self.b(x))


def model():
    torch.manual_seed(0)
    return nn.Sequential(Written(), nn.Linear(16, 16), nn.Tanh())


MODELS = {"written": model, "functional": Functional, "block": lambda: Block(16), "swiglu": lambda: SwiGLU(16, 32)}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_watched_model_computes_the_same_and_every_site_is_seen_in_order(make):
    net = make().eval()
    found = [s for s in ogive.sites(net, X) if s.kind != "gate"]
    before, seen = net(X), []
    with rewire(net, found, {}, lambda name, x: seen.append((name, x.detach().clone()))):
        assert torch.equal(net(X), before)
        assert torch.equal(net(X), before)  # a second run is counted from the start
    assert [name for name, _ in seen] == [s.name for s in found] * 2
    assert torch.equal(net(X), before)
    assert len(seen) == 2 * len(found)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_its_own_function_in_the_place_of_each_site_changes_nothing(make):
    net = make().eval()
    found = [s for s in ogive.sites(net, X) if s.kind != "gate"]
    before, keys = net(X), list(net.state_dict())
    done = rewire(net, found, {s.name: ogive.Act(s.activation) for s in found})
    torch.testing.assert_close(net(X), before, rtol=1e-5, atol=1e-6)
    assert list(net.state_dict()) == keys
    done.undo()
    assert torch.equal(net(X), before)
    assert "instead" not in repr(net)


def test_only_the_chosen_site_is_exchanged():
    net = model()
    found = list(ogive.sites(net, X))
    assert [s.name for s in found] == ["0:relu", "0.act", "0:mul", "0.act#2", "2"]
    block = net[0]
    with rewire(net, found, {"0:relu": ogive.Act("softplus"), "0.act#2": ogive.Act("elu")}):
        got = net(X)
        x = F.softplus(block.a(X))
        x = block.a(F.gelu(block.b(x)))
        x = block.b(x * torch.sigmoid(1.5 * x))
        torch.testing.assert_close(got, torch.tanh(net[1](F.elu(x))))


def test_gradients_reach_the_weights_and_the_new_parameters():
    net = model()
    found = list(ogive.sites(net, X))
    new = ogive.Act("swish", beta=ogive.learn("layer"))
    done = rewire(net, found, {"0:relu": new})
    assert sum("instead_relu" in k for k in net.state_dict()) == 1
    net(X).square().sum().backward()
    assert new.raw_beta.grad is not None
    assert float(new.raw_beta.grad.abs()) > 0.0
    assert all(p.grad is not None for p in net.parameters())
    done.undo()
    assert not any("instead" in k for k in net.state_dict())


def test_a_rewired_model_can_be_copied_saved_and_compiled():
    net = model()
    rewire(net, list(ogive.sites(net, X)), {"0:relu": ogive.Act("softplus"), "2": ogive.Act("elu")})
    want = net(X)
    assert torch.equal(copy.deepcopy(net)(X), want)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(X), want)
    torch.testing.assert_close(torch.compile(net)(X), want, rtol=1e-5, atol=1e-6)


def test_the_sites_of_a_rewired_model_are_what_stands_there():
    net = model()
    rewire(net, list(ogive.sites(net, X)), {"0:relu": ogive.Act("softplus"), "0:mul": ogive.Act("golu")})
    assert [s.label for s in ogive.sites(net, X)] == ["softplus", "gelu", "golu", "gelu", "tanh"]


def test_another_way_through_the_code_is_reported():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(16, 16)

        def forward(self, x, plain=False):
            y = self.map(x)
            return y if plain else torch.relu(y)

    net = nn.Sequential()
    net.add_module("two", Two())
    two = net.two
    rewire(net, list(ogive.sites(net, X)), {"two:relu": ogive.Act("elu")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(X)
    with pytest.warns(UserWarning, match="two:relu was not reached"):
        two(X, plain=True)


def test_what_cannot_be_exchanged_says_why_and_nothing_changes():
    net = model()
    found = list(ogive.sites(net, X))
    other = nn.Sequential(nn.Linear(16, 16))
    with pytest.raises(OgiveError, match="no module"):
        rewire(other, found, {"0:relu": ogive.Act("elu")})
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in other.modules())
    compiled = nn.Sequential(torch.compile(model()))
    inside = list(ogive.sites(compiled, X))
    with pytest.raises(OgiveError, match="compile"):
        rewire(compiled, inside, {inside[0].name: ogive.Act("elu")})


class Mixed(nn.Module):
    """Calls of three functions in one forward, one of them twice, and a module."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.act = nn.Linear(16, 32), nn.Linear(32, 16), nn.Softplus()

    def forward(self, x, gelu=F.gelu, tanh=torch.tanh, sigmoid=torch.sigmoid, softplus=None):
        h = gelu(self.up(x))
        return (softplus or self.act)(tanh(self.down(h) * sigmoid(x)) + gelu(x))


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_changes_of_changes_hold_and_are_taken_back_in_any_order(order):
    torch.manual_seed(0)
    net = nn.Sequential(Mixed()).eval()
    code, before = net[0], net(X)
    golu, mish, elu, relu = (ogive.get(n) for n in ("golu", "mish", "elu", "relu"))
    steps = [({"gelu": "golu"}, {"gelu": golu}), ({"tanh": "elu", "softplus": "golu"}, {"tanh": elu, "softplus": golu}),
             ({"golu": "mish"}, {"gelu": mish, "softplus": mish}), ({"sigmoid": "relu"}, {"sigmoid": relu}),
             ({"mish": "elu"}, {"gelu": elu, "softplus": elu})]  # fmt: skip
    reports, now = [], {}
    with torch.no_grad():
        for rules, means in steps:
            reports.append(ogive.swap(net, rules, X, time=False))
            now |= means
            torch.testing.assert_close(net(X), code.__class__.forward(code, X, **now), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(copy.deepcopy(net)(X), net(X))
    for i in order:
        reports[i].undo()
    assert torch.equal(net(X), before)
    assert [type(m).__name__ for m in net.modules()] == ["Sequential", "Mixed", "Linear", "Linear", "Softplus"]
    assert "forward" not in vars(code)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_what_was_exchanged_does_not_keep_a_model_alive():
    net = nn.Sequential(nn.Linear(16, 16), nn.GELU())
    ogive.swap(net, "golu", X, time=False)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_site_that_ends_in_a_hook_of_a_sequential_adds_no_layer_to_it():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))
    net[2].register_forward_pre_hook(lambda m, args: (torch.where(args[0] > 0.3, 0.3, args[0]),))
    before, report = net(X), ogive.swap(net, "relu", X, time=False)
    assert len(net) == 3
    torch.testing.assert_close(net(X), F.linear(torch.relu(net[0](X)), net[2].weight, net[2].bias))
    report.undo()
    assert torch.equal(net(X), before)
