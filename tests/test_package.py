"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ogive

SRC = Path(ogive.__file__).parent
MODULES = sorted(SRC.rglob("*.py"))
HEAVY = ("sympy", "triton", "scipy", "matplotlib", "sklearn", "typer", "rich", "pandas", "ray", "joblib", "flint",
         "cvxpy", "onnx", "transformers", "tenseal")  # fmt: skip

# What each part of the house may import from the rest of it (design: arrows point one way).
LAYERS = [
    {"errors"},
    {"expr", "stable", "balls", "statistics", "outward", "intervals"},
    {"ops", "rewrite", "parse", "diff"},
    {"kernels", "breaks"},
    {"activation"},
    {"catalogue", "lookup", "references", "plugins", "cards", "user_code", "user_data"},
    {"derive"},
    {"layers"},
    {"surgery"},
    {"adapters", "bench", "speed", "certify", "probe", "verify"},
    {"gallery"},
    {"cli"},
]
RANK = {name: i for i, layer in enumerate(LAYERS) for name in layer}


def part(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def test_import_is_light():
    code = f"import ogive, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_using_the_catalogue_stays_light():
    # torch itself brings sympy in with its compiler; using an activation must not
    code = (
        "import torch, ogive, sys; ogive.Act('mish')(torch.randn(4, requires_grad=True)).sum().backward();"
        f"ogive.gain('mish'); ogive.latex('mish'); print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_every_public_name_resolves():
    for name in ogive.__all__:
        assert getattr(ogive, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ogive.nonsense


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_arrows_point_one_way(path):
    mine = part(path)
    if mine == "__init__":
        return
    tree = ast.parse(path.read_text())
    inside = {n for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ogive") and node not in inside:
            names = [node.module] if node.module != "ogive" else [f"ogive.{a.name}" for a in node.names]
        for name in names:
            other = name.split(".")[1] if "." in name else ""
            if other in RANK and other != mine:
                assert RANK[other] <= RANK[mine], f"{path.relative_to(SRC)}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_text_is_ever_executed(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{path}:{node.lineno}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & set(names), f"{path}:{node.lineno}"


def test_no_drawers():
    assert not [p for p in MODULES if p.stem in ("utils", "util", "helpers", "helper", "common", "misc")]


def test_the_readme_counts_what_there_is():
    readme = Path(__file__).parents[1] / "README.md"
    text = " ".join(readme.read_text(encoding="utf-8").split())
    entries = ogive.catalogue.entries().values()
    excepted = sum(bool(e.exceptions) for e in entries)
    assert f"a catalogue of {len(entries)} published activations" in text
    assert f"{len(ogive.cards.cards())} cards" in text
    assert f"{excepted} entries of {len(entries)} declare an exception" in text
