"""An image as a function of its coordinates, scored on pixels that were held out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ogive.bench.scores import mse, psnr
from ogive.bench.shipped import shipped, split
from ogive.bench.spec import ActFactory, Data, TaskSpec

SIDE = 64


def load() -> Data:
    """Coordinates in [-1, 1]^2 and grey values in [0, 1]."""
    shipped("skimage")
    from skimage import data

    camera = torch.from_numpy(data.camera()).float() / 255
    pixels = nn.functional.avg_pool2d(camera[None, None], 512 // SIDE).reshape(-1, 1)
    line = torch.linspace(-1, 1, SIDE)
    places = torch.cartesian_prod(line, line)
    train, validation, test = split(len(pixels))
    return Data((places[train], pixels[train]), (places[validation], pixels[validation]), (places[test], pixels[test]))


class Fourier(nn.Module):
    """(x, y) -> x, y and the sines and cosines of both at pi, 2 pi, 4 pi, 8 pi (Tancik et al. 2020).

    Without them every activation but the sine fits only a blur of the image.
    """

    frequency: Tensor

    def __init__(self, octaves: int = 4) -> None:
        super().__init__()
        self.register_buffer("frequency", math.pi * 2.0 ** torch.arange(octaves))
        self.width = 2 + 4 * octaves

    def forward(self, place: Tensor) -> Tensor:
        angle = (place[:, :, None] * self.frequency).flatten(1)
        return torch.cat([place, angle.sin(), angle.cos()], dim=1)


def make_model(act: ActFactory) -> nn.Module:
    """Fourier features -> 64 -> 64 -> 64 -> grey value."""
    features = Fourier()
    return nn.Sequential(
        features,
        nn.Linear(features.width, 64), act(channels=64),
        nn.Linear(64, 64), act(channels=64),
        nn.Linear(64, 64), act(channels=64),
        nn.Linear(64, 1),
    )  # fmt: skip


TASK = TaskSpec(
    name="image",
    title="Camera image, coordinates",
    metric="PSNR dB",
    higher_is_better=True,
    description="Fit an image as a function of its coordinates and predict the pixels left out.",
    data="The camera image of scikit-image averaged to 64 x 64; pixels split 60/20/20.",
    model="Perceptron on four octaves of Fourier features, three hidden layers of 64 units.",
    load=load,
    make_model=make_model,
    loss=mse,
    score=psnr,
    batch=128,
    steps=400,
    lrs=(1e-2, 3e-2, 1e-1, 3e-1),
)
