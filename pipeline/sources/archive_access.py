"""The key of an archive, and an archive's refusals in words a user can act on.

A key is read from the environment of the process that sends it. What is sent to other processes and to other
machines holds the name of the variable, never the key.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.sources.archive_address import ArchiveAddress, resolve_archive
from nwb_latents.pipeline.sources.interruptions import InterruptedTransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

NO_ACCESS = frozenset({401, 403})
GONE = frozenset({404, 410})


class RefusedError(Exception):
    """A server answered with a status that waiting does not mend.

    Parameters
    ----------
    status
        Status of HTTP.
    storage
        Host of the storage that answered; empty: it was the archive.
    code
        What the storage calls it, e.g. ``AccessDenied``.
    """

    def __init__(self, status: int, *, storage: str = "", code: str = "") -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.storage = storage
        self.code = code


class Access:
    """Which archive, and with which key.

    Parameters
    ----------
    instance
        URL of the archive, or a name the client knows, e.g. ``dandi``.
    variable
        Environment variable the key comes from; None: that of the archive.
    token
        Key to use in this process, in place of that in the variable.

    Attributes
    ----------
    address
        Where the archive is.
    variable
        Environment variable the key comes from.
    is_refused
        Whether the archive refused the key, so that it is read without.

    Examples
    --------
    >>> access = Access("dandi-sandbox", token="secret")
    >>> access.variable, access.key, "secret" in str(access.__getstate__())
    ('DANDI_SANDBOX_API_KEY', 'secret', False)
    """

    def __init__(self, instance: str, *, variable: str | None = None, token: str | None = None) -> None:
        self.address: ArchiveAddress = resolve_archive(instance)
        self.variable = variable or self.address.key_variable
        self.is_refused = False
        self._token = (token or "").strip() or None
        self._had_key = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the key behind, not that there was one."""
        return {**self.__dict__, "_token": None, "_had_key": self._had_key or self._found() is not None}

    @property
    def key(self) -> str | None:
        """The key, or None where there is none, the archive refused it, or it would be shown to others."""
        return None if self.is_refused or not self.address.takes_key else self._found()

    def go_on_without_key(self) -> None:
        """Read what is public, since the archive refuses the key, and say so."""
        if not self.is_refused:
            logger.warning(
                "The archive %s refuses the key from %s (status 401). What is public is read without it.",
                self.address.given,
                self.variable,
            )
        self.is_refused = True

    def refused(self, what: str, status: int) -> PipelineError:
        """Return the error for an answer of the archive that waiting does not mend.

        Examples
        --------
        >>> print(Access("dandi", variable="NOT_SET").refused("dandiset 000999", 401))
        dandiset 000999: the archive dandi does not show it without a key (status 401): ...
        """
        name = self.address.given
        if status in NO_ACCESS:
            return SettingsError(f"{what}: {self._no_access(name, status)}")
        if status in GONE:
            return DataError(
                f"{what}: not found in the archive {name} (status {status}). Check the id and the "
                "version; drafts change and their files can be removed."
            )
        return MachineError(f"{what}: the archive {name} answered with status {status}. Try again later.")

    def refused_by_storage(self, what: str, error: RefusedError) -> PipelineError:
        """Return the error for an answer of the storage: no key opens or closes it.

        Examples
        --------
        >>> print(Access("dandi").refused_by_storage("a.nwb", RefusedError(404, storage="s3.example.org")))
        a.nwb: the storage at s3.example.org has no such file (status 404), though the archive dandi ...
        """
        said = f"status {error.status}" + (f", {error.code}" if error.code else "")
        if error.status in GONE:
            return DataError(
                f"{what}: the storage at {error.storage} has no such file ({said}), though the archive "
                f"{self.address.given} lists it. Leave the session out (--exclude), or report it to the "
                "archive."
            )
        return MachineError(
            f"{what}: the storage at {error.storage} refuses to be read ({said}), also with an address asked "
            f"for afresh; your key plays no part in it. Check that this machine may reach {error.storage} "
            "(proxy, firewall) and that its clock is right, and try again later."
        )

    @contextmanager
    def asking_for(self, what: str) -> Iterator[None]:
        """Turn the failures of a conversation with the archive into errors that say what to do.

        Raises
        ------
        DataError
            If the archive or its storage does not have it.
        SettingsError
            If a key is missing or refused.
        MachineError
            If archive or storage is out of reach, out of order or not understood.
        """
        try:
            yield
        except RefusedError as error:
            if error.storage:
                raise self.refused_by_storage(what, error) from error
            raise self.refused(what, error.status) from error
        except InterruptedTransferError as error:
            if error.status:
                raise self.put_off(what, error) from error
            raise self.unreachable(what, str(error)) from error
        except requests.exceptions.InvalidURL as error:
            raise self.not_understood(what, str(error)) from error
        except requests.RequestException as error:
            raise self.unreachable(what, type(error).__name__) from error

    def put_off(self, what: str, error: InterruptedTransferError) -> MachineError:
        """Return the error for an archive that asks for patience, or is out of order, for too long."""
        wish = f" and asks to wait {error.retry_after_s:.0f} s" if error.retry_after_s else ""
        return MachineError(
            f"{what}: the archive {self.address.given} answered with status {error.status}{wish}. Run the "
            "same command again later."
        )

    def not_understood(self, what: str, why: str) -> MachineError:
        """Return the error for an answer that is not of the archive's kind."""
        return MachineError(
            f"{what}: the answer of the archive {self.address.given} is not understood: {why}. Check that "
            "the --instance URL is that of a DANDI archive and that no proxy changes its answers; if both "
            "are right, report it to the archive."
        )

    def unreachable(self, what: str, why: str) -> MachineError:
        """Return the error for an archive that does not answer."""
        return MachineError(
            f"{what}: the archive {self.address.given} cannot be reached ({why}). Check the "
            "network, the proxy settings and the --instance URL, and run the same command again."
        )

    def _found(self) -> str | None:
        return self._token or (os.environ.get(self.variable) or "").strip() or None

    def _no_access(self, name: str, status: int) -> str:
        if self.is_refused:
            return (
                f"the archive {name} refuses the key from {self.variable} (status {status}), and does not "
                "show it without one. Check that the key belongs to this archive and is still good."
            )
        if self.key:
            return (
                f"the archive {name} does not show it to the owner of the key from {self.variable} (status "
                f"{status}): the dandiset is embargoed or private. Ask the dandiset's owners to add that "
                "user, or use the key of one of them."
            )
        if self._found():
            return (
                f"the archive {name} does not show it without a key (status {status}), and the key from "
                f"{self.variable} is not sent over plain http, where others can read it. Give the "
                f"archive's https address: --instance https://{urlsplit(self.address.url).netloc}."
            )
        missing = (
            f"the archive {name} does not show it without a key (status {status}): it is embargoed or "
            "private."
        )
        if self._had_key:
            return (
                f"{missing} The command had a key, but keys are not sent to other processes, and "
                f"{self.variable} is not set on {socket.gethostname()}. Set the environment variable "
                f"{self.variable} for the workers there, e.g. in the job script of --cluster-config."
            )
        return f"{missing} Put your API key into the environment variable {self.variable}."
