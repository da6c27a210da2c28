"""Build hook: a wheel carries the repository's workspace as ``hwnas/_template``, for ``hwnas init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateHook(BuildHookInterface):
    """Maps each path of the ``template`` setting into the wheel; an editable install gets none of it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "editable":
            return
        for name in self.config["template"]:
            build_data["force_include"][str(Path(self.root, name))] = f"hwnas/_template/{name}"
