"""``swap``: other nonlinearities in a model that exists, by rule, fitted to what each site is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.layers.act import Act
from ogive.surgery.edits import Edits
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.fold import fold as fold_into
from ogive.surgery.fold import why_not
from ogive.surgery.refit import FITS
from ogive.surgery.replace import Replacement, Rules, replacement, wanted_by
from ogive.surgery.report import Report
from ogive.surgery.rewire import rewire, with_runs
from ogive.surgery.samples import samples
from ogive.surgery.sites import Site, modules_of, sites
from ogive.surgery.wiring import Link, links


def swap(
    model: nn.Module,
    rules: Rules,
    data: Any = None,
    *,
    fit: str = "keep",
    fold: bool = False,
    at_least: float | None = None,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put other activations in the place of a model's own, in place; the report's ``undo()`` takes them away.

    ``rules`` says what stands where. A mapping goes by its first key that fits a site: a function's name
    (``"gelu"``), a pattern of site names (``"encoder.*"``), a module class; its value is an activation (anything
    :func:`ogive.get` takes), a module of one input, or None for "leave it". A function is called with each
    :class:`~ogive.surgery.sites.Site` and returns such a value. Anything else is one activation for every site.

    Keys of the ``state_dict`` stay, unless what is put in has parameters to learn.

    Args:
        model: any module; functions and operators in its code are sites too when there is data.
        rules: what stands where; on a command line ``gelu=hardswish,encoder.*=keep`` or one activation for all.
        data: what the model is called with (a tensor, a tuple, a dict) or a list or loader of it. The first batch
            shows the sites. Without data only activation modules are found and nothing is measured.
        fit: ``keep`` takes the new function as it is; ``refit`` fits ``gamma f(alpha x + beta) + delta`` to the old
            one by least squares on what the site is given; ``hermite`` matches mean and mean slope.
        fold: write alpha, beta, gamma and delta into the layers before and after where one of each stands there alone,
            so that the plain function is left between them; the report says where it could not be.
        at_least: the mean cosine to the outputs before that must be kept; below it the model is put back.
        score: a function of the model, or several by name: a number, or one for each example.
        time: measure a batch before and after, in turn.
        seed: of the sample of inputs.

    Raises:
        OgiveError: when no site fits the rules (the sites there are are listed), a site cannot be exchanged, the new
            function gives NaN on the data, or ``at_least`` is not reached. The model is then as it was.

    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 2))
    >>> report = swap(mlp, {"gelu": "golu"})
    >>> mlp[1], report.undo(), mlp[1]
    (Act(golu, alpha=1, beta=1, gamma=1), None, GELU(approximate='none'))
    """
    if fit not in FITS:
        near = closest(str(fit), FITS, 1)[0]
        raise ParameterError(f"swap: fit={fit!r}; it is one of {', '.join(FITS)} (did you mean {near!r}?)")
    for asked, wish in ((fit != "keep", f"fit={fit!r}"), (at_least is not None, f"at_least={at_least!r}")):
        if asked and data is None:
            raise InputError(f"swap: {wish} needs data")
    if fold and fit == "keep":
        raise ParameterError("swap: fold=True has nothing to fold with fit='keep'; use fit='refit' or 'hermite'")
    batches = [] if data is None else batches_of(data)
    found = list(sites(model, batches[0])) if batches else modules_of(model)
    wanted, left = wanted_by(found, rules, dict(model.named_modules()))
    notes = []
    if not batches:
        notes.append("Found among modules only: give data to see functions in the code and to measure the effect.")
    inputs = samples(model, list(wanted), batches, seed) if batches else {}
    made = {site: replacement(site, new, inputs.get(site.name), fit) for site, new in wanted.items()}
    folds: dict[str, tuple[Link, Replacement]] = {}
    if fold:
        chain = {link.first + ".weight": link for link in links(model, batches[0])}
        for site, new in made.items():
            link = _link(site, chain)
            why = why_not(model, link, new.fit) if new.fit is not None else "it was not fitted"
            if why or link is None:
                notes.append(f"{site.name} is not folded: {why}.")
            else:
                folds[site.name] = link, new
    instead = {s.name: Act(r.plain) if s.name in folds and r.plain else r.module for s, r in made.items()}

    def put() -> Callable[[], None]:
        rewired, edits = rewire(model, with_runs(found, list(wanted)), instead), Edits()

        def undo() -> None:
            edits.undo()
            rewired.undo()

        try:
            for link, new in folds.values():
                assert new.fit is not None
                fold_into(model, link, new.fit, edits)
        except BaseException:
            undo()
            raise
        return undo

    figures, undo = conduct(model, batches, put, score=score, time=time)
    changes = tuple(r.change for r in made.values())
    report = Report("swap", changes, tuple(left), tuple(figures), tuple(notes), examples_in(batches), undo)
    if at_least is not None and not report["cosine to before"].after >= at_least:
        undo()
        raise OgiveError(
            f"swap: the outputs keep a mean cosine of {report['cosine to before'].after:.4g} where at_least="
            f"{at_least:g} was asked; the model was put back" + ("" if fit != "keep" else "; try fit='refit'")
        )
    return report


def _link(site: Site, chain: Mapping[str, Link]) -> Link | None:
    """The layers around a site, where one feeds it and it feeds one."""
    if len(site.fed_by) != 1 or len(site.feeds) != 1:
        return None
    link = chain.get(site.fed_by[0])
    return link if link is not None and (not link.second or f"{link.second}.weight" == site.feeds[0]) else None
