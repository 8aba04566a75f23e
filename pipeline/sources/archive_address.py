"""Which archive a name or URL means, whose key it gets, and which addresses are its own.

The same archive has several names: ``dandi``, its web page, its interface. A pin, and a store's origin, name
the one address of its interface. A key is for that address alone: it goes to the same scheme, host and port,
over https, and never to where an answer points.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL

MAIN_ARCHIVE = "dandi"
"""Name of the archive that is meant where none is said."""

_MAIN_KEY = "DANDI_API_KEY"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ArchiveAddress:
    """Where an archive is.

    Attributes
    ----------
    given
        How the user named it, for messages.
    url
        Address by which it is known in catalogs and stores, without ``/api``.
    key_variable
        Environment variable that its key is read from unless another one is named.
    """

    given: str
    url: str
    key_variable: str

    @property
    def api_url(self) -> str:
        """Where its interface answers."""
        return f"{self.url}/api"

    @property
    def takes_key(self) -> bool:
        """Whether a key can be sent to it without being shown to others: over https, or on this machine.

        Examples
        --------
        >>> [resolve_archive(url).takes_key for url in ("dandi", "http://lab.org", "http://[::1]:8000")]
        [True, False, True]
        """
        parts = urlsplit(self.url)
        return parts.scheme == "https" or _is_loopback(parts.hostname or "")

    def is_own(self, url: str) -> bool:
        """Whether a URL lies at the archive itself: same scheme, host and port.

        Examples
        --------
        >>> main = resolve_archive("dandi")
        >>> main.is_own("https://API.dandiarchive.org:443/api/info/"), main.is_own("https://dandiarchive.org")
        (True, False)
        >>> main.is_own("http://api.dandiarchive.org/api/info/")
        False
        """
        try:
            return _origin(urlsplit(url)) == _origin(urlsplit(self.url))
        except ValueError:
            return False


def resolve_archive(instance: str) -> ArchiveAddress:
    """Return the archive that a name or URL means. Nothing is asked of it.

    Parameters
    ----------
    instance
        Name the dandi client knows, or URL of the web page or the interface of an archive.

    Raises
    ------
    SettingsError
        If it is neither.

    Examples
    --------
    >>> names = ("dandi", "https://dandiarchive.org/", "https://API.dandiarchive.org/api/")
    >>> {resolve_archive(name).url for name in names}
    {'https://api.dandiarchive.org'}
    >>> resolve_archive("http://127.0.0.1:8000/api").key_variable
    'DANDI_API_KEY_127_0_0_1_8000'
    >>> resolve_archive("dandi-sandbox").key_variable
    'DANDI_SANDBOX_API_KEY'
    """
    given = instance.strip()
    if given == MAIN_ARCHIVE:
        return ArchiveAddress(given, MAIN_ARCHIVE_URL, _MAIN_KEY)
    from dandi.consts import known_instances  # noqa: PLC0415 - heavy

    known = {name: _known(name, found.api) for name, found in known_instances.items()}
    if given in known:
        return known[given]
    if not given.lower().startswith(("http://", "https://")):
        raise SettingsError(
            f"'{instance}' is no DANDI archive. Give a URL starting with http:// or https://, or one of: "
            f"{', '.join(sorted(known))}."
        )
    url = _normal(given)
    for name, found in known_instances.items():
        if url in {_normal(each) for each in (found.api, found.gui) if each}:
            return ArchiveAddress(given, known[name].url, known[name].key_variable)
    place = re.sub(r"[^A-Z0-9]+", "_", url.partition("://")[2].upper()).strip("_")
    return ArchiveAddress(given, url, f"{_MAIN_KEY}_{place}")


def _known(name: str, api: str) -> ArchiveAddress:
    return ArchiveAddress(name, _normal(api), f"{name.upper().replace('-', '_')}_API_KEY")


def _normal(url: str) -> str:
    """Return scheme, host, port unless it is the scheme's own, and the path down to ``/api``."""
    try:
        parts = urlsplit(url)
        scheme, host, port = _origin(parts)
    except ValueError as error:
        # A URL may hold a password: it is not repeated where it was not understood.
        raise SettingsError(f"An archive's URL cannot be used: {error}. Give https://HOST.") from error
    if not host or parts.username is not None or parts.password is not None:
        wrong = "it names a user" if host else "it names no host"
        raise SettingsError(
            f"An archive's URL cannot be used: {wrong}. Give https://HOST; a key goes into an environment "
            "variable (--token-env VAR)."
        )
    where = f"[{host}]" if ":" in host else host
    where += "" if port == _PORTS[scheme] else f":{port}"
    return f"{scheme}://{where}{parts.path.rstrip('/').removesuffix('/api').rstrip('/')}"


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
