"""Where public code does not compute what its name promises: docs/errata.md.

    python benchmarks/errata.py docs/errata.md

Runs every elementwise function of the libraries that are installed (torch, transformers, torch-activation,
nonlinear, torchlab-pytorch, echoAI, actix, activations-plus, torchact, aptx_activation) at its default
parameters against the catalogue entry of the same name, and says what a wrong one computes instead when the
catalogue knows. Formulas that the survey of Kunc and Kléma (2024) misprints follow. A name with several
published meanings is no error as long as the library means one of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import io
import math
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import ogive
from ogive.activation import Activation
from ogive.derive.find import Match, find
from ogive.errors import OgiveError

LIBRARIES = {
    "torch": "torch.nn", "transformers": "transformers.activations", "torch-activation": "torch_activation",
    "nonlinear": "nonlinear", "torchlab-pytorch": "torchlab", "echoAI": "echoAI.Activation.Torch", "actix": "actix",
    "activations-plus": "activations_plus", "torchact": "torchact", "aptx-activation": "aptx_activation",
}  # fmt: skip
GRID = torch.tensor([-8.0, -5.0, -3.0, -2.0, -1.5, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0])
FINE = torch.linspace(-100, 100, 4001)

# What the survey prints (as transcribed by two libraries), the entry that is published, an input.
MISPRINTS = (
    ("hard_elish", "where(x >= 0, x*clip((x+1)/2, 0, 1), (1+exp(-x))*clip((x+1)/2, 0, 1))", -0.5,
     "1 + exp(-x) is printed for exp(x) - 1 on the negative side; two libraries copy it"),
    ("ada", "exp(-x + 1)", -2.0, "the factor max(0, x) is lost"),
    ("cloglog", "1 - exp(-exp(-x))", 2.0, "the sign of the inner exponent"),
    ("relu", "maximum(x, 0)", 1.0, ""),
)[:3]  # fmt: skip


@dataclass(frozen=True)
class Erratum:
    """One function of one library that is not what its name says."""

    library: str
    name: str
    entry: str
    x: float
    published: float
    got: float
    what: str

    @property
    def default(self) -> bool:
        """Whether it is the published function at other default parameters."""
        return self.what.startswith("defaults: ")


def functions(module: str) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Every elementwise function of a library at its defaults, by class name."""
    seen = set()
    for part in modules(module):
        for name, kind in vars(part).items():
            if not inspect.isclass(kind) or not issubclass(kind, nn.Module) or kind in seen:
                continue
            if not kind.__module__.startswith(module.split(".")[0]):
                continue
            seen.add(kind)
            made = None
            with contextlib.suppress(Exception), quiet():
                made = kind().double().eval()
                if not elementwise(made):
                    made = None
            if made is not None and name != "RReLU":  # which draws random numbers
                yield name, made


