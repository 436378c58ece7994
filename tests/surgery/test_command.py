"""The commands `ogive sites` and `ogive surgery`: what they take, print and write, and their errors."""

from __future__ import annotations

import json
import textwrap

import pytest
import torch
from typer.testing import CliRunner

from ogive.cli import app
from ogive.errors import InputError
from ogive.surgery.command import documented, plain_options, rules_of
from ogive.surgery.transforms import TRANSFORMS, summary, transform
from ogive.user_data import batches_at

MODELS = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.act = nn.Linear(8, 32), nn.Linear(32, 4), nn.SiLU()
        def forward(self, x):
            return self.b(F.gelu(self.act(self.a(x)) @ self.a.weight @ self.a.weight.T))

    def pair():
        torch.manual_seed(1)
        return torch.randn(50, 8), torch.arange(50) % 4

    def loader():
        torch.manual_seed(1)
        return [(torch.randn(20, 8), torch.arange(20)) for _ in range(3)]

    def mean(model):
        return float(model(pair()[0]).mean())

    def nothing():
        return []
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "surgery_models.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, list(words))


def test_sites_without_data_shows_modules_and_says_so(here):
    result = call("sites", "surgery_models:Net")
    assert result.exit_code == 0, result.output
    assert "silu" in result.output
    assert "gelu" not in result.output
    assert "--data" in result.output


def test_sites_with_data_shows_functions_too(here):
    result = call("sites", "surgery_models:Net", "--data", "surgery_models:loader", "--json", "s.json")
    assert result.exit_code == 0, result.output
    rows = {r["label"]: r for r in json.loads((here / "s.json").read_text())["sites"]}
    assert set(rows) == {"silu", "gelu"}
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_a_transform_prints_its_report_and_writes_it(here):
    result = call("surgery", "swap", "surgery_models:Net", "--data", "surgery_models:pair", "--no-time", "--rules",
                  "gelu=hardswish,silu=keep", "--fit", "refit", "--score", "surgery_models:mean", "--out", "r.json",
                  "--save", "state.pt")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((here / "r.json").read_text())
    assert [(c["before"], c["after"]) for c in found["changes"]] == [("gelu", "hardswish, fitted")]
    assert found["left"] == [["act", "the rule 'silu' leaves it"]]
    assert {f["name"] for f in found["figures"]} == {"cosine to before", "relative change", "score"}
    assert "time of a batch" not in result.output
    assert torch.load(here / "state.pt", weights_only=True)["a.weight"].shape == (32, 8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("swap", "nowhere", "--data", "surgery_models:pair", "--rules", "relu"), "'nowhere'"),
        (("swap", "surgery_models:Net", "--data", "surgery_models:nothing", "--rules", "relu"), "gives no batch"),
        (("swap", "surgery_models:Net", "--data", "surgery_models:pair", "--rules", "gelu=relux"), "relux"),
        (("swap", "surgery_models:Net", "--data", "surgery_models:pair", "--rules", "tanh=relu"), "no site fits"),
        (("swap", "surgery_models:Net", "--data", "surgery_models:pair", "--rules", "gelu=,relu"), "site=activation"),
        (("swop", "surgery_models:Net"), "nearest are swap"),
    ],
)
def test_what_is_wrong_is_quoted(here, words, said):
    result = call("surgery", *words)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("verb", TRANSFORMS)
def test_every_verb_has_the_one_face_and_documents_its_options(verb):
    function = transform(verb)
    options = plain_options(function)
    said = documented(function)
    missing = [k for k in options if k not in said]
    assert not missing, f"{verb}: Args says nothing of {missing}"
    assert summary(verb)
    result = call("surgery", verb, "--help")
    assert result.exit_code == 0, result.output
    for name in options:
        assert f"--{name.replace('_', '-')}" in result.output


def test_batches_are_cut_and_labels_go_with_them(here):
    model = torch.nn.Linear(8, 2)
    batches, labels = batches_at("surgery_models:loader", model, 30)
    assert [len(b) for b in batches] == [20, 10]
    assert labels.tolist() == [*range(20), *range(10)]
    with pytest.raises(InputError, match="no batch"):
        batches_at("surgery_models:nothing", model, 30)


def test_rules_keep_commas_inside_a_formula():
    assert rules_of("gelu=maximum(x, 0.1*x), b.*=keep") == {"gelu": "maximum(x, 0.1*x)", "b.*": None}
