"""hwnas: name a device and a latency limit, get a model that was measured to meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Workspace", "__version__"]

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


def __getattr__(name: str) -> Any:
    """Load the workspace on first use, so that ``import hwnas`` stays light."""
    if name == "Workspace":
        from hwnas._conflict import refuse_other_hwnas
        from hwnas.workspace import Workspace

        refuse_other_hwnas()
        return Workspace
    raise AttributeError(f"module 'hwnas' has no attribute {name!r}")
