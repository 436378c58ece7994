"""The command `ogive check`."""

from __future__ import annotations

import json as json_
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ogive.errors import InputError, OgiveError

if TYPE_CHECKING:
    from rich.console import Console

    from ogive.activation import Activation
    from ogive.certify.certificate import Certificate


def check(
    specs: Annotated[list[str] | None, typer.Argument(help="Names, formulas in x, pkg.module:callable.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every scalar entry of the catalogue.")] = False,
    points: Annotated[int | None, typer.Option(min=1, help="Inputs per dtype; by default every 16-bit one.")] = None,
    ulp: Annotated[float | None, typer.Option(help="Units in the last place allowed.")] = None,
    tails: Annotated[bool, typer.Option("--tails", help="Hold code to relative accuracy in its tails too.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Check again what was certified before.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes for --all; all CPUs by default.")] = None,
    write: Annotated[bool, typer.Option("--write", help="With --all: keep the results in the catalogue.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write all of it into this file.")] = None,
) -> None:
    """Is it right? Value, two derivatives, limits, NaN against exact arithmetic, on every 16-bit input.

    Exit status 0 when every law holds, 1 when one fails, 2 for what cannot be checked.
    """
    from rich.console import Console

    console = Console(highlight=False)
    try:
        if all == bool(specs):
            raise InputError("check takes what to check or --all: `ogive check mish`, `ogive check pkg:function`")
        if all:
            made = _everything(fresh, points, jobs, console)
            if write:
                _keep(made, points, console)
        else:
            made = dict(_each(specs or [], points, ulp, tails, fresh, console))
        if json is not None:
            json.write_text(json_.dumps({k: c.to_dict() for k, c in made.items()}, indent=1), encoding="utf-8")
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("\nStopped; what was finished is kept, and the same command goes on from there.")
        raise typer.Exit(130) from None
    if not _passed(made):
        raise typer.Exit(1)


def _passed(made: dict[str, Certificate]) -> bool:
    return not [c for c in made.values() if not c.passed]


def _each(
    specs: list[str], points: int | None, ulp: float | None, tails: bool, fresh: bool, console: Console
) -> Iterator[tuple[str, Certificate]]:
    from ogive.certify.run import check as run

    for spec in specs:
        plain = ":" not in spec and points is None and ulp is None and not tails
        found = _known(spec, fresh) if plain else None
        if found is None:
            with console.status(f"checking {spec[:60]}"):
                found = run(spec, points=points, ulp=ulp, tails=tails)
        console.print(str(found), markup=False, soft_wrap=True)
        yield spec, found


def _known(spec: str, fresh: bool) -> Certificate:
    from ogive.certify.run import check as run
    from ogive.certify.store import remember, remembered
    from ogive.certify.subject import subject

    act = subject(spec).act
    assert act is not None
    found = None if fresh else remembered(act)
    if found is None:
        found = run(act)
        if found.passed:  # what fails is looked at again
            remember(act, found)
    return found


def _everything(fresh: bool, points: int | None, jobs: int | None, console: Console) -> dict[str, Certificate]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ogive.catalogue import entries
    from ogive.certify.store import certificate, current

    scalar = {n: a for n, a in entries().items() if len(a.inputs) == 1}
    made = {}
    if not fresh:
        made = {n: c for n, a in scalar.items() if current(a) and (c := certificate(n)) is not None}
        if made:
            console.print(f"{len(made)} of {len(scalar)} were certified with this code before; --fresh repeats them")
    todo = [n for n in scalar if n not in made]
    columns = (TextColumn("{task.description:<28}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ProcessPoolExecutor(jobs or os.cpu_count(), get_context("spawn"), initializer=_one_thread)
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("checking", total=len(todo))
            waiting = {pool.submit(_one, n, points, fresh): n for n in todo}
            for done in as_completed(waiting):
                name = waiting[done]
                made[name] = done.result()
                bar.update(task, advance=1, description=name[:28])
                if not made[name].passed:
                    bar.console.print(str(made[name]), markup=False, soft_wrap=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    _summary(made, console)
    return made


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _one(name: str, points: int | None, fresh: bool) -> Certificate:
    from ogive.catalogue import lookup
    from ogive.certify.run import check as run
    from ogive.certify.store import remembered

    if points is None:
        return _known(name, fresh)
    return (None if fresh else remembered(lookup(name))) or run(name, points=points)


def _summary(made: dict[str, Certificate], console: Console) -> None:
    excepted: dict[str, list[str]] = {}
    for name, c in sorted(made.items()):
        for reason in dict.fromkeys(f.excepted for f in c.exceptions):
            excepted.setdefault(reason, []).append(name)
    failed = sorted(n for n, c in made.items() if not c.passed)
    some = len({n for names in excepted.values() for n in names})
    console.print(f"{len(made) - len(failed)} of {len(made)} entries pass, {some} of them with declared exceptions")
    for reason, names in excepted.items():
        console.print(f"  {', '.join(names)}: {reason}", markup=False)
    if failed:
        console.print(f"fail: {', '.join(failed)}", markup=False)


def _keep(made: dict[str, Certificate], points: int | None, console: Console) -> None:
    import ogive.catalogue
    from ogive.catalogue import lookup
    from ogive.certify.digest import numerics
    from ogive.certify.store import remembered, row, shipped, write

    path = Path(ogive.catalogue.__file__).with_name("certificates.tsv")
    old: dict[str, Any] = dict(shipped())
    rows = {}
    for name, certificate in made.items():
        act = lookup(name)
        if certificate.passed and _same(old.get(name), act):
            rows[name] = old[name]
        elif certificate.passed:
            rows[name] = row(act, certificate, numerics(), None if remembered(act) else points)
    write(rows, path)
    console.print(f"wrote {len(rows)} certificates into {path}", soft_wrap=True)


def _same(old: Any, act: Activation) -> bool:
    from ogive.certify.store import current

    return old is not None and current(act)
