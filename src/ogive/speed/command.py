"""The command `ogive speed`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ogive.errors import InputError, OgiveError

if TYPE_CHECKING:
    from rich.console import Console

    from ogive.speed.run import Request

_QUICK = 0.1  # seconds of a group when every entry of the catalogue is timed


def speed(
    specs: Annotated[list[str] | None, typer.Argument(help="Names or formulas in x; twelve by default.")] = None,
    dtypes: Annotated[str | None, typer.Option(help="float32, bfloat16, float16, float64; by commas.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Elements, by commas: 100,1e6,2e7.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all.")] = 1,
    compile: Annotated[bool, typer.Option("--compile", help="Also torch.compile; seconds a function.")] = False,
    all: Annotated[bool, typer.Option("--all", help="Every scalar entry, and the share inside each target.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Measuring time of a group; 0.5, with --all 0.1.")] = None,
    json: Annotated[Path | None, typer.Option(help="Also write all of it into this file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Also draw a roofline into this file.")] = None,
    allocator: Annotated[bool, typer.Option("--allocator", help="Time glibc's settings instead.")] = False,
) -> None:
    """How far is each activation from this machine's limit, and from torch's own?

    Multiples of a copy (forward) and of a three-stream add (backward), against torch native, the textbook
    formula and, with --compile, torch.compile of it. Figures of one run are comparable, those of two are not.
    """
    from rich.console import Console

    console = Console(highlight=False)
    try:
        if allocator:
            unused = ("SPECS", specs), ("--all", all), ("--compile", compile), ("--svg", svg), ("--sizes", sizes)
            _refuse("--allocator", [name for name, given in unused if given])
            stopped = _allocator(seconds or 1.0, json, console)
        else:
            stopped = _times(_request(specs, dtypes, sizes, device, threads, compile, all, seconds), json, svg, console)
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if stopped:
        raise typer.Exit(130)


def _refuse(option: str, unused: list[str]) -> None:
    if unused:
        raise InputError(f"{option} chooses for itself what it times; leave out {', '.join(unused)}")


def whole(text: str) -> int:
    """A size as people write it.

    Raises InputError.

    >>> whole("1e6"), whole("1_000")
    (1000000, 1000)
    """
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"size {text.strip()!r}: it takes a whole number of elements, such as 100 or 1e6") from None
    return int(value)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _request(
    specs: list[str] | None, dtypes: str | None, sizes: str | None, device: str, threads: int, compile: bool,
    all: bool, seconds: float | None,
) -> Request:  # fmt: skip
    from ogive.speed.run import Request

    given: dict[str, Any] = {"device": device, "threads": threads, "compile": compile}
    if all:
        from ogive.catalogue import entries

        _refuse("--all", ["SPECS"] if specs else [])
        given["specs"] = tuple(sorted(str(e.name) for e in entries().values() if len(e.inputs) == 1))
        given |= {"dtypes": ("float32", "bfloat16"), "sizes": (1_000_000, 20_000_000), "seconds": _QUICK}
        given["directions"] = ("forward", "backward")
    if specs:
        given["specs"] = tuple(dict.fromkeys(specs))
    if dtypes is not None:
        given["dtypes"] = _parts(dtypes)
    if sizes is not None:
        given["sizes"] = tuple(dict.fromkeys(whole(part) for part in _parts(sizes)))
    if seconds is not None:
        given["seconds"] = seconds
    return Request(**given)


def _times(request: Request, json: Path | None, svg: Path | None, console: Console) -> bool:
    from ogive.speed.progress import Watch
    from ogive.speed.roofline import roofline
    from ogive.speed.run import run
    from ogive.speed.table import SMALL, show

    if svg is not None and max(request.sizes) < SMALL:
        raise InputError(f"--svg {svg}: a roofline needs sizes of at least {SMALL}; got {max(request.sizes)}")
    for path in filter(None, (json, svg)):
        _writable(path)
    with Watch(console, request.groups) as watch:
        report = run(request, watch, shlex.join(["ogive", *sys.argv[1:]]))
    show(report, console)
    if json is not None:
        console.print(report.save(json), soft_wrap=True)
    if svg is not None and any(r.size >= SMALL and r.direction != "both" for r in report.rows):
        console.print(roofline(report).save(svg), soft_wrap=True)
    return report.stopped


def _writable(path: Path) -> None:
    """Find out now, not after ten minutes of measuring."""
    new = not path.exists()
    with path.open("a"):
        pass
    if new:
        path.unlink()


def _allocator(seconds: float, json: Path | None, console: Console) -> bool:
    from json import dumps

    from ogive.speed.allocator import WAYS, compare
    from ogive.speed.table import allocator_table

    if json is not None:
        _writable(json)
    found = compare(seconds, lambda way: console.print(f"timing: {WAYS[way]}", style="dim"))
    console.print()
    console.print(allocator_table(found))
    for way, setting in WAYS.items():
        console.print(f"{way}: {setting}", style="dim", soft_wrap=True)
    if json is not None:
        json.write_text(dumps({"schema": 1, "allocator": [f.to_dict() for f in found]}, indent=1) + "\n")
        console.print(json, soft_wrap=True)
    return len(found) < len(WAYS)
