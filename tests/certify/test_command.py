"""`ogive check` as a program: exit status, sheets, the store, what goes wrong."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import ogive
from ogive.certify import store
from ogive.certify.digest import digest
from ogive.cli import app

pytest.importorskip("flint")
runner = CliRunner()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    import ogive.kernels.build as build

    libraries = build.cache_dirs()
    monkeypatch.setattr(store, "cache_dirs", lambda: [tmp_path / "cache"])
    assert libraries == build.cache_dirs()


def test_pass_and_fail_set_the_status(tmp_path, monkeypatch):
    (tmp_path / "mine_to_check.py").write_text("import torch\ndef f(x):\n    return torch.log(1 + torch.exp(x))\n")
    monkeypatch.chdir(tmp_path)
    good = runner.invoke(app, ["check", "x*tanh(x)", "--points", "60"])
    assert good.exit_code == 0 and "passes" in good.output
    out = tmp_path / "found.json"
    bad = runner.invoke(app, ["check", "mine_to_check:f", "--points", "60", "--json", str(out)])
    assert bad.exit_code == 1 and "FAILS" in bad.output and "softplus(x)" in bad.output
    told = json.loads(out.read_text())["mine_to_check:f"]
    assert told["passed"] is False and told["formula"] == "log(exp(x) + 1)"


def test_a_certificate_is_remembered_until_the_formula_changes(monkeypatch):
    act = ogive.get("softsign")
    made = ogive.check(act, points=50)
    store.remember(act, made)
    assert str(store.remembered(act)) == str(made)
    assert store.remembered(ogive.get("tanh")) is None
    monkeypatch.setattr(store, "numerics", lambda: "0" * 16)
    assert store.remembered(act) is None


def test_a_damaged_file_is_made_anew(tmp_path):
    act = ogive.get("softsign")
    store.remember(act, ogive.check(act, points=50))
    (path,) = (tmp_path / "cache" / "certificates").iterdir()
    path.write_text(path.read_text()[:100])
    assert store.remembered(act) is None


def test_rows_are_written_and_read_back(tmp_path):
    act = ogive.get("softsign")
    made = ogive.check(act, points=50)
    path = tmp_path / "certificates.tsv"
    store.write({"softsign": store.row(act, made, "f" * 16)}, path)
    name, kept = path.read_text().splitlines()[1].split("\t")[:2]
    assert (name, kept) == ("softsign", digest(act))


def test_a_changed_formula_has_another_digest():
    one = ogive.define("x*tanh(x)")
    assert digest(one) == digest(ogive.define("x*tanh(x)"))
    others = (ogive.define("x*tanh(2*x)"), ogive.define("x*tanh(b*x)", params={"b": 1.0}))
    assert len({digest(one), *map(digest, others)}) == 3
    assert digest(others[1]) != digest(others[1].with_params(b=2.0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "takes what to check or --all"),
        (["check", "mish", "--all"], "takes what to check or --all"),
        (["check", "x*tanhh(x)"], "tanhh"),
        (["check", "gleu"], "gelu"),
        (["check", "os:path"], "is a module"),
    ],
)
def test_errors_are_one_line(arguments, said):
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
