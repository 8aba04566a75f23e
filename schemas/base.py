"""Base class of everything this project writes down: frozen, closed, described.

Settings never change after they were read, a misspelt key is an error, and every field carries the
sentence that serves as command-line help, documentation and JSON-schema description at once.
"""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable settings or record that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON form, as 64 hexadecimal digits.

        Two objects have the same digest exactly when all their fields that have an effect are equal, whatever
        order or notation they were written in.

        Examples
        --------
        >>> from nwb_latents.schemas.recipe import IngestRecipe
        >>> IngestRecipe().digest() == IngestRecipe(bin_size_s=0.02).digest()
        True
        """
        canonical = json.dumps(self._digested(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _digested(self) -> dict[str, object]:
        """Return what counts for the digest, in the settings within these too."""
        content: dict[str, object] = self.model_dump(mode="json", exclude=self._undigested())
        within = {name: getattr(self, name) for name in content}
        return content | {name: part._digested() for name, part in within.items() if isinstance(part, Frozen)}

    def _undigested(self) -> set[str]:
        """Fields that do not count for the digest: those without effect beside the others."""
        return set()
