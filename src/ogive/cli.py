"""The command line: the main job, what is said of one activation, and the commands that live beside what they run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ogive.certify.command import check
from ogive.derive.emit.command import emit
from ogive.errors import OgiveError
from ogive.gallery.command import gallery
from ogive.probe.command import signal
from ogive.speed.command import speed
from ogive.surgery.command import sites, surgery
from ogive.verify.command import verify

app = typer.Typer(
    name="ogive",
    help="Activation functions as first-class objects.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(speed)
app.command()(check)
app.command()(emit)
app.command()(gallery)
app.command()(signal)
app.command()(sites)
app.command()(verify)
app.add_typer(surgery, name="surgery")


@app.callback()
def _root() -> None:
    """Activation functions as first-class objects."""


@app.command()
def compare(
    acts: Annotated[str | None, typer.Option(help="Names, formulas in x, pkg:attr; by commas.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Built-in tasks, by commas; all by default.")] = None,
    model: Annotated[str | None, typer.Option(help="Your pkg:make_model(act).")] = None,
    data: Annotated[str | None, typer.Option(help="Your pkg:load_data().")] = None,
    task: Annotated[str | None, typer.Option(help="Your pkg:TASK, a TaskSpec.")] = None,
    profile: Annotated[str | None, typer.Option(help="quick (minutes) or full (hours).")] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired test seeds.")] = None,
    tune_seeds: Annotated[int | None, typer.Option(help="Seeds for choosing the learning rate.")] = None,
    lrs: Annotated[str | None, typer.Option(help="Learning rates to try, by commas.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each trial.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Examples in a step.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Shifts every seed.")] = None,
    gain: Annotated[bool | None, typer.Option("--gain/--no-gain", help="Weights by the activation's gain.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; all CPUs by default.")] = None,
    on: Annotated[str | None, typer.Option(help="ray, or ray://host:port.")] = None,
    out: Annotated[Path, typer.Option(help="Directory of the results.")] = Path("ogive-compare"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --out holds.")] = False,
) -> None:
    """Which activation should I use here? Trains each one fairly and says what can be told apart.

    Without arguments: six activations on six small tasks of real data, under five minutes on two cores.
    """
    from rich.console import Console

    from ogive.bench.engines import engine_for
    from ogive.bench.run import prepare

    console = Console(highlight=False)
    given: dict[str, Any] = {
        "acts": acts, "tasks": tasks, "model": model, "data": data, "task": task, "profile": profile,
        "seeds": seeds, "tune_seeds": tune_seeds, "lrs": lrs, "steps": steps, "batch": batch,
        "seed": seed, "gain": gain,
    }  # fmt: skip
    request = {name: value for name, value in given.items() if value is not None}
    command = shlex.join(["ogive", *sys.argv[1:]])
    go_on = shlex.join(["ogive", "compare", "--out", str(out), "--resume"])
    try:
        engine = engine_for(on, jobs)
        experiment = prepare(request, out, resume=resume, command=command, engine=engine)
        _run(experiment, engine, console)
    except KeyboardInterrupt:
        console.print(f"\nStopped; every finished trial is in {out}. Go on with:\n  {go_on}", soft_wrap=True)
        raise typer.Exit(130) from None
    except OgiveError as problem:
        stderr = Console(stderr=True, highlight=False)
        stderr.print(f"error: {problem}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _run(experiment: Any, engine: Any, console: Any) -> None:
    from ogive.bench.outputs import write
    from ogive.bench.report import render
    from ogive.bench.stats import analyse
    from ogive.bench.terminal import Watch, summary

    plan = experiment.plan
    infos = plan.infos()
    counts = ((len(plan.acts), "activation"), (len(plan.tasks), "task"), (plan.total, "trial"))
    shown = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts)
    console.print(f"{shown} on {engine.name}, results in {experiment.out}")
    with Watch(console, plan.total, infos) as watch:
        results = experiment.run(engine, watch)
    analysis = analyse(results)
    files = write(results, analysis, render(results, analysis), experiment.out)
    summary(results, analysis, files, console)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What the user got wrong becomes a message and exit code 2, without a traceback."""
    from rich.console import Console

    try:
        yield
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


