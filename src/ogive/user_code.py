"""What a user names on a command line as ``package.module:attribute``: found, made, and held to be what it should."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import torch
from torch import nn

from ogive.errors import InputError


def imported(path: str) -> Any:
    """The object at ``package.module:attribute``, a module class made; the working directory is searched too.

    Raises InputError for what cannot be imported or made.
    """
    module, _, attribute = path.partition(":")
    here = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot import {path!r}: {error}; it takes package.module:attribute") from None
    finally:
        sys.path.remove(here)
    if isinstance(found, type) and issubclass(found, nn.Module):
        try:
            return found()
        except TypeError as error:
            raise InputError(f"{path!r} is a class that cannot be made without arguments: {error}; "
                             "name a function that returns one") from None  # fmt: skip
    return found


def made(path: str, what: str) -> Any:
    """What the callable at ``path`` returns; a module, a tensor and a collection are there already.

    ``what`` is the word of the command line that is at fault where it fails, such as ``MODEL``.
    """
    if ":" not in path:
        raise InputError(f"{what} {path!r}: it takes package.module:callable, such as mymodels:make_model")
    found = imported(path)
    if isinstance(found, (nn.Module, torch.Tensor, tuple, list, dict)) or not callable(found):
        return found
    try:
        return found()
    except TypeError as error:
        raise InputError(f"{what} {path!r} cannot be called without arguments: {error}") from error


def model_at(path: str) -> nn.Module:
    """The model that the callable at ``path`` returns. Raises InputError for anything else."""
    found = made(path, "MODEL")
    if not isinstance(found, nn.Module):
        raise InputError(f"{path!r} gives {type(found).__name__}: {str(found)[:60]!r}; it takes a callable that "
                         "returns an nn.Module")  # fmt: skip
    return found
