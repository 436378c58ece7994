import numpy as np
import pytest
import tiny_task
import torch
from torch import nn

from ogive.bench.candidate import Candidate, candidate, sampled_gain, split_acts
from ogive.bench.protocol import WEIGHT_LAYERS, as_data, build, fan_in, fed_by_activation
from ogive.bench.shipped import split
from ogive.bench.tasks import get_task, mnist, task_names, text
from ogive.bench.train import batches, schedule
from ogive.errors import InputError, OgiveError, ParameterError

X = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))


class Restless(nn.Module):
    """An activation that draws numbers when made and when called."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.randn(5))

    def forward(self, x):
        return torch.tanh(x) + 0 * torch.rand(())


def made(name, seed=0, task=tiny_task.TASK, x=X):
    act = Candidate("restless", lambda channels: Restless(), 1.5) if name == "restless" else candidate(name)
    return build(task, act, seed, x)[0], act.gain


def weights(model):
    return [m.weight for m in model.modules() if isinstance(m, WEIGHT_LAYERS)]


@pytest.mark.parametrize("name", ["gelu", "tanh", "x * sigmoid(1.7 * x)", "torch.nn:SiLU", "restless"])
def test_same_weights_up_to_the_gain(name):
    (reference, gain0), (model, gain) = made("relu"), made(name)
    for i, (w0, w) in enumerate(zip(weights(reference), weights(model))):
        scale = 1.0 if i == 0 else gain / gain0  # the first layer sees the data
        assert torch.allclose(w, w0 * scale, rtol=1e-5)
    others = [[p for n, p in m.named_parameters() if n.endswith("bias")] for m in (reference, model)]
    assert all(torch.equal(a, b) for a, b in zip(*others))


def test_without_correction_all_weights_are_equal():
    a = build(tiny_task.TASK, candidate("relu", with_gain=False), 0, X)[0]
    b = build(tiny_task.TASK, candidate("mish", with_gain=False), 0, X)[0]
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_another_seed_is_another_network():
    assert not torch.equal(weights(made("relu", 0)[0])[0], weights(made("relu", 1)[0])[0])


def deep(act):
    layers = [m for _ in range(12) for m in (nn.Linear(64 if _ == 0 else 256, 256), act())]
    return nn.Sequential(*layers)


def test_gain_correction_keeps_the_scale_of_a_deep_network():
    task = tiny_task.task(make_model=deep)
    size = {}
    for with_gain in (True, False):
        model, _ = build(task, candidate("relu", with_gain=with_gain), 0, X)
        with torch.no_grad():
            size[with_gain] = float(2 * model(torch.randn(400, 64)).square().mean())
    assert 0.2 < size[True] < 5
    assert size[False] < 0.01  # a factor 2 lost in each of eleven layers


class Mixed(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.inner, self.norm = nn.Linear(64, 8), nn.LayerNorm(8)
        self.act1, self.act2 = act(), act()
        self.pooled, self.normed, self.summed, self.head = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x):
        h = self.act1(self.inner(x))
        a = self.pooled(nn.functional.dropout(h.reshape(-1, 8, 1).squeeze(-1), 0.1))  # fed, through views
        b = self.normed(self.norm(h))  # a normalisation sets the scale
        c = self.summed(h + a)  # a weight layer's output is in the sum
        return self.head(self.act2(b + c))


def test_what_feeds_what():
    acts = []

    def factory(**_):
        acts.append(nn.ReLU())
        return acts[-1]

    model = Mixed(factory)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    fed = fed_by_activation(model, layers, acts, X)
    names = {id(m): n for n, m in model.named_modules()}
    assert {names[i] for i in fed} == {"pooled", "head"}


@pytest.mark.parametrize(
    "task, expected",
    [
        (mnist.TASK, {"1.conv1", "1.conv2", "3", "4.conv1", "4.conv2", "7"}),
        (text.TASK, {"blocks.0.down", "blocks.1.down"}),
    ],
)
@pytest.mark.parametrize("act", [nn.Tanh, nn.SiLU, nn.ReLU])
def test_what_feeds_what_in_the_tasks(task, expected, act):
    acts = []

    def factory(**_):
        acts.append(act())
        return acts[-1]

    model = task.make_model(factory)
    x = torch.zeros(2, 32, dtype=torch.long) if task is text.TASK else torch.randn(2, 1, 28, 28)
    layers = [m for m in model.modules() if isinstance(m, WEIGHT_LAYERS)]
    fed = fed_by_activation(model, layers, acts, x)
    assert {n for n, m in model.named_modules() if id(m) in fed} == expected


def test_fan_in_of_transposed_and_grouped_convolutions():
    assert fan_in(nn.Conv2d(12, 24, 3, groups=4)) == 27
    # stride 2: each output sums over a quarter of the kernel
    assert fan_in(nn.ConvTranspose2d(8, 4, 4, stride=2)) == 8 * 16 / 4


@pytest.mark.parametrize("module, gain", [(nn.ReLU, 2**0.5), (nn.Tanh, 1.5925374), (nn.Identity, 1.0)])
def test_sampled_gain(module, gain):
    assert sampled_gain(lambda channels: module()) == pytest.approx(gain, rel=1e-6)


def test_gain_of_a_formula_and_of_the_same_module_agree():
    for name, module in [("gelu", "torch.nn:GELU"), ("mish", "torch.nn:Mish"), ("tanh", "torch.nn:Tanh")]:
        assert candidate(name).gain == pytest.approx(candidate(module).gain, rel=1e-6)


def test_a_vanishing_activation_has_no_gain():
    with pytest.raises(ParameterError, match="--no-gain"):
        candidate("tiny_task:Nothing")
    assert candidate("tiny_task:Nothing", with_gain=False).gain == 1.0


def test_data_order_is_a_function_of_the_seed():
    a, b, c = (torch.stack(list(batches(50, 8, 20, seed))) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a[:6].unique().numel() == 48  # an epoch without repetition
    assert next(batches(5, 64, 1, 0)).numel() == 5


def test_schedule_rises_and_ends_near_zero():
    rates = [schedule(step, 100) for step in range(1, 101)]
    assert max(rates) == 1.0 and rates[4] == 1.0 and rates[-1] < 1e-3 and all(r > 0 for r in rates)


def test_splits_do_not_overlap():
    parts = split(1797)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    assert [len(p) for p in parts] == [1078, 360, 359]


@pytest.mark.parametrize("name", task_names())
def test_every_task_has_disjoint_splits_and_a_model(name):
    task = get_task(name)
    assert task.name == name
    data = as_data(task.load())
    for x, y in (data.train, data.validation, data.test):
        assert torch.isfinite(x.float()).all() and torch.isfinite(y.float()).all() and len(x) > 90
    train = set(records(data.train))
    for pair in (data.validation, data.test):
        repeated = sum(record in train for record in records(pair))
        # survey answers of different people may be equal; nothing else may come back
        assert repeated <= (0.25 if name == "tabular" else 0.01) * len(pair[0])
    model, acts = build(task, candidate("relu"), 0, data.train[0][:4])
    assert acts
    loss = task.loss(model(data.train[0][:8]), data.train[1][:8])
    assert loss.dim() == 0 and torch.isfinite(loss)


def records(pair):
    return [x.numpy().tobytes() + y.numpy().tobytes() for x, y in zip(*pair)]


def test_loaders_may_return_what_users_have():
    x, y = np.zeros((10, 3)), np.arange(10)
    pair = as_data((x, y))
    assert [len(s[0]) for s in (pair.train, pair.validation, pair.test)] == [6, 2, 2]
    assert pair.train[0].dtype == torch.float32 and pair.train[1].dtype == torch.int64
    three = as_data(((x, y), (x[:4], y[:4]), (x[:2], y[:2])))
    named = as_data({"test": (x[:2], y[:2]), "train": (x, y), "validation": (x[:4], y[:4])})
    assert torch.equal(three.test[1], named.test[1]) and len(named.train[0]) == 10


@pytest.mark.parametrize(
    "bad, said",
    [
        (3, "int"),
        ({"train": 1}, "validation"),
        (((1, 2, 3), (1, 2), (1, 2)), "pair"),
        ((np.array(["a"]), np.array([1])), "numbers"),
        ((np.zeros(3), np.zeros(4)), "3 inputs and 4 targets"),
        ((np.zeros((1, 2)), np.zeros(1)), "0 inputs"),
    ],
)
def test_other_data_is_refused(bad, said):
    with pytest.raises((InputError, ParameterError), match=said):
        as_data(bad)


def test_lists_of_activations():
    assert split_acts("relu,maximum(x, 0.1*x),pkg:Act") == ("relu", "maximum(x, 0.1*x)", "pkg:Act")
    for bad in ("", " , ", "relu,gelu,relu"):
        with pytest.raises(ParameterError):
            split_acts(bad)


@pytest.mark.parametrize("bad", ["rellu", "torch.nn:NotThere", "tiny_task:NOT_A_TASK", "x +", "os:getcwd"])
def test_what_is_no_activation_is_refused_before_anything_runs(bad):
    with pytest.raises(OgiveError):
        candidate(bad)
