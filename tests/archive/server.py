"""The two servers of the loopback archive: the REST interface, and the storage it redirects to."""

from __future__ import annotations

import gc
import json
import re
import socket
import struct
import sys
import threading
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from archive.answers import Answer, Request, compressed, html_answer, json_answer
from archive.faults import Fault, FaultPlan
from archive.shelf import Files, ShelvedAsset, ShelvedDandiset, ShelvedEntry, server_info
from archive.storage import answer_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_PAGE_SIZE = 100
_SENDING_BLOCK = 1 << 14


class LoopbackArchive:
    """A DANDI archive for as long as the ``with`` block lasts.

    Parameters
    ----------
    files
        Dandiset id → version → path → content; a version may be empty.
    embargoed
        Ids of dandisets that are shown with a token only.
    tokens
        Tokens of users who own every dandiset.
    strangers
        Good tokens of users who own none.
    """

    def __init__(
        self,
        files: Files,
        *,
        embargoed: Collection[str] = (),
        tokens: Collection[str] = ("good-token",),
        strangers: Collection[str] = (),
    ) -> None:
        self.dandisets = {
            name: ShelvedDandiset(
                name,
                {
                    version: [ShelvedAsset.of(name, version, path, data) for path, data in contents.items()]
                    for version, contents in versions.items()
                },
                is_embargoed=name in embargoed,
            )
            for name, versions in files.items()
        }
        self.tokens = set(tokens)
        self.strangers = set(strangers)
        self.requests: list[Request] = []
        self.generation = 0
        self.latency_s = 0.0
        self.entries_page_size = 1000
        self.faults = FaultPlan()
        self._tampers: list[tuple[str, Callable[[Any], Any]]] = []
        self._actions: list[tuple[str, Callable[[], object]]] = []
        self.closing = threading.Event()
        self._collects = False
        self._servers = [_server(self, answer) for answer in (_answer_api, answer_storage)]
        self._threads = [
            threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True) for s in self._servers
        ]

    def __enter__(self) -> Self:
        # Collecting garbage in a thread of the server could close an HDF5 file, for which it would wait for
        # the lock of h5py; a reader in this process holds that lock while it waits for the server's answer.
        self._collects = gc.isenabled()
        gc.disable()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
        if self._collects:
            gc.enable()

    @property
    def url(self) -> str:
        """What a user gives as the instance."""
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def storage_url(self) -> str:
        """Where the bytes of the files lie."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def fault(self, pattern: str, fault: Fault, *, times: int | None = 1, method: str | None = None) -> None:
        """Let the next `times` requests to paths like `pattern` go wrong; None: all of them."""
        self.faults.add(pattern, fault, times=times, method=method)

    def tamper(self, pattern: str, change: Callable[[Any], Any]) -> None:
        """Let all answers in JSON to paths like `pattern` be what `change` makes of them."""
        self._tampers.append((pattern, change))

    def after(self, pattern: str, action: Callable[[], object]) -> None:
        """Do something once, after the next request to a target like `pattern`; in the order given."""
        self._actions.append((pattern, action))

    def tampered(self, request: Request, answer: Answer) -> Answer:
        """Return an answer as the tests want it."""
        for pattern, change in self._tampers:
            if fnmatchcase(request.path, pattern) and answer.status == 200:
                answer = json_answer(change(json.loads(answer.body)))
        return answer

    def act(self, target: str) -> None:
        """Do what is to be done after a request."""
        for planned in list(self._actions):
            if fnmatchcase(target, planned[0].replace("?", "[?]")):
                self._actions.remove(planned)
                planned[1]()
                return

    def asset(self, dandiset: str, version: str, path: str) -> ShelvedAsset:
        """Return an asset, to be changed by a test."""
        return next(asset for asset in self.dandisets[dandiset].versions[version] if asset.path == path)

    def replace(self, dandiset: str, version: str, path: str, content: bytes) -> ShelvedAsset:
        """Put another file in the place of one; the old asset is gone."""
        assets = self.dandisets[dandiset].versions[version]
        assets[:] = [asset for asset in assets if asset.path != path]
        assets.append(ShelvedAsset.of(dandiset, version, path, content))
        return assets[-1]

    def expire_urls(self) -> None:
        """Let the storage refuse all addresses that were given out so far."""
        self.generation += 1

    def requested(self, pattern: str = "*") -> list[Request]:
        """Return the requests to paths like `pattern`, in order of arrival."""
        return [request for request in self.requests if fnmatchcase(request.path, pattern)]

    def bytes_sent(self, pattern: str) -> int:
        """Return how many bytes of content went out for paths like `pattern`."""
        return sum(request.n_bytes for request in self.requested(pattern) if request.status in {200, 206})

    def find_asset(self, some_id: str) -> tuple[ShelvedDandiset, ShelvedAsset] | None:
        """Return the asset of this id, or with the content of this id, in whatever dandiset and version."""
        for dandiset in self.dandisets.values():
            for assets in dandiset.versions.values():
                for asset in assets:
                    if some_id in {asset.asset_id, asset.blob_id}:
                        return dandiset, asset
        return None

    def find_entry(self, zarr_id: str, key: str) -> ShelvedEntry | None:
        """Return a file of a Zarr."""
        found = self.find_asset(zarr_id)
        return next((entry for entry in found[1].entries if entry.key == key), None) if found else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: ClassVar[LoopbackArchive]
    answer: ClassVar[Any]

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self, *, with_body: bool) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        request = Request(self.command, url.path, query, {k.lower(): v for k, v in self.headers.items()})
        self.archive.requests.append(request)
        if self.archive.latency_s:
            self.archive.closing.wait(self.archive.latency_s)
        fault = self.archive.faults.next(request.method, self.path)
        if fault and fault.kind == "reset":
            self._break_off()
            return
        answer = type(self).answer(self.archive, request, fault)
        if answer.headers.get("Content-Type") == "application/json":
            answer = self.archive.tampered(request, answer)
        answer = compressed(answer, request)
        if fault and fault.kind == "status":
            answer = Answer(fault.status, b"fault ordered by the test", fault.headers)
        if fault and fault.kind == "body":
            answer = Answer(fault.status, fault.body, fault.headers)
        request.status = answer.status
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        # Before the client has the answer, and asks for more.
        self.archive.act(self.path)
        if with_body:
            self._send(answer.body, request, fault)

    def _send(self, body: bytes, request: Request, fault: Fault | None) -> None:
        ends = {"drop", "stall"}
        limit = fault.n_bytes if fault and fault.kind in ends else len(body)
        try:
            while request.n_bytes < min(limit, len(body)):
                block = body[request.n_bytes : min(request.n_bytes + _SENDING_BLOCK, limit)]
                # Counted first: the client may have the last block, and the test ask, before this goes on.
                request.n_bytes += len(block)
                self.wfile.write(block)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        if fault and fault.kind == "stall":
            self.archive.closing.wait(30)
        if fault and fault.kind in ends:
            self.close_connection = True

    def _break_off(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _server(archive: LoopbackArchive, answer: Any) -> ThreadingHTTPServer:
    members = {"archive": archive, "answer": staticmethod(answer)}
    return _Server(("127.0.0.1", 0), type("Handler", (_Handler,), members))


_NOT_FOUND = json_answer({"detail": "Not found."}, 404)
_NO_ACCESS = json_answer({"detail": "Authentication credentials were not provided."}, 401)
_NOT_YOURS = json_answer({"detail": "You do not have permission to perform this action."}, 403)
_NO_VIEW = html_answer(404)


def _answer_api(archive: LoopbackArchive, request: Request, fault: Fault | None) -> Answer:
    path = request.path
    token = request.headers.get("authorization", "").removeprefix("token ")
    if token and token not in archive.tokens | archive.strangers:
        return json_answer({"detail": "Invalid token."}, 401)
    if path == "/api/info/":
        return json_answer(server_info(f"{archive.url}/api"))
    if not path.startswith("/api/"):
        return _NO_VIEW
    if not path.endswith("/"):
        query = f"?{urlencode(request.query)}" if request.query else ""
        return Answer(301, headers={"Location": f"{path}/{query}"})
    if path == "/api/auth/token/":
        return json_answer({"token": token}) if token else _NO_ACCESS
    if path == "/api/dandisets/":
        return _page(
            [d.record() for d in archive.dandisets.values() if not d.is_embargoed], request, archive.url
        )
    words = path.removeprefix("/api/").strip("/").split("/")
    if words[0] in {"assets", "zarr"} and len(words) > 1:
        found = archive.find_asset(words[1])
        if found is None:
            return _NOT_FOUND
        dandiset, asset = found
        if dandiset.is_embargoed and token not in archive.tokens:
            return _NOT_YOURS if token else _NO_ACCESS
        if words[0] == "zarr":
            return _answer_zarr(archive, asset, words[2:], request)
        return _answer_asset(archive, asset, words[2:])
    if words[0] == "dandisets" and words[1] in archive.dandisets:
        dandiset = archive.dandisets[words[1]]
        if dandiset.is_embargoed and token not in archive.tokens:
            return _NOT_YOURS if token else _NO_ACCESS
        return _answer_dandiset(archive, dandiset, words[2:], request)
    is_id = words[0] == "dandisets" and len(words) > 1 and re.fullmatch(r"\d{6}", words[1])
    return _NOT_FOUND if is_id else _NO_VIEW


def _answer_dandiset(
    archive: LoopbackArchive, dandiset: ShelvedDandiset, words: list[str], request: Request
) -> Answer:
    if not words:
        return json_answer(dandiset.record())
    known = ["draft", *dandiset.published]
    if words == ["versions"]:
        return _page([dandiset.version_item(version) for version in known], request, archive.url)
    if words[0] != "versions" or words[1] not in known:
        return _NOT_FOUND
    version, rest = words[1], words[2:]
    if rest in ([], ["info"]):
        return json_answer(dandiset.version_info(version) if rest else dandiset.version_metadata(version))
    if rest[0] != "assets":
        return _NOT_FOUND
    assets = dandiset.versions.get(version, [])
    if len(rest) > 1:
        asset = next((asset for asset in assets if asset.asset_id == rest[1]), None)
        return _answer_asset(archive, asset, rest[2:]) if asset else _NOT_FOUND
    return _page(_items(archive, assets, request.query), request, archive.url)


def _items(
    archive: LoopbackArchive, assets: list[ShelvedAsset], query: dict[str, str]
) -> list[dict[str, Any]]:
    # Both ignore case, as its database does.
    begin, pattern = query.get("path", "").lower(), query.get("glob", "*").lower()
    chosen = [asset for asset in assets if asset.path.lower().startswith(begin)]
    chosen = [asset for asset in chosen if fnmatchcase(asset.path.lower(), pattern)]
    if query.get("order", "").removeprefix("-") == "path":
        chosen.sort(key=lambda asset: asset.path, reverse=query["order"].startswith("-"))
    if query.get("metadata") != "true":
        return [asset.item() for asset in chosen]
    return [{**asset.item(), "metadata": _metadata(archive, asset)} for asset in chosen]


def _answer_asset(archive: LoopbackArchive, asset: ShelvedAsset, words: list[str]) -> Answer:
    if not words:
        return json_answer(_metadata(archive, asset))
    if words == ["info"]:
        return json_answer({**asset.item(), "metadata": _metadata(archive, asset)})
    if words == ["download"] and not asset.is_zarr:
        return _redirect(archive, f"blob/{asset.blob_id}")
    return _NOT_FOUND


def _answer_zarr(archive: LoopbackArchive, asset: ShelvedAsset, words: list[str], request: Request) -> Answer:
    if words != ["files"]:
        return _NOT_FOUND
    query = request.query
    size = min(int(query.get("limit", 1000)), archive.entries_page_size)
    if query.get("download") == "true":
        return _redirect(archive, f"zarr/{asset.blob_id}/{quote(query['prefix'])}")
    chosen = [entry for entry in asset.entries if entry.key.startswith(query.get("prefix", ""))]
    chosen = [entry for entry in chosen if entry.key > query.get("after", "")]
    # Other than the pages of assets these go on after a name, and are not counted.
    after = urlencode({**query, "after": chosen[size - 1].key}) if len(chosen) > size else None
    return json_answer(
        {
            "next": f"{archive.url}{request.path}?{after}" if after else None,
            "results": [entry.item() for entry in chosen[:size]],
        }
    )


def _redirect(archive: LoopbackArchive, place: str) -> Answer:
    signature = urlencode(
        {"X-Amz-Expires": 21600, "X-Amz-Generation": archive.generation, "X-Amz-Signature": "secret"}
    )
    return Answer(302, headers={"Location": f"{archive.storage_url}/{place}?{signature}"})


def _metadata(archive: LoopbackArchive, asset: ShelvedAsset) -> dict[str, Any]:
    return asset.metadata(f"{archive.url}/api", archive.storage_url)


def _page(results: list[dict[str, Any]], request: Request, url: str) -> Answer:
    size = min(int(request.query.get("page_size", _PAGE_SIZE)), 1000)
    page = int(request.query.get("page", 1))
    start = (page - 1) * size

    def link(number: int) -> str:
        return f"{url}{request.path}?{urlencode({**request.query, 'page': number})}"

    return json_answer(
        {
            "count": len(results) if page == 1 else None,
            "next": link(page + 1) if start + size < len(results) else None,
            "previous": link(page - 1) if page > 1 else None,
            "results": results[start : start + size],
        }
    )
