"""Where an ingest takes its recordings and its recipe from, by the words of whoever asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.sources.dandi_archive import DandiSource
    from nwb_latents.pipeline.sources.folder import FolderSource
    from nwb_latents.schemas.catalog import DandisetEntry

MAIN_ARCHIVE = "dandi"
BENCHMARK = "nlb:"


def folder_source(paths: Sequence[Path]) -> FolderSource:
    """Return the source of NWB files and folders of them; relative paths hold for workers elsewhere too."""
    from nwb_latents.pipeline.sources.folder import FolderSource  # noqa: PLC0415

    return FolderSource([path.absolute() for path in paths])


def archive_source(
    dandiset: str,
    catalog_path: Path,
    *,
    instance: str = MAIN_ARCHIVE,
    token_env: str | None = None,
    download_dir: Path | None = None,
    verify: bool = False,
) -> DandiSource:
    """Return the source of a dandiset.

    Parameters
    ----------
    dandiset
        ``ID`` or ``ID@VERSION``.
    catalog_path
        Catalog file, whose pins of the same archive count above the packaged ones.
    instance
        Archive: its URL, or a name the dandi client knows.
    token_env
        Environment variable with the archive's key; None: that of the archive.
    download_dir
        Where downloads go; None: ``downloads/`` beside the catalog.
    verify
        Whether streamed files are read whole once more and held against their SHA-256.

    Examples
    --------
    >>> from pathlib import Path
    >>> archive_source("000688", Path("nowhere/catalog.yaml")).dandiset
    '000688'
    """
    from nwb_latents.pipeline.sources.archive_paths import parse_dandiset  # noqa: PLC0415
    from nwb_latents.pipeline.sources.dandi_archive import DandiSource  # noqa: PLC0415

    wanted = parse_dandiset(dandiset)[0]
    known = pinned_dandisets(catalog_path, instance, [wanted])
    return DandiSource(
        dandiset,
        instance=instance,
        download_dir=(download_dir or catalog_path.parent / "downloads").absolute(),
        known=known.get(wanted),
        token_env=token_env,
        verify=verify,
    )


def pinned_dandisets(
    catalog_path: Path, instance: str, wanted: Sequence[str] = ()
) -> dict[str, DandisetEntry]:
    """Return the dandisets that are known of an archive, however it is named, by their id.

    Parameters
    ----------
    catalog_path
        Catalog file, whose entries count above the packaged ones.
    instance
        Archive: its URL, or a name the dandi client knows.
    wanted
        Ids that are asked for: their entries have to be readable.

    Raises
    ------
    SettingsError
        If the archive's name or the catalog cannot be used.

    Examples
    --------
    >>> from pathlib import Path
    >>> "000688" in pinned_dandisets(Path("nowhere/catalog.yaml"), "https://api.dandiarchive.org/api")
    True
    """
    from nwb_latents.pipeline.sources.archive_address import resolve_archive  # noqa: PLC0415
    from nwb_latents.pipeline.sources.known_dandisets import dandisets_of, pin_key  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import own_dandisets  # noqa: PLC0415

    archive = resolve_archive(instance).url
    own = own_dandisets(catalog_path, [pin_key(archive, name) for name in wanted])
    return dandisets_of(archive, own, wanted=wanted)


def recipe_of_benchmark(word: str) -> dict[str, Any] | None:
    """Return the recipe ``nlb:KEY`` or ``nlb:KEY_20`` stands for; None: the word is none of these.

    Raises
    ------
    SettingsError
        If the Neural Latents Benchmark has no such dataset.

    Examples
    --------
    >>> recipe_of_benchmark("nlb:mc_maze_20")["bin_size_s"], recipe_of_benchmark("mine.yaml")
    (0.02, None)
    """
    if not word.startswith(BENCHMARK):
        return None
    from nwb_latents.pipeline.stores.nlb_settings import nlb_group_key, nlb_recipe  # noqa: PLC0415

    dataset, width = nlb_group_key(word.removeprefix(BENCHMARK))
    return nlb_recipe(dataset.key, bin_size_ms=width).model_dump()
