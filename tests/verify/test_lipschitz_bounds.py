"""Lipschitz bounds against sampling, against enumeration, and in the order in which theory puts them."""

from __future__ import annotations

import importlib.util
import itertools
import math

import pytest
import torch
from torch import nn

import ogive
from ogive.derive.quadratic import max_min
from ogive.errors import InputError, OgiveError
from ogive.layers import GroupSort, Householder, MaxMin
from ogive.verify.chain import Affine, chain
from ogive.verify.lipschitz_bounds import lipschitz, norm_bound, product
from ogive.verify.semidefinite import certified

needs_solver = pytest.mark.skipif(importlib.util.find_spec("cvxpy") is None, reason="CVXPY solves the programme")


def orthogonal(inputs, outputs):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.orthogonal_(layer.weight)
    return layer


NETS = {
    "relu": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
    "smooth": lambda: nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 6), ogive.Act("tanh(x)+x/4"),
                                    nn.Linear(6, 2)),
    "channels": lambda: nn.Sequential(nn.Linear(4, 6), ogive.Act("swish", beta=ogive.learn("channel"), channels=6),
                                      nn.BatchNorm1d(6), nn.Linear(6, 2)),
    "image": lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2, padding=1), nn.LeakyReLU(0.2),
                                   nn.AvgPool2d(3), nn.Flatten(), nn.Linear(3, 2)),
    "sorting": lambda: nn.Sequential(nn.Linear(4, 8), MaxMin(), nn.Linear(8, 8), GroupSort(4), nn.Linear(8, 3)),
    "reflecting": lambda: nn.Sequential(nn.Linear(4, 6), Householder(6, angle=0.7), nn.Linear(6, 6), nn.Tanh(),
                                        nn.Linear(6, 3)),
}  # fmt: skip
ONE = torch.zeros(1, 4)


def made(name, seed=0):
    torch.manual_seed(seed)
    return NETS[name]()


def stretch(net, count=4000):
    """The greatest ratio of distances among random pairs, near and far."""
    net = net.double().eval()
    x = 2.0 * torch.randn(count, 4, dtype=torch.float64)
    y = x + torch.randn_like(x) * 10.0 ** torch.empty(count, 1, dtype=torch.float64).uniform_(-4, 0.5)
    with torch.no_grad():
        return float(((net(x) - net(y)).flatten(1).norm(dim=1) / (x - y).norm(dim=1)).max())


@pytest.mark.parametrize("name", NETS)
def test_the_product_is_above_what_is_sampled(name):
    net = made(name)
    found = lipschitz(net, ONE)
    assert stretch(net) <= found.value * (1 + 1e-9) and found.reached <= found.value
    assert found.reached > 0.9 * stretch(net)  # Jacobians see what pairs see


@needs_solver
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NETS)
def test_sampled_then_semidefinite_then_product(name, seed):
    net = made(name, seed)
    above, between = lipschitz(net, ONE), lipschitz(net, ONE, "sdp")
    assert between.reached <= between.value <= above.value * (1 + 1e-5)
    assert stretch(net) <= between.value
    assert between.value < 0.97 * above.value  # nothing here is as bad as its norms say
    assert certified(chain(net, ONE), between.multipliers, between.value)
    assert not certified(chain(net, ONE), between.multipliers, 0.9 * between.value)
    assert not certified(chain(net, ONE), tuple(-m for m in between.multipliers), 10.0 * between.value)


@needs_solver
def test_sorting_is_certified_1_lipschitz_and_its_rewrite_with_relu_is_not():
    layer = nn.Sequential(MaxMin())
    two = torch.zeros(1, 2)
    assert lipschitz(layer, two, "sdp").value == pytest.approx(1.0, abs=1e-6)
    assert product(chain(layer, two)) == pytest.approx(1.0, abs=1e-4)
    # max(a, b) = relu(a - b) + relu(b) - relu(-b), and for a > 0 min(a, b) = relu(a) - relu(a - b)
    first, last = nn.Linear(2, 4, bias=False), nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]]))
        last.weight.copy_(torch.tensor([[1.0, 1.0, -1.0, 0.0], [-1.0, 0.0, 0.0, 1.0]]))
    rewrite = nn.Sequential(first, nn.ReLU(), last)
    x = torch.rand(50, 2)
    torch.testing.assert_close(rewrite(x), MaxMin()(x))
    assert lipschitz(rewrite, two, "sdp").value > 1.05


