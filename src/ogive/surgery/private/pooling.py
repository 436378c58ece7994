"""Max pooling on the way to polynomials: it is no polynomial, and average pooling may stand for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from ogive.errors import OgiveError, ParameterError, closest
from ogive.surgery.edits import Edits
from ogive.surgery.effect import run

POOLS = ("refuse", "average", "keep")


class _Calls(TorchFunctionMode):
    """Counts calls of max pooling that no module of torch makes."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.found += "max_pool" in name and "boolean" not in name
        return func(*args, **(kwargs or {}))


def averaged(model: nn.Module, batch: Any, pool: str) -> tuple[list[tuple[str, str]], Callable[[], None]]:
    """Treat the max pooling of ``model`` as ``pool`` says: the modules exchanged by name and kind, and the way back.

    Raises:
        ParameterError: for a word that is not known.
        OgiveError: for ``refuse`` with max pooling there, for a dilated one, and for a call in code that no module
            makes, which cannot be exchanged.
    """
    if pool not in POOLS:
        near = closest(str(pool), POOLS, 1)[0]
        raise ParameterError(f"polynomialise: pool={pool!r}; it is one of {', '.join(POOLS)} (did you mean {near!r}?)")
    kinds: dict[type[nn.Module], type[nn.Module]] = {
        nn.MaxPool1d: nn.AvgPool1d, nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d,
        nn.AdaptiveMaxPool1d: nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool2d: nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool3d: nn.AdaptiveAvgPool3d,
    }  # fmt: skip
    there = {n: m for n, m in model.named_modules() if type(m) in kinds}
    if pool == "keep":
        return [], _nothing
    calls = _Calls()
    with calls:
        run(model, [batch])
    if pool == "refuse" and (there or calls.found):
        where = next(iter(there), "a call in the model's code")
        raise OgiveError(f"polynomialise: {where} is max pooling, which is no polynomial (a maximum of two numbers is "
                         "one sign test); pool='average' puts average pooling in its place (train afterwards), "
                         "pool='keep' leaves it")  # fmt: skip
    edits, changed = Edits(), []
    try:
        for name, module in there.items():
            new = _average(name, module, kinds[type(module)])
            edits.exchange(model, module, new)
            changed.append((name, type(module).__name__))
        if there:
            calls = _Calls()
            with calls:
                run(model, [batch])
        if calls.found:
            raise OgiveError(f"polynomialise: {calls.found} calls of max pooling stand in the model's code, where "
                             "nothing can be exchanged; write them as modules, or pool='keep'")  # fmt: skip
    except BaseException:
        edits.undo()
        raise
    return changed, edits.undo


def _average(name: str, module: Any, kind: Any) -> nn.Module:
    if hasattr(module, "output_size"):
        made: nn.Module = kind(module.output_size)
        return made
    if module.dilation not in (1, (1,) * 2, (1,) * 3, (1,)):
        raise OgiveError(f"polynomialise: {name} is max pooling with dilation={module.dilation}, which average pooling "
                         "does not have; pool='keep' leaves it")  # fmt: skip
    # a maximum never takes the padding, so the mean does not count it either
    made = kind(module.kernel_size, module.stride, module.padding, module.ceil_mode, count_include_pad=False)
    return made


def _nothing() -> None:
    return None
