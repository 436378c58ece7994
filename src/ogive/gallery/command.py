"""`ogive gallery`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ogive.errors import InputError, OgiveError


def gallery(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the site.")] = Path("ogive-gallery"),
    only: Annotated[str | None, typer.Option(help="Names of entries, by commas; all by default.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; all CPUs by default.")] = None,
) -> None:
    """A page for every activation: a static site to search, compare and play with, offline.

    A second run makes only what changed. Open index.html in a browser; nothing is loaded from anywhere.
    """
    from rich.console import Console

    console = Console(highlight=False)
    try:
        names = _names(only)
        built = _build(out, names, jobs or os.cpu_count() or 1, console)
    except KeyboardInterrupt:
        console.print(f"\nStopped; the finished pages are in {out}. The same command goes on.", soft_wrap=True)
        raise typer.Exit(130) from None
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    pages = built.made + built.kept
    console.print(
        f"{pages} entries ({built.made} made, {built.kept} unchanged), {built.size / 1e6:.1f} MB, "
        f"{built.seconds:.0f} s", soft_wrap=True,
    )  # fmt: skip
    console.print(str(built.out / "index.html"), soft_wrap=True, markup=False)
    for name, why in built.failed.items():
        Console(stderr=True, highlight=False).print(f"no page for {name}: {why}", style="red", markup=False,
                                                    soft_wrap=True)  # fmt: skip
    if built.failed:
        raise typer.Exit(1)


def _names(only: str | None) -> tuple[str, ...]:
    if only is None:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in only.split(",") if part.strip()))
    if not names:
        raise InputError(f"--only {only!r} names no entry; write names by commas, such as gelu,relu")
    return names


def _build(out: Path, names: tuple[str, ...], jobs: int, console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ogive.gallery.site import build

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)

        def watch(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        return build(out, names, jobs, watch)