@needs_solver
def test_an_orthogonal_network_of_sorting_layers_is_certified_1_lipschitz():
    torch.manual_seed(3)
    net = nn.Sequential(orthogonal(4, 8), MaxMin(), orthogonal(8, 8), GroupSort(4), orthogonal(8, 8),
                        Householder(8, angle=0.3), orthogonal(8, 8)).double()  # fmt: skip
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
    assert lipschitz(net, ONE.double(), "sdp").value == pytest.approx(1.0, abs=1e-5)
    assert lipschitz(net, ONE.double()).value == pytest.approx(1.0, abs=1e-4)
    assert lipschitz(net, ONE.double()).reached == pytest.approx(1.0, abs=1e-9)


@needs_solver
def test_slopes_in_0_1_of_two_opposite_inputs_give_1_where_the_product_gives_2():
    first, last = nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        last.weight.copy_(torch.tensor([[1.0, 1.0]]))
    net = nn.Sequential(first, nn.ReLU(), last)  # s1 - s2 with both in [0, 1]
    assert lipschitz(net, torch.zeros(1, 1)).value == pytest.approx(2.0, abs=1e-4)
    assert lipschitz(net, torch.zeros(1, 1), "sdp").value == pytest.approx(1.0, abs=1e-5)


def test_without_cvxpy_the_error_says_what_to_install(monkeypatch):
    import importlib

    def missing(name, *rest):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OgiveError, match=r"pip install 'ogive\[verify\]'"):
        lipschitz(made("relu"), ONE, "sdp")


