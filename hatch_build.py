"""Refuses to build where `src/nwb_latents/` has text files in place of its links.

Git writes such files where `core.symlinks` is off, and so does everything that unpacks a ZIP archive without
knowing links. The wheel would hold three files of one line each in place of the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("pipeline", "models", "schemas")


class LinksAreThere(BuildHookInterface[Any]):
    """Looks before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise if a room of the program cannot be reached below its import name."""
        package = Path(self.root) / "src" / "nwb_latents"
        missing = [name for name in FOLDERS if not (package / name / "__init__.py").is_file()]
        if missing:
            raise RuntimeError(
                f"{package}: {', '.join(missing)}: expected links to the folders of the same name in "
                f"{self.root}, found none. This checkout was made without symbolic links. Make it again with "
                "`git clone -c core.symlinks=true`, or restore them with `git config core.symlinks true` and "
                "`git checkout -- src`; or take the .tar.gz archive in place of the .zip."
            )
