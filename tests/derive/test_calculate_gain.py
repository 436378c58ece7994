"""The drop-in for torch.nn.init.calculate_gain."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ogive
from ogive.derive.gain import calculate_gain, gain


@pytest.mark.parametrize("word", ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "relu"])
def test_torchs_words_mean_what_they_mean_there(word):
    assert calculate_gain(word) == pytest.approx(torch.nn.init.calculate_gain(word), rel=1e-14)


@pytest.mark.parametrize("slope", [0.01, 0.2, 1.0, -0.5])
def test_the_second_argument_is_the_slope(slope):
    want = torch.nn.init.calculate_gain("leaky_relu", slope)
    assert calculate_gain("leaky_relu", slope) == pytest.approx(want, rel=1e-13)
    assert calculate_gain("leaky_relu", negative_slope=slope) == pytest.approx(want, rel=1e-13)


def test_the_true_values_where_torch_has_rules_of_thumb():
    assert calculate_gain("tanh") == pytest.approx(1.59253741972283, rel=1e-13)
    assert calculate_gain("sigmoid") == pytest.approx(1.84622854533861, rel=1e-13)
    assert calculate_gain("selu") == pytest.approx(1.0, rel=1e-7)  # its constants have E f^2 = 1
    assert calculate_gain("tanh", mode="backward") == pytest.approx(1.46741359163079, rel=1e-13)


@pytest.mark.parametrize(
    "spec", [nn.GELU(), nn.functional.gelu, "x*Phi(x)", ogive.get("gelu"), ogive.Act("gelu"), "gelu"],
    ids=["module", "function", "formula", "activation", "act", "name"],
)  # fmt: skip
def test_modules_functions_formulas_and_names_agree(spec):
    assert calculate_gain(spec) == pytest.approx(1.53353044119554, rel=1e-13)
    assert gain(spec).forward == pytest.approx(1.53353044119554, rel=1e-13)


def test_prelu_has_the_closed_form_of_its_slope():
    assert calculate_gain(nn.PReLU(init=0.4)) == pytest.approx(math.sqrt(2 / (1 + 0.4**2)), rel=1e-7)


def test_bad_input_is_named():
    with pytest.raises(ogive.ParameterError, match="relu has no parameter"):
        calculate_gain("relu", 0.2)
    with pytest.raises(ogive.ParameterError, match="mode='both'"):
        calculate_gain("relu", mode="both")
    with pytest.raises(ogive.OgiveError, match="softmax"):
        calculate_gain(nn.Softmax(0))
    with pytest.raises(ogive.UnknownName):
        calculate_gain("rleu")
