"""What torch's calls do to a signal, by the names torch gives them."""

from __future__ import annotations

# The same values in another shape, place or type. Dropout is off in the followed run.
PASS = {
    "view", "reshape", "view_as", "reshape_as", "flatten", "unflatten", "transpose", "permute", "movedim", "moveaxis",
    "swapaxes", "swapdims", "t", "T", "mT", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "tile",
    "broadcast_to", "repeat_interleave", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "getitem",
    "select", "narrow", "index_select", "gather", "take_along_dim", "roll", "flip", "rot90", "fold", "unfold",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "diagonal", "detach", "detach_", "cpu", "cuda", "data",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout",
    "native_dropout", "as_strided", "ravel", "contiguous", "clone", "to", "pad",
}  # fmt: skip
# Views after which two tensors are different parts of one.
PARTS = {"chunk", "split", "split_with_sizes", "tensor_split", "unbind", "getitem", "select", "narrow"}
JOIN = {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"}
NORM = {"layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm", "native_layer_norm", "normalize",
        "local_response_norm"}  # fmt: skip
# New tensors whose values have nothing to do with the argument's.
FRESH = {"empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_empty",
         "new_zeros", "new_ones", "new_full", "new_tensor", "new_empty_strided", "bernoulli"}  # fmt: skip
SUM, PRODUCT = {"add", "sub", "rsub", "subtract"}, {"mul", "multiply"}
QUOTIENT = PRODUCT | {"div", "divide", "true_divide"}
# One value of many: what a handwritten normalisation divides by.
REDUCE = {"mean", "sum", "var", "std", "norm", "vector_norm", "linalg_vector_norm", "amax", "var_mean", "std_mean"}
DIVIDING = {"rsqrt", "reciprocal", "pow", "div", "divide", "true_divide"}
# In-place and reflected operators under the name of the operation, and whether the two arguments change places.
_OTHER_NAMES = {
    "__radd__": ("add", False), "__rmul__": ("mul", False), "__rsub__": ("rsub", False), "__rdiv__": ("div", True),
    "__rtruediv__": ("div", True), "__rpow__": ("pow", True), "__and__": ("logical_and", False),
    "__or__": ("logical_or", False), "__invert__": ("logical_not", False), "__getitem__": ("getitem", False),
    "__imul__": ("mul", False), "__iadd__": ("add", False), "__isub__": ("sub", False), "__itruediv__": ("div", False),
    "__truediv__": ("div", False), "__floordiv__": ("floor_divide", False), "bitwise_not": ("logical_not", False),
    "bitwise_and": ("logical_and", False), "bitwise_or": ("logical_or", False),
}  # fmt: skip


def plain_name(name: str) -> tuple[str, bool]:
    """The operation behind torch's name of a call, and whether its first two arguments change places.

    >>> plain_name("__rdiv__"), plain_name("relu_"), plain_name("__mul__")
    (('div', True), ('relu', False), ('mul', False))
    """
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    if name.startswith("__") and name.endswith("__"):
        return name.strip("_"), False
    plain = name.removeprefix("special_").removeprefix("linalg_") if name != "linalg_vector_norm" else name
    return plain.rstrip("_") or name, False
