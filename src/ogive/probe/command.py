"""The command `ogive signal`."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ogive.errors import InputError, OgiveError

if TYPE_CHECKING:
    from ogive.probe.signal import Signal


def signal(
    model: Annotated[str, typer.Argument(help="pkg.module:callable that returns the model.")],
    data: Annotated[str | None, typer.Option(help="pkg.module:callable that returns a batch or a loader.")] = None,
    input_shape: Annotated[str | None, typer.Option(help="Or: shape of one random example, as 3,32,32.")] = None,
    examples: Annotated[int, typer.Option(min=2, help="Examples of the batch to use.")] = 32,
    mend: Annotated[bool, typer.Option("--mend/--no-mend", help="Try what would mend it.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the model's weights and all that is drawn.")] = 0,
    svg: Annotated[Path | None, typer.Option(help="Also draw the profile into this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Also write all of it into this file.")] = None,
) -> None:
    """How does my model carry signals and gradients, where does it break, which initialisation mends it?

    One forward and one backward run, by depth: mean square, correlation between inputs, gradient norm, measured and
    predicted. Exit status 0 when nothing breaks, 1 when something does, 2 for what cannot be run.
    """
    from rich.console import Console

    try:
        found = _look(model, data, input_shape, examples, mend, seed)
        Console(highlight=False).print(repr(found), markup=False, soft_wrap=True)
        if svg is not None:
            found.plot().save(svg)
        if json is not None:
            json.write_text(json_.dumps(found.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if found.breaks:
        raise typer.Exit(1)


def _look(name: str, data: str | None, shape: str | None, examples: int, mend: bool, seed: int) -> Signal:
    import torch

    from ogive.probe.signal import signal as look
    from ogive.user_code import made, model_at
    from ogive.user_data import from_data, from_shape

    if (data is None) == (shape is None):
        raise InputError(f"signal {name}: give --data pkg:load or --input-shape 3,32,32, and not both")
    torch.manual_seed(seed)
    model = model_at(name)
    if shape is not None:
        example: Any = from_shape(shape, examples, seed)
    else:
        assert data is not None
        example = from_data(made(data, "--data"), model, examples, data)
    try:
        return look(model, example, mend=mend, seed=seed)
    except OgiveError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        said = f"--input-shape {shape} ({examples} random examples)" if shape is not None else f"--data {data}"
        help_ = "; --data pkg:load can give it any input" if shape is not None else ""
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"{name} fails on {said} with {type(error).__name__}: {first}{help_}") from error
