"""What the servers of the loopback archive are asked, and what they answer."""

from __future__ import annotations

import gzip
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


def html_answer(status: int) -> Answer:
    """Answer with a web page, as the server does where no view takes the address."""
    page = f"<!doctype html><html><head><title>Page not found</title></head><body>{status}</body></html>"
    return Answer(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})


def compressed(answer: Answer, request: Request) -> Answer:
    """Compress JSON and pages for a client that takes it, as the server does."""
    kind = answer.headers.get("Content-Type", "")
    takes_it = "gzip" in request.headers.get("accept-encoding", "")
    if not takes_it or not kind.startswith(("application/json", "text/html")) or len(answer.body) < 200:
        return answer
    headers = {**answer.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Answer(answer.status, gzip.compress(answer.body), headers)
