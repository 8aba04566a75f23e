"""What a fault of a submission to the Neural Latents Benchmark is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "unreadable",
    "missing",
    "extra",
    "shape",
    "transposed",
    "bin_width",
    "phase",
    "trials",
    "units",
    "identity",
    "dtype",
    "nan",
    "negative",
    "zero",
    "hertz",
]


@dataclass(frozen=True)
class Problem:
    """One fault.

    Attributes
    ----------
    kind
        What is wrong, in one word.
    where
        Group or ``group/dataset``; empty: the file.
    text
        What is wrong, expected against found.
    """

    kind: Kind
    where: str
    text: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.where}: {self.text}" if self.where else self.text
