"""What the servers of the loopback archive are asked, and what they answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request that reached a server."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    n_bytes: int = 0


@dataclass
class Answer:
    """One answer, before faults."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(content: object, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})
