"""``polynomialise``: a polynomial in the place of every activation, fitted to what each site is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.effect import Score, batches_of, moved, outputs, scored, timed
from ogive.surgery.private.polynomials import FITS, Polynomial, depth_of, interval_of
from ogive.surgery.private.polynomials import fit as fitted
from ogive.surgery.private.pooling import averaged
from ogive.surgery.private.range import Escapes, PolynomialAct, escapes
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites


def polynomialise(
    model: nn.Module,
    data: Any,
    *,
    degree: int = 4,
    fit: str = "sample",
    margin: float = 0.25,
    quantile: float = 0.0,
    in_turn: bool = True,
    train: bool = False,
    pool: str = "refuse",
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put a polynomial in the place of every activation of a model, in place, and count who leaves its interval.

    Each polynomial is fitted on the interval of what its site is given, widened by ``margin``.
    A quarter of the data is held out from the fits; the share of inputs outside the interval is measured on it. What
    is put in counts on in every later run (:func:`~ogive.surgery.private.range.escapes`), and
    :func:`~ogive.surgery.private.range.range_loss` holds pre-activations inside in training.

    Args:
        model: any module.
        data: what the model is called with, a batch or a list or loader of batches.
        degree: 1 to 15.
        fit: ``sample`` (least squares on the site's inputs), ``normal`` (least squares under the normal distribution
            with their mean and variance) or ``minimax`` (least maximum on the interval).
        margin: by which part of its length the interval grows on each side.
        quantile: the share of inputs at each end that the interval leaves out before it grows. A narrower interval is
            nearer for most inputs; beyond it a polynomial is soon worse than useless.
        in_turn: fit each site on what it is given once the sites before it are polynomials; False: on what it is
            given in the model as it is.
        train: whether the coefficients become parameters of the model.
        pool: max pooling is no polynomial: ``refuse``, ``average`` in its place, or ``keep``.
        score: a function of the model, or several by name: a number, or one for each example.
        time: measure a batch before and after, in turn.
        seed: of the sample of inputs.

    Raises:
        ParameterError: for options that cannot be.
        OgiveError: where there is no site, max pooling is refused, inputs are not finite or do not vary, or the
            changed model gives NaN (the message says at which site first). The model is then as it was.

    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4)), torch.randn(400, 8)
    >>> report = polynomialise(model, x, degree=6, time=False)
    >>> report.changes[0].after, report["worst share outside"].after < 0.01, report["cosine to before"].after > 0.999
    ('degree 6', True, True)
    """
    if fit not in FITS:
        raise ParameterError(f"polynomialise: fit={fit!r}; it is one of {', '.join(FITS)}")
    batches = batches_of(data)
    fit_on, held_out = _split(batches)
    pooled, undo_pool = averaged(model, batches[0], pool)
    undo: list[Callable[[], None]] = [undo_pool]

    def back() -> None:
        while undo:
            undo.pop()()

    try:
        found = list(sites(model, batches[0]))
        wanted = [s for s in found if s.kind != "gate"]
        left = [(s.name, "a gate of two inputs is a product of branches, polynomial already where its parts are")
                for s in found if s.kind == "gate"]  # fmt: skip
        if not wanted:
            raise OgiveError("polynomialise: this model has no activation of one input on this data")
        undo_pool()  # what the outputs were before anything changed
        scores = dict(score) if isinstance(score, Mapping) else {} if score is None else {"score": score}
        before = outputs(model, batches)
        scored_before = {k: f(model) for k, f in scores.items()}
        undo[0] = averaged(model, batches[0], pool)[1]
        options = {"degree": degree, "how": fit, "margin": margin, "quantile": quantile}
        made = _fits(model, wanted, fit_on, in_turn, seed, options, train)
        instead: dict[str, nn.Module] = {name: module for name, (module, _) in made.items()}

        def put() -> Callable[[], None]:
            return rewire(model, [s for s in found if s.name in instead], instead).undo

        undo.append(put())
        for module, _ in made.values():
            module.reset()
        seen = escapes(model, held_out)
        if seen.first_broken:
            raise OgiveError(
                f"polynomialise: NaN or inf first at {seen.first_broken}; the model was put back. Give a wider margin, "
                "a lower degree, or train with range_loss"
            )
        figures = moved(before, outputs(model, batches))
        figures += [scored(k, scored_before[k], f(model)) for k, f in scores.items()]
        figures += _shares(seen)
        if time:
            undo.pop()()
            figures.append(timed(model, batches[0], put))
            undo.append(put())
        for module, _ in made.values():
            module.reset()
    except BaseException:
        back()
        raise
    changes = [Change(n, kind, "average pooling", math.nan) for n, kind in pooled]
    changes += [_change(s, made[s.name][1], instead[s.name], seen, model) for s in wanted]
    held = "held-out data" if held_out is not fit_on else "the data fitted on (too little to hold any out)"
    # a square can be completed where it is not nearly straight
    levels = "1 level (2 where it is nearly straight)" if degree == 2 else f"{depth_of(degree)} levels"
    notes = [f"Shares outside are of {held}. Under encryption each polynomial takes {levels} of multiplication."]
    return Report("polynomialise", tuple(changes), tuple(left), tuple(figures), tuple(notes), len(before), back)