@pytest.mark.parametrize("act", [nn.ReLU(), nn.LeakyReLU(0.3), nn.Hardtanh(), ogive.Act("abs(x)")])
def test_regions_are_exact_for_one_hidden_layer(act):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 5), act, nn.Linear(5, 2)).double()
    found = lipschitz(net, torch.zeros(1, 2), "regions", lo=torch.full((2,), -3.0), hi=torch.full((2,), 3.0))
    # all regions that points of a fine grid fall into
    axis = torch.linspace(-3, 3, 401, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    h = net[0](x).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(act(h).sum(), h)
    patterns = slopes.unique(dim=0)
    want = float(torch.linalg.matrix_norm((net[2].weight * patterns.unsqueeze(1) @ net[0].weight).detach(), 2).max())
    assert found.value == pytest.approx(want, rel=1e-5) and found.reached == pytest.approx(want, rel=1e-9)
    assert found.value >= want


def test_regions_of_a_deep_network_close_up_and_lie_below_the_product():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    box = {"lo": torch.full((2,), -2.0), "hi": torch.full((2,), 2.0)}
    found = lipschitz(net, torch.zeros(1, 2), "regions", **box)
    assert found.reached <= found.value <= found.reached * (1 + 1e-4)
    assert found.value <= lipschitz(net, torch.zeros(1, 2)).value
    x = 4 * torch.rand(20000, 2, dtype=torch.float64) - 2
    y = (x + 1e-3 * torch.randn_like(x)).clamp(-2, 2)
    net = net.double()
    with torch.no_grad():
        ratio = (net(x) - net(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert 0.95 * found.value < float(ratio.max()) <= found.value
    small = lipschitz(net.float(), torch.zeros(1, 2), "regions", lo=torch.zeros(2), hi=torch.full((2,), 0.01))
    assert small.value <= found.value
    cut_short = lipschitz(net, torch.zeros(1, 2), "regions", boxes=5, **box)
    assert cut_short.value >= found.value


def test_regions_of_a_smooth_network_are_bounds_all_the_same():
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(2, 4), ogive.Act("gelu"), nn.Linear(4, 1)).double()
    found = lipschitz(net, torch.zeros(1, 2), "regions", lo=-torch.ones(2), hi=torch.ones(2), boxes=200)
    x = (2 * torch.rand(5000, 2, dtype=torch.float64) - 1).requires_grad_()
    (grad,) = torch.autograd.grad(net(x).sum(), x)
    assert float(grad.norm(dim=1).max()) <= found.value <= lipschitz(net, torch.zeros(1, 2)).value


def test_the_norm_bound_is_above_the_norm_and_close():
    generator = torch.Generator().manual_seed(0)
    for rows, columns in itertools.product((1, 3, 40), (1, 5, 60)):
        w = torch.randn(rows, columns, generator=generator, dtype=torch.float64) * 10.0 ** (rows - 20)
        want = float(torch.linalg.matrix_norm(w, 2))
        found = norm_bound(Affine(w, w[:, 0], torch.zeros_like(w)))
        assert want * (1 - 1e-15) <= found <= want * (1 + 1e-5)
        assert norm_bound(Affine(w, w[:, 0], torch.full_like(w, want))) >= want * (1 + math.sqrt(rows * columns))


def test_matrices_of_a_chain_are_those_of_the_model():
    net = made("image").double()
    links = chain(net, ONE.double())
    assert [tuple(a.matrix.shape) for a in links.affine] == [(27, 4), (2, 27)]
    x = torch.randn(7, 4, dtype=torch.float64)
    first, last = links.affine
    y = nn.functional.leaky_relu(x @ first.matrix.T + first.bias, 0.2) @ last.matrix.T + last.bias
    torch.testing.assert_close(y, net(x))
    assert float(last.doubt.max()) < 1e-13


def test_constraints_of_a_sorting_layer_follow_its_channels():
    # channels first: pairs are not neighbours in memory
    net = nn.Sequential(nn.Unflatten(1, (2, 2)), MaxMin(dim=1))
    (bend,) = chain(net, ONE).bends
    family = bend.constraints()
    x, y = torch.randn(200, 4, dtype=torch.float64), torch.randn(200, 4, dtype=torch.float64)
    w = torch.cat([x - y, (net(x) - net(y)).flatten(1)], 1)
    for m in family.signed:
        assert float(torch.einsum("bi,ij,bj->b", w, m, w).min()) > -1e-12
    for m in family.free:
        assert float(torch.einsum("bi,ij,bj->b", w, m, w).abs().max()) < 1e-12
    straight = max_min(4).free
    assert any(float(torch.einsum("bi,ij,bj->b", w, m, w).abs().max()) > 0.1 for m in straight)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)), "softmax in 1 mixes"),
        (nn.Sequential(nn.Linear(4, 4), ogive.Act("x**2")), "no bounded slope"),
        (nn.Sequential(nn.Linear(4, 4), ogive.GLU("silu")), "is no chain"),
    ],
)
def test_what_is_no_chain_is_refused_by_name(net, said):
    with pytest.raises(OgiveError, match=said):
        lipschitz(net, ONE)


def test_what_does_not_fit_is_refused():
    net = made("relu")
    for options, said in [({"method": "newton"}, "'newton'; there are product"), ({"method": "regions"}, "lo and hi")]:
        with pytest.raises(InputError, match=said):
            lipschitz(net, ONE, **options)
    with pytest.raises(InputError, match="one input with its batch"):
        lipschitz(net, torch.zeros(3, 4))
    with pytest.raises(InputError, match="sort or reflect"):
        lipschitz(made("sorting"), ONE, "regions", lo=ONE, hi=ONE + 1)
    net[0].weight.data[0, 0] = math.nan
    with pytest.raises(InputError, match=r"weight 0\.weight"):
        lipschitz(net, ONE)
