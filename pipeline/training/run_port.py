"""A port for the processes of a training to meet at."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of this machine that nobody uses.

    Parameters
    ----------
    address
        Name or number by which the machine is met.

    Examples
    --------
    >>> 0 < free_port() < 65536
    True
    """
    with socket.socket() as free:
        try:
            free.bind((address, 0))
        except OSError:
            free.bind(("", 0))
        port: int = free.getsockname()[1]
    return port
