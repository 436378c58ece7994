"""The command `ogive verify`."""

from __future__ import annotations

import json as json_
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ogive.errors import InputError, OgiveError

if TYPE_CHECKING:
    from ogive.verify.robustness import Robustness


def verify(
    model: Annotated[str, typer.Argument(help="pkg.module:callable that returns the model.")],
    data: Annotated[str, typer.Argument(help="pkg.module:callable that returns (x, labels), x or a loader.")],
    eps: Annotated[float, typer.Option(help="Radius, in the units of the data.")],
    norm: Annotated[str, typer.Option(help="inf, or a number of at least 1.")] = "inf",
    method: Annotated[str, typer.Option(help="ibp, crown-ibp, crown, alpha or branch.")] = "alpha",
    within: Annotated[str | None, typer.Option(help="Range of the data, as 0,1.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Examples to verify.")] = 100,
    budget: Annotated[float, typer.Option(min=0.0, help="Seconds of branch and bound for one example.")] = 60.0,
    json: Annotated[Path | None, typer.Option(help="Also write all of it into this file.")] = None,
) -> None:
    """Is the model's answer proved to hold on every input within eps of each example?

    Exit status 0 when every example is verified, 1 when one is falsified or stays unknown, 2 for what cannot be run.
    """
    from rich.console import Console

    try:
        found = _run(model, data, eps, norm, method, within, examples, budget)
        Console(highlight=False).print(repr(found), markup=False, soft_wrap=True)
        if json is not None:
            json.write_text(json_.dumps(found.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if found.verified < 1.0:
        raise typer.Exit(1)


def _run(
    name: str, data: str, eps: float, norm: str, method: str, within: str | None, examples: int, budget: float
) -> Robustness:
    from ogive.user_code import made, model_at
    from ogive.verify.robustness import verify as prove

    model = model_at(name)
    x, labels = _examples(made(data, "DATA"), data, examples)
    return prove(model, x, eps, norm=_number(norm, "--norm"), labels=labels, method=method, budget=budget,
                 within=None if within is None else _pair(within))  # fmt: skip


def _examples(found: Any, name: str, most: int) -> tuple[Any, Any]:
    """The first examples and their labels (None without): from a tensor, a pair, or the batches of a loader."""
    import torch

    if isinstance(found, torch.Tensor):
        return found[:most], None
    if isinstance(found, (tuple, list)) and len(found) == 2 and all(isinstance(t, torch.Tensor) for t in found):
        return found[0][:most], found[1][:most]
    xs, ys = [], []
    try:
        for batch in found:
            x, y = batch if isinstance(batch, (tuple, list)) else (batch, None)
            xs.append(x)
            ys.append(y)
            if sum(map(len, xs)) >= most:
                break
        x = torch.cat(xs)[:most]
        return x, None if any(y is None for y in ys) else torch.cat(ys)[:most]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"DATA {name!r} gives {type(found).__name__}; it takes a tensor of examples, a pair "
                         f"(x, labels) or a loader of batches ({error})") from error  # fmt: skip


def _number(text: str, option: str) -> float:
    if text.strip().lower() in ("inf", "infinity", "linf"):
        return math.inf
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} {text!r}: it takes inf or a number of at least 1") from None


def _pair(text: str) -> tuple[float, float]:
    try:
        lo, hi = (float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"--within {text!r}: it takes two numbers, as 0,1") from None
    return lo, hi
