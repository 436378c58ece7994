"""The command `ogive signal`: what it takes, prints and writes, and its errors."""

from __future__ import annotations

import json
import textwrap

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from ogive.cli import app
from ogive.errors import InputError, ParameterError
from ogive.user_data import from_data, from_shape

MODELS = """
    import torch
    from torch import nn

    def deep():
        return nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(32, 32), nn.Tanh())], nn.Linear(32, 4))

    def fine():
        return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))

    class Made(nn.Linear):
        def __init__(self):
            super().__init__(32, 4)

    ready = fine()
    number = 3

    def loader():
        return [(torch.rand(50, 32), torch.arange(50))]

    def tokens():
        return torch.arange(40).reshape(4, 10)

    def nothing():
        return []

    def needs(width):
        return nn.Linear(width, 2)

    def embedded():
        return nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 50))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "signal_models.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, ["signal", *words])


def test_a_broken_model_exits_with_one_and_writes_both_files(here):
    result = call("signal_models:deep", "--input-shape", "32", "--svg", "a.svg", "--json", "a.json")
    assert result.exit_code == 1, result.output
    assert "the gradient vanishes" in result.stdout and "What mends it: init_(model, x)" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    read = json.loads((here / "a.json").read_text())
    assert read["best"] == "init_(model, x)" and len(read["layers"]) == 21
    assert (here / "a.svg").read_text().startswith("<svg")


def test_no_mend_tries_nothing(here):
    assert "tried on a copy" not in call("signal_models:deep", "--input-shape", "32", "--no-mend").stdout


@pytest.mark.parametrize("words", [
    ("signal_models:fine", "--data", "signal_models:loader", "--examples", "7"),
    ("signal_models:ready", "--input-shape", "32", "--examples", "7"), ("signal_models:Made", "--input-shape", "32", "--examples", "7"),
])  # fmt: skip
def test_functions_modules_and_classes_give_models(here, words):
    result = call(*words)
    assert result.exit_code == 0 and "7 examples" in result.stdout, result.output


def test_whole_numbers_go_into_an_embedding(here):
    result = call("signal_models:embedded", "--data", "signal_models:tokens")
    assert result.exit_code == 0 and "4 examples" in result.stdout, result.output


def test_the_seed_is_that_of_the_weights(here):
    one, same, other = (call("signal_models:fine", "--input-shape", "32", "--seed", s).stdout for s in "112")
    assert one == same != other


@pytest.mark.parametrize(("words", "says"), [
    (("signal_models:fine",), "give --data pkg:load or --input-shape"),
    (("signal_models", "--input-shape", "32"), "MODEL 'signal_models': it takes package.module:callable"),
    (("signal_models:fine", "--data", "load"), "--data 'load': it takes package.module:callable"),
    (("signal_models:none", "--input-shape", "32"), "cannot import 'signal_models:none'"),
    (("signal_models:number", "--input-shape", "32"), "'signal_models:number' gives int: '3'"),
    (("signal_models:needs", "--input-shape", "32"), "'signal_models:needs' cannot be called without arguments"),
    (("signal_models:fine", "--input-shape", "3,-2"), "--input-shape '3,-2': it takes the shape of one example"),
    (("signal_models:fine", "--input-shape", "31"), "signal_models:fine fails on --input-shape 31"),
    (("signal_models:fine", "--data", "signal_models:nothing"), "it gives no batch"),
    (("signal_models:fine", "--data", "signal_models:needs"), "cannot be called without arguments"),
    (("signal_models:fine", "--input-shape", "32", "--svg", "no/where.svg"), "cannot write no/where.svg"),
])  # fmt: skip
def test_errors_quote_what_was_written(here, words, says):
    result = call(*words)
    assert result.exit_code == 2 and says in " ".join(result.stderr.split()), result.output


def test_shapes_are_read():
    assert from_shape("3,8,8", 2).shape == from_shape("3x8x8", 2).shape == (2, 3, 8, 8)
    for text in ("", "0", "a", "3,,2", "2.5"):
        with pytest.raises(ParameterError, match="--input-shape"):
            from_shape(text, 2)


def test_batches_are_cut_and_labels_left_out():
    class Two(nn.Module):
        def forward(self, x, mask):
            return x

    x, y = torch.randn(9, 4), torch.arange(9)
    assert from_data((x, y), nn.Linear(4, 2), 5, "d").shape == (5, 4)
    both = from_data((x, y), Two(), 5, "d")
    assert isinstance(both, tuple) and [len(b) for b in both] == [5, 5]
    named = from_data({"x": x, "scale": 2.0}, nn.Linear(4, 2), 5, "d")
    assert named["x"].shape == (5, 4) and named["scale"] == 2.0
    assert from_data(iter([(x, y)]), nn.Linear(4, 2), 5, "d").shape == (5, 4)
    with pytest.raises(InputError, match="'pkg:load': it returned tuple"):
        from_data((1, 2), nn.Linear(4, 2), 5, "pkg:load")
