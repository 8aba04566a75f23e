"""What an exporter is: a name, a suffix, settings, how one session is written, and whether a file is current.

An exporter writes one file a session. It is handed a path of its own: the file gets the name it was asked for
only when it is whole (`write_export`), so no exporter has to think of crashes. Whether a file is up to date
is read from the file where the format can hold attributes (`pipeline.stores.exporters.hdf5.Hdf5Exporter`),
and else from a small JSON file beside it that also says what the file was made of.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.atomic import whole_file, write_text
from nwb_latents.pipeline.stores.plain_files import open_file, read_file
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.export import ExportOrigin
from nwb_latents.schemas.registry import EXPORTERS, BrokenPartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.store import StoreAttributes

Settings = TypeVar("Settings", bound=Frozen)


class Exporter(ABC, Generic[Settings]):
    """Writes a session as a file of another program. Registered as ``nwb_latents.exporters``.

    Attributes
    ----------
    name
        What comes after ``pipeline export``; the name of the entry point.
    suffix
        End of the file's name, with its dot.
    settings_type
        Class of the settings; their descriptions are the help text.
    summary
        One sentence for the help.
    version
        Raised when the same store and settings give another file than before.

    Examples
    --------
    >>> exporter_named("lfads").suffix
    '.h5'
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    settings_type: ClassVar[type[Frozen]]
    summary: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def write(self, session: Session, path: Path, settings: Settings) -> Sequence[str]:
        """Write one session to `path`, where nothing is yet.

        What is left there when this raises is thrown away.

        Parameters
        ----------
        session
            The session.
        path
            File to write; ends in `suffix`.
        settings
            Of the class `settings_type`.

        Returns
        -------
        notes
            What whoever uses the file must know, one sentence each; shown on the screen.

        Raises
        ------
        PipelineError
            If the session cannot be written in this form; it fails by itself, the others are written.
        """

    def key(self, settings: Frozen, store_key: str) -> str:
        """Return what makes two files the same: equal keys mean equal content.

        Examples
        --------
        >>> from nwb_latents.schemas.export import LfadsExport, NlbExport
        >>> nlb, lfads = exporter_named("nlb"), exporter_named("lfads")
        >>> nlb.key(NlbExport(), "a") == nlb.key(NlbExport(lag_ms=100), "a")
        True
        >>> nlb.key(NlbExport(), "a") == lfads.key(LfadsExport(), "a")
        False
        """
        # Keys were first made of the name of the settings' class; in this form they are still the same.
        parts = [f"{self.name.capitalize()}Export", settings.digest(), store_key, self.version]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def origin(self, attributes: StoreAttributes, settings: Frozen) -> dict[str, str | float]:
        """Return what a file says about its origin, as flat attributes.

        Parameters
        ----------
        attributes
            Attributes of the store it is made from.
        settings
            Settings of the export.
        """
        source = attributes.provenance
        return {
            "export_key": self.key(settings, attributes.store_key),
            "export_settings": settings.model_dump_json(),
            "session": attributes.session,
            "subject": attributes.subject,
            "task": attributes.task,
            "bin_size_s": attributes.bin_size_s,
            "store_key": attributes.store_key,
            "source": source.source,
            "source_digest": source.asset_digest,
            "dandiset": f"{source.dandiset}@{source.dandiset_version}" if source.dandiset else "",
            "recipe": attributes.recipe.model_dump_json(),
        }

    def is_current(self, path: Path, key: str) -> bool:
        """Whether `path` is a whole file with this key, as written.

        By itself an exporter reads that from the file beside it (`origin_path`): a file that was cut short or
        changed since is not current.
        """
        origin = read_origin(path)
        return origin is not None and origin.export_key == key and _is_as_written(path, origin)

    def confirm(self, path: Path, origin: ExportOrigin) -> None:
        """Note down that the file at `path` is whole, and what it was made of.

        By itself an exporter writes that beside the file; one whose files say it themselves need not.

        Raises
        ------
        MachineError
            If the disk refuses.
        """
        write_text(origin_path(path), origin.text())


