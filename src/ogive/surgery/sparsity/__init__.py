"""Sparsity in models that exist: made at their nonlinearities, calibrated on data, measured in their own terms."""

from ogive.surgery.sparsity.blocks import Blocks, FeedForward, feed_forwards
from ogive.surgery.sparsity.budget import ppl_sparsity
from ogive.surgery.sparsity.cett import cett
from ogive.surgery.sparsity.decode import accelerate
from ogive.surgery.sparsity.decode_modules import SparseFFN, SparseGLU, SparseLinear
from ogive.surgery.sparsity.gates import cats, fat_relu
from ogive.surgery.sparsity.linear import RankAwareLinear, ThresholdedLinear
from ogive.surgery.sparsity.perplexity import Perplexity, perplexity
from ogive.surgery.sparsity.prosparse import SineStages, UnitsNorm, prosparse
from ogive.surgery.sparsity.relufy import relufy
from ogive.surgery.sparsity.rsparse import rank_aware, rsparse
from ogive.surgery.sparsity.sparsify import sparsify
from ogive.surgery.sparsity.stochastic import Stochastic, set_p, stochastic, switch
from ogive.surgery.sparsity.teal import teal
from ogive.surgery.sparsity.topk import SparkFFN, TopK, keep_topk, statistical_topk, top_k
from ogive.surgery.sparsity.zeros import Sparsity, sparsity

__all__ = [
    "Blocks",
    "FeedForward",
    "Perplexity",
    "RankAwareLinear",
    "SineStages",
    "SparkFFN",
    "SparseFFN",
    "SparseGLU",
    "SparseLinear",
    "Sparsity",
    "Stochastic",
    "ThresholdedLinear",
    "TopK",
    "UnitsNorm",
    "accelerate",
    "cats",
    "cett",
    "fat_relu",
    "feed_forwards",
    "keep_topk",
    "perplexity",
    "ppl_sparsity",
    "prosparse",
    "rank_aware",
    "relufy",
    "rsparse",
    "set_p",
    "sparsify",
    "sparsity",
    "statistical_topk",
    "stochastic",
    "switch",
    "teal",
    "top_k",
]
