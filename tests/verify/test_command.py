"""The command `ogive verify` and the public names of the package."""

from __future__ import annotations

import importlib
import json
import textwrap

import pytest
from typer.testing import CliRunner

import ogive
from ogive.cli import app

MODELS = """
    import torch
    from torch import nn

    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 3))

    def pair():
        torch.manual_seed(1)
        x = torch.rand(6, 4)
        return x, model()(x).argmax(1)

    def wrong():
        x, y = pair()
        return x, (y + 1) % 3

    number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "verify_models.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, ["verify", *words])


def test_what_is_proved_ends_with_0_and_is_written_down(here):
    result = call("verify_models:model", "verify_models:pair", "--eps", "1e-5", "--within", "0,1", "--json", "v.json")
    assert result.exit_code == 0, result.output
    assert json.loads((here / "v.json").read_text())["verified"] == 1.0
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_what_is_false_ends_with_1(here):
    result = call("verify_models:model", "verify_models:wrong", "--eps", "1e-5", "--method", "ibp")
    assert result.exit_code == 1, result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify_models", "verify_models:pair", "--eps", "0.1"), "'verify_models'"),
        (("verify_models:number", "verify_models:pair", "--eps", "0.1"), "gives int"),
        (("verify_models:model", "verify_models:pair", "--eps=-1"), "-1"),
        (("verify_models:model", "verify_models:pair", "--eps", "0.1", "--within", "low"), "'low'"),
        (("verify_models:model", "verify_models:pair", "--eps", "0.1", "--norm", "two"), "'two'"),
        (("verify_models:model", "verify_models:number", "--eps", "0.1"), "verify_models:number"),
    ],
)
def test_what_is_wrong_is_quoted_and_ends_with_2(here, words, said):
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_a_name_stays_a_function_once_its_module_is_imported():
    for name, home in ogive.verify._HOMES.items():
        importlib.import_module(f"ogive.verify.{home}")
        assert callable(getattr(ogive.verify, name))
        assert home != name