def _fits(
    model: nn.Module,
    wanted: list[Site],
    data: list[Any],
    in_turn: bool,
    seed: int,
    options: dict[str, Any],
    train: bool,
) -> dict[str, tuple[PolynomialAct, Polynomial]]:
    made: dict[str, tuple[PolynomialAct, Polynomial]] = {}
    quantile, margin = options["quantile"], options["margin"]

    def polynomial(site: Site, given: _Given) -> tuple[PolynomialAct, Polynomial]:
        try:
            # the sample may miss the extremes, and a polynomial is at its worst beyond them
            ends = torch.tensor(given.ends, dtype=torch.float64) if quantile == 0.0 else given.sample()
            low, high = interval_of(ends, margin, quantile, site.label)
            best = fitted(site.activation, given.sample(), options["degree"], how=options["how"], low=low, high=high)
        except (OgiveError, ParameterError) as error:
            raise type(error)(f"polynomialise, {site.name}: {error}") from None
        return PolynomialAct(best, train), best

    if not in_turn:
        every = _given(model, wanted, {}, [s.name for s in wanted], data, seed)
        return {s.name: polynomial(s, every[s.name]) for s in wanted}
    for site in wanted:
        instead: dict[str, nn.Module] = {name: module for name, (module, _) in made.items()}
        made[site.name] = polynomial(site, _given(model, wanted, instead, [site.name], data, seed)[site.name])
    return made


class _Given:
    """What one site is given: a sample of it and its two ends."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.ends = [math.inf, -math.inf]

    def add(self, x: Tensor, share: int, generator: torch.Generator) -> None:
        flat = x.detach().flatten()
        if not flat.numel():
            return
        low, high = (float(v) for v in flat.aminmax())  # NaN if there is one
        self.ends = [low if low != low else min(self.ends[0], low), high if high != high else max(self.ends[1], high)]
        at = torch.randint(flat.numel(), (share,), generator=generator) if flat.numel() > share else slice(None)
        self.parts.append(flat[at].double().cpu())

    def sample(self) -> Tensor:
        return torch.cat(self.parts)


def _given(
    model: nn.Module, wanted: list[Site], instead: dict[str, nn.Module], names: list[str], data: list[Any], seed: int
) -> dict[str, _Given]:
    """What the sites ``names`` are given while ``instead`` stands at the sites before them."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: _Given() for name in names}
    share = max(20_000 // len(data), 1)

    def see(name: str, x: Tensor) -> None:
        if name in found:
            found[name].add(x, share, generator)

    with rewire(model, wanted, instead, see):
        outputs(model, data)
    before = f" once {len(instead)} sites before it are polynomials" if instead else ""
    for name, given in found.items():
        if not given.parts:
            raise OgiveError(f"polynomialise: this data never reaches {name}; give data that does")
        if not all(map(math.isfinite, given.ends)):
            raise OgiveError(
                f"polynomialise: {name} is given values that are not finite{before}; clean the data, or give a wider "
                "margin or a lower degree"
            )
    return found


def _split(batches: list[Any]) -> tuple[list[Any], list[Any]]:
    """Data to fit on and data held out: the last quarter of the batches, or of the rows of a single tensor."""
    if len(batches) > 1:
        cut = max(len(batches) // 4, 1)
        return batches[:-cut], batches[-cut:]
    only = batches[0]
    if isinstance(only, Tensor) and only.dim() and len(only) >= 8:
        cut = len(only) - len(only) // 4
        return [only[:cut]], [only[cut:]]
    return batches, batches


def _shares(seen: Escapes) -> list[Figure]:
    mean = sum(r.outside for r in seen.rows) / len(seen.rows)
    return [Figure("worst share outside", math.nan, seen.worst), Figure("mean share outside", math.nan, mean)]


def _change(site: Site, best: Polynomial, module: nn.Module, seen: Escapes, model: nn.Module) -> Change:
    path = next((n for n, m in model.named_modules() if m is module), "")
    outside = next((r.outside for r in seen.rows if r.site == path), math.nan)
    note = (f"on [{best.low:.4g}, {best.high:.4g}], largest error there {best.worst:.3g}, outside "
            f"{outside:.3%} of held-out inputs")  # fmt: skip
    return Change(site.name, site.label, f"degree {best.degree}", best.error, note)
