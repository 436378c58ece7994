"""``tabulate``: every nonlinearity of a model as a table of 256 integers, its scales calibrated on data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError
from ogive.lookup import get
from ogive.surgery.effect import Score, batches_of, conduct, examples_in, run
from ogive.surgery.integer.grid import chosen, grid
from ogive.surgery.integer.table import TableAct, span
from ogive.surgery.refit import FITS, fitted
from ogive.surgery.replace import Rules, wanted_by
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire, with_runs
from ogive.surgery.samples import samples
from ogive.surgery.sites import Site, sites


def tabulate(
    model: nn.Module,
    data: Any,
    *,
    bits: int = 8,
    scale: str = "minmax",
    symmetric: bool = False,
    rules: Rules | None = None,
    fit: str = "keep",
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put a table of ``2**bits`` integers in the place of every nonlinearity, its scales chosen on data, in place.

    Each site becomes a :class:`~ogive.surgery.integer.table.TableAct`: values are rounded to the input's grid,
    looked up, and returned on the output's grid. One lookup costs the same for every function.

    Args:
        model: any module.
        data: what the model is called with, or a list or loader of it; the first batch shows the sites.
        bits: 2 to 8, or 16 (257 entries and linear interpolation in integers).
        scale: ``minmax`` (all values the data gives), ``percentile`` (99.99 % of them) or ``mse`` (the ends with the
            least square error of the result over the site's histogram).
        symmetric: zero point 0 for input and output.
        rules: which function stands where, as of :func:`ogive.swap`; by default each site's own.
        fit: of the functions in ``rules``, as of :func:`ogive.swap`.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of the sample of inputs.

    Raises:
        ParameterError: for bits, scale or fit that do not exist.
        OgiveError: when there is no site, the data has NaN or never reaches a site, or a function is not finite on
            its grid. The model is then as it was.

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 2))
    >>> report = tabulate(mlp, torch.randn(200, 4), scale="mse", time=False)
    >>> report.changes[0].after, report.changes[0].error < 0.02, report.undo(), mlp[1]
    ('gelu, 8-bit table', True, None, GELU(approximate='none'))
    """
    if bits not in (*range(2, 9), 16):
        raise ParameterError(f"tabulate: bits={bits!r}; tables have 2 to 8 bits, or 16 with interpolation")
    if fit not in FITS:
        raise ParameterError(f"tabulate: fit={fit!r}; it is one of {', '.join(FITS)}")
    chosen(torch.zeros(1, dtype=torch.float64), scale)
    batches = batches_of(data)
    every = list(sites(model, batches[0]))
    everywhere: Rules = (lambda site: site.activation) if rules is None else rules
    wanted, left = wanted_by(every, everywhere, dict(model.named_modules()))
    for site in list(wanted):
        why = _unfit(site, rules is None)
        if why:
            left.append((site.name, why))
            del wanted[site]
    if not wanted:
        raise InputError("tabulate: nothing to put a table for; " + "; ".join(f"{n}: {why}" for n, why in left[:4]))
    found = list(wanted)
    inputs = samples(model, found, batches, seed)
    reach = extremes(model, found, batches) if scale == "minmax" else {}
    instead: dict[str, nn.Module] = {}
    changes = []
    for site, new in wanted.items():
        table, error = _made(site, new, inputs[site.name], fit, bits, scale, symmetric, reach.get(site.name))
        instead[site.name] = table
        (a, b), (c, d) = table.into.ends, table.out.ends
        fits = f"{get(new).label}{', fitted' if rules is not None and fit != 'keep' else ''}"
        note = f"[{a:.4g}, {b:.4g}] to [{c:.4g}, {d:.4g}]"
        label = site.label if rules is None else fits
        changes.append(Change(site.name, site.label, f"{label}, {bits}-bit table", error, note))

    def put() -> Callable[[], None]:
        return rewire(model, with_runs(every, found), instead).undo

    def size() -> list[Figure]:
        tables = [t.levels for t in instead.values() if isinstance(t, TableAct)]
        return [
            Figure("size of the tables", 0.0, sum(t.numel() * t.element_size() for t in tables) / 1024.0, unit="KiB")
        ]

    figures, undo = conduct(model, batches, put, score=score, time=time, more=size)
    return Report("tabulate", tuple(changes), tuple(left), tuple(figures), (), examples_in(batches), undo)


def _unfit(site: Site, own: bool) -> str:
    if site.kind == "call" and (not site.calls or site.calls[0].slot is None):
        return "its input is not an argument of its call"
    if own and site.note:
        return f"a table holds one function; here it is {site.note}"
    return ""


def _made(
    site: Site, new: Any, x: Tensor, fit: str, bits: int, scale: str, symmetric: bool, ends: tuple[float, float] | None
) -> tuple[TableAct, float]:
    """The table of a site and its error: root mean square over that of what the site gave."""
    if isinstance(new, nn.Module) and not hasattr(new, "activation"):
        raise InputError(f"tabulate: {site.name} gets {type(new).__name__}, a module; a table needs a formula")
    act = get(new)
    act = fitted(act, site.activation, x, fit).activation if fit != "keep" else act
    into = chosen(x, scale, bits, symmetric, act, ends)
    low, high = span(act, into)
    reached = act(into.rounded(x))
    out = grid(low, high, bits, symmetric) if scale == "minmax" else chosen(reached, scale, bits, symmetric)
    table = TableAct(act, into, out)
    old = site.activation(x)
    power = float(old.square().mean().sqrt())
    error = float((table(x) - old).square().mean().sqrt()) / power if power > 0.0 else float("nan")
    return table, error


def extremes(model: nn.Module, found: list[Site], batches: list[Any]) -> dict[str, tuple[float, float]]:
    """The least and the greatest input of each site over all batches."""
    ends: dict[str, tuple[float, float]] = {}

    def see(name: str, x: Tensor) -> None:
        low, high = float(x.min()), float(x.max())
        known = ends.get(name, (low, high))
        ends[name] = min(known[0], low), max(known[1], high)

    with rewire(model, found, {}, see):
        run(model, batches)
    return ends
