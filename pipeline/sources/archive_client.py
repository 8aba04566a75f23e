"""The connection to a DANDI archive, and its failures in words a user can act on.

The `dandi` client retries most requests by itself, but not its first one, has no time limits, and raises
whatever comes along. Nothing in here ever asks for a key on the terminal.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
import tenacity
from requests.adapters import HTTPAdapter

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.sources.file_download import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dandi.dandiapi import DandiAPIClient

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

_NO_ACCESS = frozenset({401, 403})
_GONE = frozenset({404, 410})
# A user at the terminal learns within a quarter of a minute that there is no network.
_CONNECT_ATTEMPTS = 5


@dataclass(frozen=True)
class Access:
    """Which archive, and with which key.

    Attributes
    ----------
    instance
        URL of the archive or a name the client knows, e.g. ``dandi``.
    token
        API key, or None to read what is public.
    token_env
        Environment variable the key comes from, for messages.
    """

    instance: str
    token: str | None = field(default=None, repr=False)
    token_env: str = "DANDI_API_KEY"  # noqa: S105 - the name of a variable

    def refused(self, what: str, status: int) -> PipelineError:
        """Return the error for an answer that waiting does not mend.

        Examples
        --------
        >>> print(Access("dandi").refused("dandiset 000999", 401))
        dandiset 000999: the archive dandi does not show it without a key (status 401): ...
        """
        if status in _NO_ACCESS and not self.token:
            return SettingsError(
                f"{what}: the archive {self.instance} does not show it without a key (status {status}): it "
                f"is embargoed or private. Put your API key into the environment variable {self.token_env}."
            )
        if status in _NO_ACCESS:
            return SettingsError(
                f"{what}: the archive {self.instance} refuses the key from {self.token_env} (status "
                f"{status}). Check that it belongs to this archive and that its owner may see the data."
            )
        if status in _GONE:
            return DataError(
                f"{what}: not found in the archive {self.instance} (status {status}). Check the id and the "
                "version; drafts change and their files can be removed."
            )
        return MachineError(
            f"{what}: the archive {self.instance} answered with status {status}. Try again later."
        )

    @contextmanager
    def asking_for(self, what: str) -> Iterator[None]:
        """Turn the failures of a conversation with the archive into errors that say what to do.

        Raises
        ------
        DataError
            If the archive does not have it.
        SettingsError
            If a key is missing or refused.
        MachineError
            If the archive is out of reach, out of order or not understood.
        """
        from dandi.exceptions import NotFoundError  # noqa: PLC0415 - dandi is heavy

        try:
            yield
        except NotFoundError as error:
            raise self.refused(what, 404) from error
        except RefusedError as error:
            raise self.refused(what, error.status) from error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 500
            raise self.refused(what, status) from error
        except requests.JSONDecodeError as error:
            raise self.not_understood(what, error) from error
        except requests.RequestException as error:
            raise self.unreachable(what, error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise self.not_understood(what, error) from error

    def not_understood(self, what: str, error: Exception) -> MachineError:
        """Return the error for an answer that is not of the archive's kind."""
        return MachineError(
            f"{what}: the answer of the archive {self.instance} is not understood "
            f"({type(error).__name__}). Check that it is a DANDI archive, and update the dandi package."
        )

    def unreachable(self, what: str, error: Exception) -> MachineError:
        """Return the error for an archive that does not answer."""
        return MachineError(
            f"{what}: the archive {self.instance} cannot be reached ({type(error).__name__}). Check the "
            "network, the proxy settings and the --instance URL, and run the same command again."
        )


def connect(access: Access, *, policy: RetryPolicy) -> DandiAPIClient:
    """Return a client of the archive, with time limits, and with the key checked if there is one.

    Parameters
    ----------
    access
        Which archive, and with which key.
    policy
        Patience.

    Raises
    ------
    SettingsError
        If the archive's name is unknown or the key is refused.
    MachineError
        If the archive does not answer, or wants another version of the client.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> connect(Access("http://127.0.0.1:9"), policy=RetryPolicy(attempts=1))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Archive: the archive http://127.0.0.1:9 cannot be reached ...
    """
    # The client looks up its own newest version on the web unless told not to.
    os.environ.setdefault("DANDI_NO_ET", "1")
    from dandi.dandiapi import DandiAPIClient  # noqa: PLC0415 - heavy, and reads the variable when imported
    from dandi.exceptions import CliVersionError  # noqa: PLC0415

    # Without a handler of its own the client's tracebacks would go to the terminal beside our message.
    if not logging.getLogger("dandi").handlers:
        logging.getLogger("dandi").addHandler(logging.NullHandler())
    with access.asking_for("Archive"):
        info_url = _info_url(access)
        patience = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (requests.ConnectionError, requests.Timeout, _NoInfoError)
            ),
            stop=tenacity.stop_after_attempt(min(policy.attempts, _CONNECT_ATTEMPTS)),
            wait=lambda state: policy.wait_s(state.attempt_number),
            reraise=True,
        )
        try:
            status = patience(_wait_for_info, info_url, policy)
            again = patience if status == 200 else _once
            client = again(_open, DandiAPIClient, access.instance)
        except CliVersionError as error:
            raise MachineError(
                f"The archive {access.instance} does not accept this client: {error} "
                "Update it: pip install --upgrade dandi."
            ) from error
        except _NoInfoError as error:
            raise access.unreachable("Archive", error) from error
        adapter = _PatientAdapter(policy)
        client.session.mount("https://", adapter)
        client.session.mount("http://", adapter)
        if access.token:
            client.authenticate(access.token)
    return client


class _NoInfoError(Exception):
    """The archive does not tell what it is, for now."""


class _PatientAdapter(HTTPAdapter):
    """Gives every request a time limit, and calls running into it a failed connection, which is retried."""

    def __init__(self, policy: RetryPolicy) -> None:
        super().__init__()
        self._timeout = policy.timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        try:
            return super().send(request, *args, **kwargs)
        except requests.ReadTimeout as error:
            raise requests.ConnectionError(*error.args, request=request) from error


def _info_url(access: Access) -> str:
    from dandi.consts import known_instances, known_instances_rev  # noqa: PLC0415 - heavy

    instance = access.instance.rstrip("/")
    if instance.lower().startswith(("http://", "https://")):
        name = known_instances_rev.get(instance)
        if name is None:
            scheme, _, rest = instance.partition("://")
            return f"{scheme}://{rest.partition('/')[0]}/api/info/"
        return f"{known_instances[name].api.rstrip('/')}/info/"
    if instance in known_instances:
        return f"{known_instances[instance].api.rstrip('/')}/info/"
    raise SettingsError(
        f"'{access.instance}' is no DANDI archive. Give a URL starting with http:// or https://, or one of: "
        f"{', '.join(sorted(known_instances))}."
    )


def _once(function: Callable[..., DandiAPIClient], *args: Any) -> DandiAPIClient:
    return function(*args)


def _wait_for_info(url: str, policy: RetryPolicy) -> int:
    """Ask once with a time limit, which the client's own first request does not have."""
    status = requests.get(url, timeout=policy.timeout).status_code
    if status == 429 or status >= 500:
        raise _NoInfoError(f"status {status}")
    return status


def _open(client_class: type[DandiAPIClient], instance: str) -> DandiAPIClient:
    from dandi.exceptions import CliVersionError  # noqa: PLC0415 - heavy

    try:
        return client_class.for_dandi_instance(instance.rstrip("/"))
    except CliVersionError:
        raise
    except RuntimeError as error:
        raise _NoInfoError(str(error)) from error