def exporter_named(name: str) -> Exporter[Frozen]:
    """Return the exporter of that name.

    Raises
    ------
    UnknownPartError
        If there is none; the message names the nearest.
    BrokenPartError
        If it cannot be loaded, or is no exporter.

    Examples
    --------
    >>> exporter_named("lfadz")
    Traceback (most recent call last):
        ...
    nwb_latents.schemas.registry.UnknownPartError: no exporter is called 'lfadz'; did you mean lfads? There...
    """
    found = EXPORTERS.load(name)
    fault = _fault(found, name)
    if fault:
        raise BrokenPartError(
            f"the exporter {name!r} of {EXPORTERS.owner(name)} {fault}. {EXPORTERS.remedy(name)}"
        )
    try:
        exporter: Exporter[Frozen] = found()
    except Exception as error:
        raise BrokenPartError(
            f"the exporter {name!r} of {EXPORTERS.owner(name)} cannot be made: {type(error).__name__}: "
            f"{error}. {EXPORTERS.remedy(name)}"
        ) from error
    return exporter


def _fault(found: object, name: str) -> str:
    """Say what is wrong with a registered exporter; nothing: empty."""
    if not (isinstance(found, type) and issubclass(found, Exporter)):
        return f"is {found!r}, not a class derived from Exporter"
    missing = [word for word in ("name", "suffix", "settings_type", "summary") if not hasattr(found, word)]
    missing += sorted(found.__abstractmethods__)
    if missing:
        return f"does not say its {', '.join(missing)}"
    if found.name != name:
        return f"calls itself {found.name!r}; class and entry point must have the same name"
    if not found.suffix.startswith(".") or "/" in found.suffix:
        return f"has the suffix {found.suffix!r}; a suffix begins with a dot"
    return "" if issubclass(found.settings_type, Frozen) else "has settings that are not derived from Frozen"


def write_export(
    exporter: Exporter[Frozen], session: Session, path: Path, *, settings: Frozen
) -> tuple[str, ...]:
    """Write one session with an exporter, whole or not at all.

    A file that is there is replaced only by a whole one, and is taken for current only after that.

    Returns
    -------
    notes
        What whoever uses the file must know.

    Raises
    ------
    DataError
        If the exporter left no file.
    MachineError
        If the disk refuses; nothing is left behind.
    PipelineError
        Whatever the exporter refuses.
    """
    with whole_file(path) as temporary:
        said = exporter.write(session, temporary, settings)
        notes = (said,) if isinstance(said, str) else tuple(said or ())
        if not temporary.is_file():
            beside = ", ".join(sorted(p.name for p in temporary.parent.iterdir())) or "nothing"
            raise DataError(
                f"{path}: the exporter {exporter.name} of {EXPORTERS.owner(exporter.name)} was to write this "
                f"file and left {beside}. Report it to those who made it."
            )
    exporter.confirm(path, _note(exporter, session.attributes, path, settings=settings))
    return notes


def origin_path(path: Path) -> Path:
    """Return where it is noted down what a file was made of, if the file itself cannot say it.

    Examples
    --------
    >>> from pathlib import Path
    >>> origin_path(Path("exports/a.npz")).name
    'a.npz.origin.json'
    """
    return path.with_name(f"{path.name}.origin.json")


def read_origin(path: Path) -> ExportOrigin | None:
    """Return what a file was made of, as noted down beside it; None where there is no such note."""
    try:
        return ExportOrigin.read(json.loads(read_file(origin_path(path))))
    except (OSError, ValueError):
        return None


def _note(
    exporter: Exporter[Frozen], attributes: StoreAttributes, path: Path, *, settings: Frozen
) -> ExportOrigin:
    nested = {
        "export_settings": settings.model_dump(mode="json"),
        "recipe": attributes.recipe.model_dump(mode="json"),
    }
    status = path.stat()
    return ExportOrigin.model_validate(
        {
            **exporter.origin(attributes, settings),
            **nested,
            "exporter": exporter.name,
            "distribution": EXPORTERS.owner(exporter.name),
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
            "sha256": _digest(path),
        }
    )


def _is_as_written(path: Path, origin: ExportOrigin) -> bool:
    try:
        status = path.stat()
        if status.st_size != origin.bytes:
            return False
        # A copy has another time; then its content decides.
        return status.st_mtime_ns == origin.modified_ns or _digest(path) == origin.sha256
    except OSError:
        return False


def _digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