@app.command()
def describe(
    spec: Annotated[str, typer.Argument(help="A name, or a formula in x.")],
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw it into this SVG file.")] = None,
) -> None:
    """Everything known of one activation: formula, limits, shape, gain, cost, source."""
    from json import dumps

    from ogive.cards import known
    from ogive.derive.describe import describe as look_at
    from ogive.derive.plot import plot as draw

    with _one_line_errors():
        found: Any = known(spec) or look_at(spec)
        if plot is not None:
            draw(spec).save(plot)
    _print_sheet(dumps(found.to_dict(), indent=2, ensure_ascii=False) if json else str(found), plain=json)


@app.command()
def find(
    formula: Annotated[str, typer.Argument(help="A formula in x, a name, or pkg.module:callable.")],
    most: Annotated[int, typer.Option("-k", min=1, help="Matches to show.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Is this formula published, perhaps with other parameters, scaled or shifted?"""
    from json import dumps

    from ogive.derive.find import find as search
    from ogive.user_code import imported

    with _one_line_errors():
        found = search(imported(formula) if ":" in formula else formula, k=most)
    _print_sheet(dumps(found.to_dict(), indent=2, ensure_ascii=False) if json else repr(found), plain=True)


@app.command()
def names(family: Annotated[str | None, typer.Option(help="Only this family.")] = None) -> None:
    """All entries of the catalogue, family by family."""
    from ogive.catalogue import entries
    from ogive.errors import UnknownName

    families: dict[str, list[str]] = {}
    for entry in entries().values():
        families.setdefault(str(entry.family), []).append(str(entry.name))
    with _one_line_errors():
        if family is not None and family not in families:
            raise UnknownName(f"no family is called {family!r}; there are {', '.join(sorted(families))}")
    _print_names({f: sorted(families[f]) for f in sorted(families) if family in (None, f)})


@app.command()
def plot(
    specs: Annotated[list[str], typer.Argument(help="Names or formulas in x, up to eight.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The SVG file.")] = Path("plot.svg"),
    derivatives: Annotated[int, typer.Option(min=0, max=3, help="Highest derivative to draw.")] = 1,
    lo: Annotated[float, typer.Option(help="Left end.")] = -5.0,
    hi: Annotated[float, typer.Option(help="Right end.")] = 5.0,
    theme: Annotated[str, typer.Option(help="auto, light or dark.")] = "auto",
) -> None:
    """Draw activations and their derivatives into an SVG file."""
    from ogive.derive.plot import plot as draw

    with _one_line_errors():
        draw(specs, derivatives=derivatives, lo=lo, hi=hi, theme=theme).save(out)
    typer.echo(out)


def _print_sheet(sheet: str, plain: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text(sheet)
    if not plain:
        text.highlight_regex(r"\A\S+", "bold")
        text.highlight_regex(r"(?m)^  [A-Za-z]\S*(?: \S+)?(?=  )", "bold")
    Console(highlight=False).print(text, soft_wrap=True)


def _print_names(families: Mapping[str, Sequence[str]]) -> None:
    """Columns under family headings on a terminal, one name a line in a pipe."""
    from rich.columns import Columns
    from rich.console import Console
    from rich.padding import Padding

    console = Console(highlight=False)
    for family, members in families.items():
        if console.is_terminal:
            console.print(f"[bold]{family.replace('_', ' ')}[/] ({len(members)})")
            console.print(Padding(Columns(members, column_first=True, padding=(0, 2)), (0, 0, 1, 2)))
        else:
            console.print("\n".join(members), soft_wrap=True)


def main() -> None:
    """The entry point of the `ogive` command."""
    app()


if __name__ == "__main__":
    main()
