"""Where an ingest takes its recordings and its recipe from, by the words of whoever asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.sources.dandi_archive import DandiSource
    from nwb_latents.pipeline.sources.folder import FolderSource

MAIN_ARCHIVE = "dandi"
BENCHMARK = "nlb:"
KEY_VARIABLE = "DANDI_API_KEY"


def folder_source(paths: Sequence[Path]) -> FolderSource:
    """Return the source of NWB files and folders of them; relative paths hold for workers elsewhere too."""
    from nwb_latents.pipeline.sources.folder import FolderSource  # noqa: PLC0415

    return FolderSource([path.absolute() for path in paths])


def archive_source(
    dandiset: str,
    catalog_path: Path,
    *,
    instance: str = MAIN_ARCHIVE,
    token_env: str = KEY_VARIABLE,
    download_dir: Path | None = None,
) -> DandiSource:
    """Return the source of a dandiset.

    Parameters
    ----------
    dandiset
        ``ID`` or ``ID@VERSION``.
    catalog_path
        Catalog file, whose pins count above the packaged ones.
    instance
        Archive: its URL, or a name the dandi client knows.
    token_env
        Environment variable with the archive's key.
    download_dir
        Where downloads go; None: ``downloads/`` beside the catalog.

    Examples
    --------
    >>> from pathlib import Path
    >>> archive_source("000688", Path("nowhere/catalog.yaml")).dandiset
    '000688'
    """
    from nwb_latents.pipeline.sources.dandi_archive import DandiSource  # noqa: PLC0415
    from nwb_latents.pipeline.sources.known_dandisets import known_dandisets  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import own_dandisets  # noqa: PLC0415

    wanted = dandiset.partition("@")[0].removeprefix("DANDI:")
    own = own_dandisets(catalog_path, [wanted]) if instance == MAIN_ARCHIVE else {}
    known = known_dandisets(own, wanted=[wanted]) if instance == MAIN_ARCHIVE else {}
    return DandiSource(
        dandiset,
        instance=instance,
        download_dir=(download_dir or catalog_path.parent / "downloads").absolute(),
        token=os.environ.get(token_env),
        known=known.get(wanted),
        token_env=token_env,
    )


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
