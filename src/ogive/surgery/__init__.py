"""A model that exists: where its nonlinearities are, and what can be changed around them."""

from ogive.surgery.initialise import Initialised, init_
from ogive.surgery.lsuv import Rescaled, lsuv_
from ogive.surgery.sites import Site, Sites, sites
from ogive.surgery.standardise import ScaledStandardisation, standardise_

__all__ = [
    "Initialised",
    "Rescaled",
    "ScaledStandardisation",
    "Site",
    "Sites",
    "init_",
    "lsuv_",
    "sites",
    "standardise_",
]
