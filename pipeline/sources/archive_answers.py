"""What the archive answers, as far as it is read, and nothing that is not of that kind.

Each answer is checked whole before anything is made of it, so that a number that is missing is told with its
place in the answer, not found out later as something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from nwb_latents.pipeline.sources.archive_access import Access

DRAFT = "draft"
_MOST_BYTES = 1 << 62

Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,80}$")]
"""Id of a file or Zarr: it becomes part of an address."""

Size = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]


class Answer(BaseModel):
    """Part of an answer; what is not read of it is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, populate_by_name=True)


class Digests(Answer):
    """Digests of a file or Zarr as the archive states them; None: not computed yet."""

    sha256: str | None = Field(None, alias="dandi:sha2-256", pattern="^[0-9a-f]{64}$")
    dandi_etag: str | None = Field(None, alias="dandi:dandi-etag", pattern="^[0-9a-f]{32}-[0-9]{1,9}$")
    zarr_checksum: str | None = Field(
        None, alias="dandi:dandi-zarr-checksum", pattern="^[0-9a-f]{32}-[0-9]{1,18}--[0-9]{1,18}$"
    )


class AssetMetadata(Answer):
    """Metadata of a file, as far as they are read."""

    digest: Digests | None = None


class AssetAnswer(Answer):
    """A file or Zarr, listed or asked for by itself."""

    asset_id: Id
    path: Text
    size: Size
    blob: Id | None = None
    zarr: Id | None = None
    metadata: AssetMetadata | None = None

    @property
    def is_zarr(self) -> bool:
        """Whether it is a Zarr, not a file."""
        return self.zarr is not None

    @property
    def digests(self) -> Digests:
        """What the archive states of its content."""
        return (self.metadata.digest if self.metadata else None) or Digests()


class ZarrEntry(Answer):
    """A file of a Zarr; its ETag is its MD5, or that of its parts."""

    key: Text = Field(alias="Key")
    size: Size = Field(alias="Size")
    etag: str = Field(alias="ETag", pattern='^"?[0-9a-f]{32}(-[0-9]{1,9})?"?$')

    @property
    def digest(self) -> str:
        """The ETag without quotes."""
        return self.etag.strip('"')


class VersionMetadata(Answer):
    """What is to be cited of a version."""

    citation: str = ""
    license: tuple[str, ...] | list[str] = ()


class VersionAnswer(Answer):
    """A version of a dandiset."""

    version: str = Field(pattern=r"^(draft|[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9})$")
    name: str = ""
    asset_count: int | None = Field(None, ge=0)
    modified: str | None = None
    metadata: VersionMetadata | None = None


class DandisetAnswer(Answer):
    """A dandiset."""

    identifier: str
    most_recent_published_version: VersionAnswer | None = None
    draft_version: VersionAnswer | None = None


class PageAnswer(Answer):
    """A page of a listing; its results are checked by themselves."""

    count: int | None = Field(None, ge=0)
    next: str | None = None
    results: list[Any]


Kind = TypeVar("Kind", bound=Answer)


def checked(kind: type[Kind], content: Any, *, access: Access, what: str, where: str) -> Kind:
    """Return an answer as what it has to be.

    Parameters
    ----------
    kind
        What it has to be.
    content
        What came.
    access
        Whose answer it is, for the message.
    what
        What was asked for.
    where
        Which part of the answer it is; empty: the whole.

    Raises
    ------
    MachineError
        If it is something else; the message says where, what was found and what was expected.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.archive_access import Access
    >>> item = {"asset_id": "1", "path": "a.nwb", "size": None}
    >>> checked(AssetAnswer, item, access=Access("dandi"), what="Dandiset 000999", where="results.3")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Dandiset 000999: the answer of the archive dandi is not \
understood: at results.3.size (of a.nwb): found None, ...
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(word) for word in (where, *first["loc"]) if word != "") or "its top"
        named = content.get("path") if isinstance(content, dict) else None
        of = f" (of {ascii(named)[1:-1][:120]})" if isinstance(named, str) and named else ""
        raise access.not_understood(
            what, f"at {place}{of}: found {_found(first.get('input'))}, but: {first['msg']}"
        ) from error


def _found(value: object) -> str:
    """Return a value as it can be shown anywhere, not too long."""
    if isinstance(value, dict | list):
        return f"{'a mapping' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
