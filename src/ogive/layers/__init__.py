"""nn.Modules whose essence is a nonlinearity."""

from ogive.layers.act import Act
from ogive.layers.decay import parameter_groups
from ogive.layers.learn import Learn, learn

__all__ = ["Act", "Learn", "learn", "parameter_groups"]