def modules(name: str) -> Iterator[object]:
    try:
        with quiet():
            top = importlib.import_module(name)
    except ImportError:
        return
    yield top
    for info in pkgutil.walk_packages(getattr(top, "__path__", []), name + ".") if name != "torch.nn" else ():
        with contextlib.suppress(Exception), quiet():
            yield importlib.import_module(info.name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def elementwise(f: Callable[[Tensor], Tensor]) -> bool:
    x = torch.linspace(-2, 2, 24, dtype=torch.float64)
    other = x.clone()
    other[::5] += 1.3
    with torch.no_grad():
        y, z = f(x), f(other)
        again = f(x)
    same = torch.tensor([i % 5 != 0 for i in range(24)])
    return y.shape == x.shape and torch.equal(again, y) and torch.equal(y[same], z[same])


def spelled(name: str) -> str:
    return re.sub(r"(activation|torch|func|[^a-z0-9])", "", name.lower())


def by_spelling() -> dict[str, str]:
    table = {spelled(n): n for n, e in ogive.catalogue.entries().items() if len(e.inputs) == 1}
    for alias, name in ogive.catalogue.aliases().items():
        if len(ogive.get(name).inputs) == 1:
            table.setdefault(spelled(alias), name)
    return table


def meanings(entry: Activation) -> list[Activation]:
    """Everything published under nearly the same name: hard_sigmoid, hard_sigmoid_02, hard_sigmoid_bnn."""
    stem = str(entry.name).split("_survey")[0]
    return [e for n, e in ogive.catalogue.entries().items()
            if len(e.inputs) == 1 and (n == stem or n.startswith(stem + "_") or e.same_as == stem)]  # fmt: skip


def wrong(library: str, name: str, f: Callable[[Tensor], Tensor], entry: Activation) -> Erratum | None:
    x = GRID.double()
    with torch.no_grad(), quiet():
        got = f(x.clone()).double()
    for candidate in [entry, *meanings(entry)]:
        if torch.allclose(candidate(x), got, rtol=2e-5, atol=2e-5, equal_nan=True):
            return None
    gap = (entry(x) - got).abs().nan_to_num(nan=math.inf)
    i = int(gap.argmax())
    return Erratum(library, name, str(entry.name), float(x[i]), float(entry(x)[i]), float(got[i]), told(f, entry))


def told(f: Callable[[Tensor], Tensor], entry: Activation) -> str:
    with quiet():
        try:
            best = find(f).best
        except OgiveError as problem:
            return str(problem).split(":")[-1].strip()[:90]
    if best is None:
        return "no published function"
    if best.name == entry.name:
        return "defaults: " + _chosen(best, entry)
    inside = {r.other for r in ogive.relations(str(entry.name)) if r.kind in ("contains", "same as")}
    if best.name in inside and not best.transform.changed and not best.parameters:  # prelu at slope 1 is the identity
        return f"defaults: at which it is {best.name}"
    return f"computes {best.text.split(' (')[0]}"


def _chosen(best: Match, entry: Activation) -> str:
    """The numbers the library chose, or the scaling."""
    numbers = ", ".join(f"{k} = {v:.6g}" for k, v in best.parameters.items() if abs(v - entry.defaults[k]) > 1e-9)
    return numbers + (f" ({best.transform.text(best.name)})" if best.transform.changed else "") or "at a break point"


def lost(f: Callable[[Tensor], Tensor]) -> tuple[str, float] | None:
    """Where value or gradient is NaN for an ordinary input in float32, nearest to zero."""
    x = FINE.clone().requires_grad_()
    try:
        with quiet():
            y = f(x)
            (g,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
    except Exception:
        return None
    for what, value in (("value", y), ("gradient", g)):
        bad = x.detach()[value.isnan()] if value is not None else x[:0]
        if len(bad):
            return what, float(bad[bad.abs().argmin()])
    return None


def cell(text: object) -> str:
    return str(text).replace("|", "\\|")


def rows(found: list[Erratum]) -> list[str]:
    head = ["| library | function | entry | x | published | library | what it is |", "|---|---|---|---|---|---|---|"]
    return head + [
        f"| {e.library} | {e.name} | {e.entry} | {e.x:g} | {e.published:.6g} | {e.got:.6g} "
        f"| {cell(e.what.removeprefix('defaults: '))} |"
        for e in sorted(found, key=lambda e: (e.library, e.name.lower()))
    ]


def page() -> str:
    table, found, nans, counts = by_spelling(), [], [], []
    for library, module in LIBRARIES.items():
        total = matched = 0
        for name, f in functions(module):
            total += 1
            single = f.float()
            at = lost(single)
            if at:
                nans.append((library, name, *at))
            f.double()
            entry = table.get(spelled(name))
            if entry is None:
                continue
            matched += 1
            erratum = wrong(library, name, f, ogive.get(entry))
            if erratum:
                found.append(erratum)
        if total:
            counts.append((library, importlib.metadata.version(library), total, matched,
                           sum(e.library == library and not e.default for e in found),
                           sum(e.library == library and e.default for e in found),
                           sum(n[0] == library for n in nans)))  # fmt: skip
    lines = ["# Errata", ""]
    lines += [
        "What public libraries compute under a published name that is not the published function, at their default "
        "parameters, and formulas that a widely used survey misprints. Every figure is printed by "
        "`python benchmarks/errata.py`, which runs the libraries; none is copied.", "",
        "A name with several published meanings is no error as long as the library means one of them. Where the "
        "catalogue recognises what is computed instead, the last column says so.", "",
        "| library | version | elementwise modules | names we know | another function | other defaults "
        "| NaN for \\|x\\| <= 100 |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(map(str, row))} |" for row in counts), "",
        "## Another function", "",
        *rows([e for e in found if not e.default]), "",
        "## Other defaults", "",
        "The published function with other numbers than its source gives: a choice, but results do not compare.", "",
        *rows([e for e in found if e.default]), "",
        "## NaN for ordinary inputs", "",
        "The input nearest to zero, float32.", "",
        "| library | function | what | x |", "|---|---|---|---|",
        *(f"| {lib} | {name} | {what} | {x:g} |" for lib, name, what, x in sorted(nans)), "",
        "## Misprints of the survey of Kunc and Kléma (2024), as transcribed", "",
        "| entry | x | published | as printed | what happened |", "|---|---|---|---|---|",
        *(f"| {name} | {x:g} | {ogive.get(name)(x):.6g} | {ogive.define(text)(x):.6g} | {cell(why)} |"
          for name, text, x, why in MISPRINTS), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    text = page()
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as out:  # noqa: PTH123
            out.write(text)
    print(text)


if __name__ == "__main__":
    main()
