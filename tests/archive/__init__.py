"""A DANDI archive on the loopback interface, with faults to order.

It answers the requests that the `dandi` client makes, in the shapes of the archive's own server::

    with LoopbackArchive({"000999": {"0.240101.0000": {"sub-A/sub-A_ses-1.nwb": b"..."}}}) as archive:
        archive.fault("/blob/*", drop(after=1000))
        source = DandiSource("000999", instance=archive.url, ...)
        ...
        assert archive.bytes_sent("/blob/*") == 1000 + rest
"""

from archive.answers import Request
from archive.faults import (
    Fault,
    body,
    drop,
    flip_byte,
    ignore_range,
    no_etag,
    reset,
    short_body,
    stall,
    status,
    surplus,
    too_many_requests,
    wrong_etag,
    wrong_range,
)
from archive.server import LoopbackArchive
from archive.shelf import ZARR, Files, ShelvedAsset

__all__ = [
    "ZARR",
    "Fault",
    "Files",
    "LoopbackArchive",
    "Request",
    "ShelvedAsset",
    "body",
    "drop",
    "flip_byte",
    "ignore_range",
    "no_etag",
    "reset",
    "short_body",
    "stall",
    "status",
    "surplus",
    "too_many_requests",
    "wrong_etag",
    "wrong_range",
]
