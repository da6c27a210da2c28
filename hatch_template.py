"""Build hook: a wheel carries the repository's workspace as ``hwnas/_template``, for ``hwnas init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateHook(BuildHookInterface):
    """Maps each file under the ``template`` setting's paths into the wheel, save names that match ``left_out``.

    An editable install gets none of it.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "editable":
            return
        root = Path(self.root)
        for name in self.config["template"]:
            whole = root / name
            if not whole.exists():
                raise FileNotFoundError(f"{whole} of the workspace template is missing")
            for file in [whole] if whole.is_file() else sorted(filter(Path.is_file, whole.rglob("*"))):
                inside = file.relative_to(root)
                if not any(Path(part).match(pattern) for part in inside.parts for pattern in self.config["left_out"]):
                    build_data["force_include"][str(file)] = f"hwnas/_template/{inside.as_posix()}"
