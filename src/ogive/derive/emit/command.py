"""The command `ogive emit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogive.errors import InputError, OgiveError, ParameterError

if TYPE_CHECKING:
    from ogive.derive.emit.fixed import Fixed


def emit(
    name: Annotated[str, typer.Argument(help="A name or a formula in x.")],
    target: Annotated[
        str, typer.Argument(help="latex, numpy, pytorch, jax, c, c-fixed, triton, onnx, matlab, julia, glsl.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write into this file; .onnx writes the model's bytes.")] = None,
    derivative: Annotated[int, typer.Option(help="Order of the derivative, 0 to 4.")] = 0,
    function: Annotated[str | None, typer.Option(help="What the function is called.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Arithmetic inside: float64 or float32.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="key=number; once for each parameter.")] = None,
    numbers: Annotated[bool, typer.Option("--numbers", help="Write parameters in as numbers.")] = False,
    word: Annotated[int | None, typer.Option(help="c-fixed: bits of a number; 16.")] = None,
    fraction: Annotated[int | None, typer.Option(help="c-fixed: bits after the point; 12.")] = None,
    out_fraction: Annotated[int | None, typer.Option(help="c-fixed: the same for the output.")] = None,
    low: Annotated[float | None, typer.Option(help="c-fixed: least input.")] = None,
    high: Annotated[float | None, typer.Option(help="c-fixed: largest input.")] = None,
    degree: Annotated[int | None, typer.Option(help="c-fixed: of the polynomials, 0 to 2; 1.")] = None,
    error: Annotated[float | None, typer.Option(help="c-fixed: goal in units of the last place; 1.")] = None,
    entries: Annotated[int | None, typer.Option(help="c-fixed: most numbers in the table; 4096.")] = None,
) -> None:
    """The function in another language, ready to be used without Ogive."""
    from rich.console import Console

    from ogive.derive.emit.targets import emit as text_of

    given = {"word": word, "fraction": fraction, "out_fraction": out_fraction, "low": low, "high": high,
             "degree": degree, "error": error, "entries": entries}  # fmt: skip
    try:
        values = _parameters(param or [])
        if out is not None and out.suffix == ".onnx":
            out.write_bytes(_bytes(name, target, derivative, function, dtype, numbers, values))
            return
        text = text_of(name, target, derivative=derivative, name=function, dtype=dtype, numbers=numbers,
                       fixed=_fixed({k: v for k, v in given.items() if v is not None}), **values)  # fmt: skip
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8")
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _parameters(pairs: list[str]) -> dict[str, float]:
    """``key=number`` pairs.

    >>> _parameters(["beta=2"])
    {'beta': 2.0}
    """
    values: dict[str, float] = {}
    for pair in pairs:
        key, sign, number = pair.partition("=")
        try:
            values[key.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise ParameterError(f"--param {pair!r}: it takes key=number, such as beta=1.5")
        if key.strip() in ("derivative", "name", "dtype", "numbers", "fixed"):
            raise ParameterError(f"--param {pair!r}: {key.strip()} is an option, not a parameter of a formula")
    return values


def _fixed(given: dict[str, int | float | None]) -> Fixed | None:
    from ogive.derive.emit.fixed import Fixed

    return Fixed(**given) if given else None  # type: ignore[arg-type]


def _bytes(
    name: str, target: str, derivative: int, function: str | None, dtype: str | None, numbers: bool,
    values: dict[str, float],
) -> bytes:  # fmt: skip
    from ogive.derive.emit.for_onnx import onnx_model

    if target != "onnx":
        raise InputError(f"--out with the ending .onnx holds an ONNX model; the target is {target!r}")
    model = onnx_model(name, derivative=derivative, name=function, dtype=dtype or "float64", numbers=numbers, **values)
    made: bytes = model.SerializeToString()
    return made
