"""Objects below one prefix of an S3 bucket, and their failures in words a user can act on.

Everything is taken from the environment, under the names the tools of the field share: ``AWS_ENDPOINT_URL``,
``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_PROFILE``,
``AWS_ALLOW_HTTP`` for a server without encryption, ``AWS_SKIP_SIGNATURE`` for a public bucket.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from obstore.store import S3Store

UPLOADS_AT_ONCE = 8
RETRIES = 5
_TRUE = frozenset({"1", "true", "yes", "on"})
_OWN_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_PROFILE_LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read.

    Attributes
    ----------
    content
        Its bytes.
    tag
        Its entity tag; another content has another one.
    modified
        When it was written, by the server's clock.
    """

    content: bytes
    tag: str
    modified: datetime


class ObjectFolder:
    """The objects below one prefix of a bucket; names are relative to it.

    Nothing is asked of the server before a method is called.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        Prefix without slashes at its ends; empty: the whole bucket.

    Examples
    --------
    >>> ObjectFolder("lab", "stores/a.zarr").url
    's3://lab/stores/a.zarr'
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix

    @property
    def url(self) -> str:
        """Where it lies."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @cached_property
    def client(self) -> S3Store:
        """The connection, as the package obstore has it.

        Raises
        ------
        MachineError
            If the package is missing or the environment contradicts itself.
        """
        return _connect(self.bucket, self.prefix)

    def read(self, name: str) -> StoredObject | None:
        """Return an object, or None if there is none of this name.

        Raises
        ------
        MachineError
            If the storage cannot be reached, refuses, or has no such bucket.
        """
        client = self.client
        import obstore  # noqa: PLC0415 - an extra

        with storage_errors(self.url, doing="read"):
            try:
                found = obstore.get(client, name)
                content = bytes(found.bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            return StoredObject(content, str(found.meta["e_tag"]), found.meta["last_modified"])

    def create(self, name: str, content: bytes) -> str | None:
        """Write an object that must not be there yet; return its tag, or None if it is.

        Raises
        ------
        MachineError
            As `read`.
        """
        return self._put_if(name, content, "create")

    def replace(self, name: str, content: bytes, *, tag: str) -> str | None:
        """Write over an object if its tag still is `tag`; return the new one, or None if it is not.

        Raises
        ------
        MachineError
            As `read`.
        """
        return self._put_if(name, content, {"e_tag": tag})

    def write_all(self, contents: Mapping[str, bytes | Path]) -> None:
        """Write objects, several at a time, in no order; of a path, the content of that file.

        Raises
        ------
        MachineError
            As `read`, after those under way have ended.
        """
        client = self.client
        import obstore  # noqa: PLC0415 - an extra

        def write(item: tuple[str, bytes | Path]) -> None:
            obstore.put(client, *item)

        with storage_errors(self.url, doing="write"), ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for _ in pool.map(write, contents.items()):
                pass

    def sizes(self) -> dict[str, int]:
        """Return the objects there are: name → bytes.

        Raises
        ------
        MachineError
            As `read`.
        """
        client = self.client
        import obstore  # noqa: PLC0415 - an extra

        with storage_errors(self.url, doing="list"):
            return {item["path"]: item["size"] for page in obstore.list(client) for item in page}

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are no error.

        Raises
        ------
        MachineError
            As `read`.
        """
        client = self.client
        import obstore  # noqa: PLC0415 - an extra

        if wanted := list(names):
            with storage_errors(self.url, doing="delete"):
                obstore.delete(client, wanted)

    def _put_if(self, name: str, content: bytes, mode: Any) -> str | None:
        client = self.client
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import (  # noqa: PLC0415
            AlreadyExistsError,
            GenericError,
            NotSupportedError,
            PreconditionError,
        )

        with storage_errors(self.url, doing="write"):
            try:
                return str(obstore.put(client, name, content, mode=mode, use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError):
                return None
            except FileNotFoundError as error:
                # The object that was to be replaced is gone.
                if "NoSuchBucket" in str(error) or mode == "create":
                    raise
                return None
            except (GenericError, NotSupportedError) as error:
                if isinstance(error, GenericError) and "501 Not Implemented" not in str(error):
                    raise
                # A lease finds out that such a server keeps nobody out (`one_writer.Lease.acquire`).
                return str(obstore.put(client, name, content)["e_tag"])


@contextmanager
def storage_errors(url: str, *, doing: str) -> Iterator[None]:
    """Turn the failures of an object storage into errors that say what to do.

    Parameters
    ----------
    url
        What was asked for.
    doing
        What was being done: ``read``, ``write``, ``list`` or ``delete``.

    Raises
    ------
    MachineError
        For every failure of the storage or the way to it.
    """
    from obstore.exceptions import (  # noqa: PLC0415 - an extra
        BaseError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise MachineError(
            f"{url}: cannot {doing}: the storage refuses ({_code(error)}). Check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, and that the key's owner may do this there."
        ) from error
    except (BaseError, FileNotFoundError) as error:
        raise MachineError(f"{url}: cannot {doing}: {_explained(str(error), url)}") from error


def _explained(text: str, url: str) -> str:
    if "NoSuchBucket" in text or "404 Not Found" in text:
        bucket = url.removeprefix("s3://").partition("/")[0]
        return f"the storage has no bucket {bucket!r}. Create it, or check its name and AWS_ENDPOINT_URL."
    if "169.254." in text or "credential" in text.lower():
        return (
            "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
            "AWS_SKIP_SIGNATURE=true for a public bucket."
        )
    if "error sending request" in text or "timed out" in text or "HTTP error" in text:
        endpoint = _endpoint() or "the storage of AWS"
        return (
            f"{endpoint} cannot be reached. Check the network and AWS_ENDPOINT_URL, and run the same command "
            "again."
        )
    return f"{text.splitlines()[0][:300]}. Try again later."


def _code(error: Exception) -> str:
    _, found, rest = str(error).partition("<Code>")
    return rest.partition("</Code>")[0] if found else type(error).__name__


def _connect(bucket: str, prefix: str) -> S3Store:
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MachineError(
            f"s3://{bucket}/{prefix}: the package obstore is not installed, which object storage needs. "
            "Install it: pip install 'nwb-latents[s3]'."
        ) from error
    endpoint = _endpoint()
    is_http_allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in _TRUE
    if endpoint and endpoint.lower().startswith("http://") and not is_http_allowed:
        raise MachineError(
            f"s3://{bucket}/{prefix}: {endpoint} (AWS_ENDPOINT_URL) is not encrypted. Use https://, or set "
            "AWS_ALLOW_HTTP=true if you trust the network."
        )
    options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    if provider := _profile_credentials():
        options["credential_provider"] = provider
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": is_http_allowed, "connect_timeout": "10s", "timeout": "120s"},
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=60)},
        **options,
    )


def _endpoint() -> str | None:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _profile_credentials() -> Callable[[], dict[str, Any]] | None:
    """Return how to ask for the keys of ``~/.aws``, which obstore does not read, or None without them."""
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", Path.home() / ".aws" / "credentials"))
    if any(os.environ.get(name) for name in (*_OWN_KEYS, "AWS_SKIP_SIGNATURE")):
        return None
    if not (os.environ.get("AWS_PROFILE") or file.is_file()) or not importlib.util.find_spec("botocore"):
        return None
    # botocore comes with s3fs of the same extra; it is not typed.
    found = importlib.import_module("botocore.session").Session().get_credentials()
    if found is None:
        return None

    def ask() -> dict[str, Any]:
        keys = found.get_frozen_credentials()
        # Keys with a token run out; asking again renews them.
        until = datetime.now(UTC) + _PROFILE_LIFETIME if keys.token else None
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": until,
        }

    return ask
