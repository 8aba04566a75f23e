"""Where servers send those who ask, held to be addresses before they are followed."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests


class RedirectedSession(requests.Session):
    """A session that refuses to be sent to what is no address, as ``http://[::1``.

    `requests` itself ends in a ValueError there, which says of nobody that it was the server.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer sends to, or None.

        Raises
        ------
        requests.exceptions.InvalidURL
            If it is no address.
        """
        target = super().get_redirect_target(resp)
        if target is not None:
            join_address(str(resp.url), target)
        return target


def join_address(asked: str, target: str) -> str:
    """Return the address that an answer sends to.

    Raises
    ------
    requests.exceptions.InvalidURL
        If it is no address.

    Examples
    --------
    >>> join_address("https://api.dandiarchive.org/api/", "/api/info/")
    'https://api.dandiarchive.org/api/info/'
    >>> join_address("https://api.dandiarchive.org/api/", "http://[::1")
    Traceback (most recent call last):
        ...
    requests.exceptions.InvalidURL: it sends to 'http://[::1', which is no address
    """
    try:
        joined = urljoin(asked, target)
        _ = urlsplit(joined).port
    except ValueError as error:
        raise requests.exceptions.InvalidURL(f"it sends to {target[:80]!a}, which is no address") from error
    return joined
