"""Act beyond the laws: sharing, constraints, gates, in-place, what errors say."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ogive
from ogive import Act, learn
from ogive.activation import Param
from ogive.layers import parameter_groups
from ogive.layers.learn import constrain, unconstrain

INTERVALS = [
    Param(0.0),
    Param(1.0, low=0.0),
    Param(2.0, low=1.5),
    Param(-2.0, high=-1.5),
    Param(0.3, low=-1.0, high=1.0),
    Param(0.0, low=0.0, closed=True),
    Param(1.0, low=1.0, high=2.0, closed=True),
    Param(2.0, low=1.0, high=2.0, closed=True),
    Param(-3.0, high=-3.0, closed=True),
]


@pytest.mark.parametrize("param", INTERVALS, ids=lambda p: p.interval or "free")
class TestConstraint:
    @settings(max_examples=60, deadline=None)
    @given(raw=st.floats(-1e6, 1e6, width=32))
    def test_holds_for_every_raw_value(self, param, raw):
        for dtype in (torch.float32, torch.float64):
            value = constrain(torch.tensor(raw, dtype=dtype), param)
            assert param.admits(value.item())

    def test_default_is_representable(self, param):
        raw = unconstrain(torch.tensor(param.default, dtype=torch.float64), param)
        assert constrain(raw, param).item() == pytest.approx(param.default, rel=1e-14)
        if param.closed:
            assert constrain(raw, param).item() == param.default

    def test_gradient_is_true(self, param):
        raw = torch.tensor([-2.3, -0.4, 0.7, 1.4, 3.1], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda r: constrain(r, param), (raw,), check_forward_ad=True)

    def test_descent_reaches_a_bound_and_comes_back(self, param):
        """Pushed against its end a parameter stays inside, and moves again when the push turns."""
        raw = unconstrain(torch.tensor(param.default), param).requires_grad_()
        optimiser = torch.optim.SGD([raw], lr=0.05)
        for sign in (1.0, -1.0):
            start = constrain(raw, param).item()
            for _ in range(60):
                optimiser.zero_grad()
                (sign * constrain(raw, param)).backward()
                optimiser.step()
                assert param.admits(constrain(raw, param).item())
        assert constrain(raw, param).item() > start


def test_extreme_starts_are_kept():
    for init in (1e-9, 1e-3, 30.0, 1e6):
        act = Act("elu", alpha=learn(init=init))
        assert act.alpha.item() == pytest.approx(init, rel=1e-4)


@pytest.mark.parametrize("shape,dim", [((2, 6), 1), ((2, 6, 5), 1), ((2, 6, 4, 5), 1), ((2, 7, 6), -1), ((6,), 0)])
def test_channels_along_dim(shape, dim):
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    act = Act("prelu", a=learn("channel", init=slopes), channels=6, dim=dim)
    y = act(-torch.ones(shape))
    assert torch.equal(y.movedim(dim, -1), -slopes.expand(*y.movedim(dim, -1).shape))


def test_same_as_torch_prelu():
    ours, theirs = Act("prelu", a=learn("channel"), channels=5), nn.PReLU(5)
    x = torch.randn(3, 5, 4, 4)
    x, z = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(x).square().sum().backward()
    theirs(z).square().sum().backward()
    torch.testing.assert_close(x.grad, z.grad)
    torch.testing.assert_close(ours.raw_a.grad, theirs.weight.grad)


def test_groups_are_neighbouring_channels():
    act = Act("prelu", a=learn("group:3", init=torch.tensor([1.0, 2.0, 3.0])), channels=6)
    assert act.raw_a.shape == (3,)
    assert act(-torch.ones(1, 6)).tolist() == [[-1, -1, -2, -2, -3, -3]]


def test_neurons():
    act = Act("prelu", a=learn("neuron", init=torch.arange(6.0).reshape(2, 3)), shape=(2, 3))
    assert torch.equal(act(-torch.ones(4, 2, 3))[1], -torch.arange(6.0).reshape(2, 3))


def test_sharing_follows_the_source():
    act = Act("prelu", a=learn(), channels=3)  # He et al. learn one slope per channel
    assert act.a.shape == (3,)
    assert Act("elu", alpha=learn()).alpha.shape == ()


def test_parameters_are_read_and_set():
    act = Act("swish", beta=2.0)
    assert act.beta == 2.0
    act.beta = 3
    assert torch.equal(act(torch.ones(1)), ogive.get("swish")(torch.ones(1), beta=3.0))
    learned = Act("elu", alpha=learn("channel"), channels=2)
    learned.alpha = 0.5
    assert learned.alpha.tolist() == pytest.approx([0.5, 0.5])
    learned.alpha = torch.tensor([0.25, 2.0])
    assert learned.alpha.tolist() == pytest.approx([0.25, 2.0])
    for wrong in (-1.0, math.nan, "much"):
        with pytest.raises(ogive.ParameterError):
            learned.alpha = wrong
        with pytest.raises(ogive.ParameterError):
            Act("elu").alpha = wrong
    learned.reset_parameters()
    assert learned.alpha.tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(AttributeError):
        _ = act.alpha


def test_activation_of_a_module_is_what_it_computes():
    assert ogive.get(Act("swish")) is ogive.get("swish")
    assert ogive.get(Act("elu", alpha=learn())) is ogive.get("elu")
    assert ogive.get(Act("swish", beta=2.0)).defaults == {"beta": 2.0}
    act = Act("swish", beta=learn("channel"), channels=2)
    assert ogive.get(act) is ogive.get("swish")
    act.beta = torch.tensor([1.0, 2.0])
    with pytest.raises(ogive.ParameterError, match=r"swish: beta has several values \(1\.\.2\)"):
        ogive.get(act)
    assert act.entry is ogive.get("swish")
    assert Act(Act("swish", beta=2.0))(torch.ones(1)) == Act("swish", beta=2.0)(torch.ones(1))


def test_gates():
    x, y = torch.randn(2, 6), torch.randn(2, 6)
    torch.testing.assert_close(Act("swiglu")(x, y), nn.functional.silu(x) * y)
    torch.testing.assert_close(Act("swiglu")(torch.cat([x, y], 1)), nn.functional.silu(x) * y)
    both = torch.randn(2, 3, 8)
    torch.testing.assert_close(Act("glu", dim=-1)(both), nn.functional.glu(both, -1))
    with pytest.raises(ogive.InputError, match=r"swiglu is a gate.*even size along dim=1; got \(2, 5\)"):
        Act("swiglu")(torch.randn(2, 5))
    with pytest.raises(ogive.InputError, match="relu takes one input; got two"):
        Act("relu")(x, y)
    act = Act("swiglu_oai", alpha=learn("channel"), channels=6)
    assert act(torch.cat([x, y], 1)).shape == (2, 6)


def test_in_place_refusals():
    with pytest.raises(ogive.ParameterError, match="swiglu: inplace=True"):
        Act("swiglu", inplace=True)
    act = Act("swish", beta=learn("layer"), inplace=True)
    x = torch.randn(3)
    with pytest.raises(ogive.InputError, match="the gradient of a learned parameter is computed from it"):
        act(x)
    with pytest.raises(ogive.InputError, match=r"expanded tensor.*clone"):
        Act("relu", inplace=True)(torch.ones(1).expand(3))
    with torch.inference_mode():
        assert act(x) is x
    part = torch.randn(4, 4)
    expected = part.clone()
    expected[1:3] = ogive.get("golu")(part[1:3])
    Act("golu", inplace=True)(part[1:3])
    assert torch.equal(part, expected)


@pytest.mark.parametrize(
    "make,says",
    [
        (
            lambda: Act("swish", beta=learn("channel")),
            "parameter beta is learned per channel: give channels=",
        ),
        (lambda: Act("swish", beta=learn("group:2")), "learned per group of channels: give channels="),
        (lambda: Act("swish", beta=learn("group:4"), channels=6), "4 does not divide channels=6"),
        (lambda: Act("swish", beta=learn("neuron")), r"per neuron: give shape=\(...\)"),
        (lambda: Act("swish", beta=learn("chanel")), r"learn\('chanel'\).*did you mean 'channel'"),
        (lambda: Act("swish", beta=learn("group:0"), channels=4), r"learn\('group:0'\)"),
        (lambda: Act("swish", beta=learn(init="big")), r"learn\(init='big'\)"),
        (lambda: Act("swish", beta=learn(init=math.nan)), r"learn\(init=nan\)"),
        (
            lambda: Act("elu", alpha=learn(init=-1.0)),
            r"elu: parameter alpha.*starts at -1.0 and takes \(0, inf\)",
        ),
        (lambda: Act("elu", alpha=learn(init=torch.ones(3))), r"has the shape \(\); got \(3,\)"),
        (
            lambda: Act("spike_atan", alpha=learn()),
            "spike_atan: parameter alpha.*derivative by alpha is zero",
        ),
        (lambda: Act("swish", bta=learn()), "swish has no parameter 'bta'.*did you mean 'beta'"),
        (lambda: Act("swish", channels=0), "swish: channels=0"),
        (lambda: Act("swish", channels="many"), "swish: channels='many'"),
        (lambda: Act("swish", dim="last"), "swish: dim='last'"),
        (lambda: Act("swish", dtype=torch.int64), "swish: dtype=torch.int64"),
        (lambda: Act(ogive.define("x*forward", params={"forward": 2.0})), "parameter name 'forward'"),
    ],
)
def test_errors_say_what_to_do(make, says):
    with pytest.raises(ogive.ParameterError, match=says):
        make()


def test_wrong_shapes_of_the_input_are_named():
    act = Act("prelu", a=learn("channel"), channels=4)
    for shape in [(2, 5), (4,)]:
        with pytest.raises(ogive.InputError, match=rf"prelu: a is learned for channels=4 along dim=1; .*{shape[-1]}"):
            act(torch.zeros(shape))
    with pytest.raises(ogive.InputError, match=r"prelu: a is learned per neuron for shape=\(2, 3\)"):
        Act("prelu", a=learn("neuron"), shape=(2, 3))(torch.zeros(4, 3))
    with pytest.raises(ogive.InputError, match="prelu takes tensors; got list"):
        act([1.0, 2.0])


def test_unknown_name_gets_three_suggestions():
    with pytest.raises(ogive.UnknownName) as error:
        Act("gleu")
    assert str(error.value).count(", ") == 2 and "gelu" in str(error.value)


def test_nameless_formulas_are_modules_too():
    act = Act("x*tanh(softplus(x))")
    assert repr(act) == "Act(x*tanh(softplus(x)))"
    assert torch.equal(copy.deepcopy(act)(torch.ones(3)), act(torch.ones(3)))
    scaled = Act(ogive.define("x*sigmoid(k*x)", params={"k": Param(1.0, low=0.0)}), k=learn("layer"))
    assert scaled.k.item() == pytest.approx(1.0)


def test_factory_arguments():
    act = Act("swish", beta=learn("channel"), channels=3, dtype=torch.float64)
    assert act.beta.dtype == torch.float64
    torch.set_default_dtype(torch.float64)
    try:
        assert Act("elu", alpha=learn()).alpha.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert Act("elu", alpha=learn(), device="meta").raw_alpha.is_meta


def test_narrow_gradients_of_a_shared_parameter_do_not_saturate():
    """The sum over a million bfloat16 products runs in a wide dtype; in bfloat16 it would stop at 256."""
    act = Act("prelu", a=learn("layer"))
    act(-torch.ones(1 << 20, dtype=torch.bfloat16)).sum(dtype=torch.float32).backward()
    assert act.raw_a.grad.item() == -(1 << 20)


def test_weight_decay_spares_what_the_source_spares():
    act = Act("mpelu", alpha=learn("channel"), beta=learn("channel"), channels=4)
    assert act.no_decay() == ()
    assert Act("prelu", a=learn("layer")).no_decay() == ("raw_a",)
    assert Act("elu", alpha=learn("layer")).no_decay() == ("raw_alpha",)  # behind a softplus
    shared = Act("prelu", a=learn("layer"))
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared, act)
    groups = parameter_groups(model, 0.1)
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(6, 0.1), (1, 0.0)]
    torch.optim.AdamW(groups, lr=1e-3)
    assert [len(g["params"]) for g in parameter_groups(nn.Linear(2, 2), 0.1)] == [2]


def test_training_learns_the_parameter():
    """Swish with beta = 3 is found from samples, by gradient descent on beta alone."""
    x = torch.linspace(-3, 3, 200)
    target = ogive.get("swish")(x, beta=3.0)
    act = Act("swish", beta=learn("layer"))
    optimiser = torch.optim.Adam(act.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        (act(x) - target).square().mean().backward()
        optimiser.step()
    assert act.beta.item() == pytest.approx(3.0, abs=1e-2)


def test_functional_call_and_ensembles():
    act = Act("swish", beta=learn("layer"))
    x = torch.randn(5)
    y = torch.func.functional_call(act, {"raw_beta": torch.tensor(2.0)}, x)
    torch.testing.assert_close(y, ogive.get("swish")(x, beta=2.0))
    acts = [Act("swish", beta=learn("layer", init=b)) for b in (0.5, 1.5)]
    params, buffers = torch.func.stack_module_state(acts)

    def one(p, b):
        return torch.func.functional_call(acts[0], (p, b), x)

    torch.testing.assert_close(torch.func.vmap(one)(params, buffers), torch.stack([a(x) for a in acts]))
