"""From what the user wrote in `--acts` to a factory of modules and its gain."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ogive
from ogive.errors import InputError, ParameterError


@dataclass(frozen=True)
class Candidate:
    """An activation in the experiment.

    Args:
        text: what the user wrote.
        make: makes one module; the argument is the number of channels or None.
        gain: 1 / sqrt(E f(z)^2) for a standard normal z.
    """

    text: str
    make: Callable[[int | None], nn.Module]
    gain: float


def split_acts(text: str) -> tuple[str, ...]:
    """Cut a list at its commas, those inside parentheses excepted.

    Raises:
        ParameterError: when the list is empty or names one activation twice.

    >>> split_acts("relu, maximum(x, 0.1*x), golu")
    ('relu', 'maximum(x, 0.1*x)', 'golu')
    """
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    acts = tuple(part.strip() for part in parts if part.strip())
    if not acts:
        raise ParameterError(f"--acts {text!r} names no activation")
    twice = sorted({act for act in acts if acts.count(act) > 1})
    if twice:
        raise ParameterError(f"--acts names {', '.join(twice)} twice")
    return acts


def load_object(reference: str) -> Any:
    """The object at `package.module:attribute`, looked for in the current folder too.

    Raises:
        ParameterError: when the text has no colon, or the module has no such attribute.
    """
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise ParameterError(f"{reference!r} is not of the form package.module:attribute")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = importlib.import_module(module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ParameterError(f"{reference!r}: module {module!r} has no {part!r}")
        found = getattr(found, part)
    return found


def candidate(text: str, *, with_gain: bool = True) -> Candidate:
    """The activation named by `text`.

    Args:
        text: a name of the catalogue, a formula in x, or package.module:attribute, which is an
            `ogive.Activation`, an nn.Module class, or a function that returns a module (called with
            `channels=` when it takes that argument).
        with_gain: whether to compute the gain; without it the gain is 1.

    Raises:
        UnknownName: with the three closest names.
        FormulaError: when a formula cannot be read.
        ParameterError: when the activation takes two inputs or its gain is not a positive number.
    """
    if ":" in text:
        made = load_object(text)
        if not isinstance(made, ogive.Activation):
            return _from_callable(text, made, with_gain)
        activation = made
    else:
        activation = ogive.get(text)
    if len(activation.inputs) != 1:
        raise ParameterError(
            f"{text!r} takes the inputs {', '.join(activation.inputs)}: compare needs activations of one input"
        )
    gain = _checked(text, float(ogive.gain(activation))) if with_gain else 1.0
    return Candidate(text, lambda channels: ogive.Act(activation, channels=channels), gain)


def _from_callable(text: str, made: Any, with_gain: bool) -> Candidate:
    if not callable(made):
        raise InputError(f"{text!r} is {made!r}: neither an activation nor something that returns a module")
    takes_channels = "channels" in inspect.signature(made).parameters

    def make(channels: int | None) -> nn.Module:
        module = made(channels=channels) if takes_channels else made()
        if not isinstance(module, nn.Module):
            raise InputError(f"{text!r} returned {type(module).__name__}, not an nn.Module")
        return module

    return Candidate(text, make, _checked(text, sampled_gain(make)) if with_gain else 1.0)


def sampled_gain(make: Callable[[int | None], nn.Module]) -> float:
    """1 / sqrt(E f(z)^2) of a module, for functions that are not a formula.

    The trapezoid rule on [-8, 8]: its error falls faster than any power of the step for smooth f
    and is below 1e-6 at a kink; the mass beyond 8 is 1e-15.
    """
    z = torch.linspace(-8, 8, 16001, dtype=torch.float64)
    weight = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        module = make(None).double().eval()
        second_moment = float((weight * module(z).double().square()).sum())
    return 1 / math.sqrt(second_moment) if second_moment > 0 else math.inf


def _checked(text: str, gain: float) -> float:
    if not (math.isfinite(gain) and gain > 0):
        raise ParameterError(
            f"the gain of {text!r} is {gain}: its second moment under a normal input is zero or infinite; "
            "--no-gain compares it without gain correction"
        )
    return gain
