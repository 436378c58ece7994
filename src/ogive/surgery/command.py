"""The commands `ogive sites MODEL` and `ogive surgery VERB MODEL --data D`.

There is one grammar for all transforms: an option for every parameter of the transform's function that is a number, a
word or a switch, read off its signature. What the transforms share has the same name everywhere.
"""

from __future__ import annotations

import inspect
import json as json_
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ogive.errors import InputError, OgiveError
from ogive.surgery.transforms import TRANSFORMS, summary, transform

_PLAIN = (int, float, str, bool)
_SHARED = ("model", "data", "score")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from rich.console import Console

    try:
        yield
    except (OgiveError, OSError) as problem:
        what = f"cannot write {problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else problem
        Console(stderr=True, highlight=False).print(f"error: {what}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _say(text: str) -> None:
    from rich.console import Console

    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def sites(
    model: Annotated[str, typer.Argument(help="pkg.module:callable that returns the model.")],
    data: Annotated[str | None, typer.Option(help="pkg.module:callable that returns a batch or a loader.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Examples of the data to use.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the model's weights.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Also write all of it into this file.")] = None,
) -> None:
    """Where are my model's nonlinearities, what are they given, and what do they cost?

    Without data only activation modules are found; with it also functions, methods and operators in the code, what
    each is given, the share of inputs where it is flat, and its share of the time.
    """
    import torch

    from ogive.surgery.sites import Sites, modules_of
    from ogive.surgery.survey import survey
    from ogive.user_code import model_at
    from ogive.user_data import batches_at

    with _one_line_errors():
        torch.manual_seed(seed)
        net = model_at(model)
        if data is None:
            found: Any = Sites(tuple(modules_of(net)), ())
            hint = "\nModules only; --data pkg:load shows functions in the code too, and what each site is given."
        else:
            found, hint = survey(net, batches_at(data, net, examples)[0]), ""
        _say(repr(found) + hint)
        if json is not None:
            json.write_text(json_.dumps(found.to_dict(), indent=1), encoding="utf-8")


class _Verbs(TyperGroup):
    """The transforms as commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(TRANSFORMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        with _one_line_errors():
            transform(cmd_name)
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(cmd_name, help=summary(cmd_name))(_command(cmd_name))
        return typer.main.get_command(one)


surgery = typer.Typer(cls=_Verbs, no_args_is_help=True, help="Change the nonlinearities of a model; say what it did.")


@surgery.callback()
def _root() -> None:
    """Change the nonlinearities of a model that exists, and say what it bought."""


def _command(verb: str) -> Callable[..., None]:
    """A function whose signature is that of the command line."""
    options = plain_options(transform(verb))

    def run(**given: Any) -> None:
        with _one_line_errors():
            _run(verb, given)

    path = Annotated[str, typer.Argument(help="pkg.module:callable that returns the model.")]
    shared: dict[str, tuple[Any, Any]] = {
        "model": (path, inspect.Parameter.empty),
        "data": (Annotated[str, typer.Option(help="pkg.module:callable that returns a batch, a pair (x, labels) or a "
                                                  "loader.")], inspect.Parameter.empty),
        "examples": (Annotated[int, typer.Option(min=1, help="Examples of the data to use.")], 256),
        "score": (Annotated[str | None, typer.Option(help="pkg.module:function of the model: a number, or one for each "
                                                          "example.")], None),
        "out": (Annotated[Path | None, typer.Option(help="Also write the report: .html or .json.")], None),
        "save": (Annotated[Path | None, typer.Option(help="Write the changed model's state_dict.")], None),
    }  # fmt: skip
    said = documented(transform(verb))
    shared_words = documented(transform("swap"))
    said |= {k: shared_words[k] for k, text in said.items() if text.startswith("as of :func:`ogive.swap`")}
    own = {
        k: (Annotated[kind, typer.Option(help=said.get(k))], default)
        for k, (kind, default) in options.items()
        if k not in shared
    }
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in (shared | own).items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def documented(function: Callable[..., Any]) -> dict[str, str]:
    """What the ``Args`` of a docstring say of each parameter.

    >>> from ogive.surgery.swap import swap
    >>> documented(swap)["seed"]
    'of the sample of inputs.'
    """
    lines = (inspect.getdoc(function) or "").partition("Args:\n")[2].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if not line.startswith("    "):
            break
        word, colon, rest = line.strip().partition(": ")
        begins = line[4] != " " and colon
        names = word.split(", ") if begins else names
        for name in names:
            found[name] = f"{found.get(name, '')} {rest if begins else line.strip()}".strip().replace("``", "'")
    return found


def plain_options(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Name, type and default of the parameters that a command line can give; ``rules`` is written out as text.

    >>> from ogive.surgery.swap import swap
    >>> plain_options(swap)["fit"], "model" in plain_options(swap)
    ((<class 'str'>, 'keep'), False)
    """
    found: dict[str, tuple[Any, Any]] = {}
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints.get(name, Any)
        if name == "rules" or (kind is Any and isinstance(parameter.default, str)):
            kind = str
        if typing.get_origin(kind) in (typing.Union, types.UnionType):  # float | str | None: the first plain one
            plain = [k for k in typing.get_args(kind) if k in _PLAIN]
            kind = (plain[0] if len(plain) == 1 else str) | None if plain else kind
            if len(plain) == len(typing.get_args(kind)) == 0:
                continue
        bare = typing.get_args(kind)[0] if typing.get_origin(kind) is types.UnionType else kind
        if name in _SHARED or bare not in _PLAIN:
            continue
        found[name] = kind, parameter.default
    return found


def _run(verb: str, given: Mapping[str, Any]) -> None:
    import torch

    from ogive.user_code import imported, model_at
    from ogive.user_data import batches_at

    function = transform(verb)
    options = {k: v for k, v in given.items() if k in plain_options(function)}
    if options.get("rules") is not None:
        options["rules"] = rules_of(options["rules"])
    torch.manual_seed(given.get("seed", 0))
    model = model_at(given["model"])
    batches, labels = batches_at(given["data"], model, given["examples"])
    if "labels" in inspect.signature(function).parameters:
        if labels is None and inspect.signature(function).parameters["labels"].default is inspect.Parameter.empty:
            raise InputError(f"{verb} needs labels: let --data {given['data']!r} return a pair (x, labels)")
        options["labels"] = labels
    if given["score"] is not None:
        options["score"] = imported(given["score"])
    report = function(model, data=batches, **options)
    _say(repr(report))
    if given["out"] is not None:
        report.save(given["out"])
        _say(f"the report is in {given['out']}")
    if given["save"] is not None:
        torch.save(model.state_dict(), given["save"])
        _say(f"the state_dict is in {given['save']}")


def rules_of(text: str) -> Any:
    """Rules as words: one activation for all sites, or ``key=activation`` by commas; ``keep`` leaves a site.

    >>> rules_of("golu"), rules_of("gelu=hardswish, 2.*=keep")
    ('golu', {'gelu': 'hardswish', '2.*': None})
    """
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    pairs = [p.partition("=") for p in parts]
    if len(pairs) == 1 and not pairs[0][1]:
        return text.strip()
    bad = [p for p, (key, equals, value) in zip(parts, pairs) if not (key.strip() and equals and value.strip())]
    if bad:
        raise InputError(f"--rules {text!r}: {bad[0].strip()!r} is not of the form site=activation")
    return {k.strip(): None if v.strip() == "keep" else v.strip() for k, _, v in pairs}
