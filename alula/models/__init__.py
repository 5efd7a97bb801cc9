"""Models that come with Alula, in PyTorch; a submodule is imported when it is first asked for, and torch with it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.models import checkpoints, cifar10, digits, fetch, volo, zoo

__all__ = ["checkpoints", "cifar10", "digits", "fetch", "volo", "zoo"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise UsageError(f"{__name__}.{name}: expected PyTorch (pip install 'alula[torch]'), got none") from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
