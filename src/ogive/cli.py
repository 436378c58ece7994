"""The command line: `ogive compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ogive.errors import OgiveError

app = typer.Typer(
    name="ogive",
    help="Activation functions as first-class objects.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    gain: Annotated[
        bool | None, typer.Option("--gain/--no-gain", help="Weights by the activation's gain.")
    ] = None,
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
    console.print(
        f"{len(plan.acts)} activations, {len(plan.tasks)} task{'s' * (len(plan.tasks) > 1)}, "
        f"{plan.total} trials on {engine.name}, results in {experiment.out}"
    )
    with Watch(console, plan.total, infos) as watch:
        results = experiment.run(engine, watch)
    analysis = analyse(results)
    files = write(results, analysis, render(results, analysis), experiment.out)
    summary(results, analysis, files, console)


def main() -> None:
    """The entry point of the `ogive` command."""
    app()


if __name__ == "__main__":
    main()
