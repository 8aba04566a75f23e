"""What several devices can share out of a training, and what they cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.models.interface import Model
    from nwb_latents.schemas.training import TrainSettings


def require_shares(model: Model, sizes: Mapping[str, int], settings: TrainSettings) -> list[str]:
    """Refuse blocks that cannot be made, or that are fewer than the devices; return what is to be said.

    Parameters
    ----------
    model
        Freshly built.
    sizes
        Session id → number of its training trials.
    settings
        Of the training: devices, batches.

    Returns
    -------
    texts
        Where a device has more to do than another.

    Raises
    ------
    SettingsError
        If trials of a session are to be cut into blocks and the model cannot, or a step has fewer blocks than
        there are devices.

    Examples
    --------
    >>> from nwb_latents.models.registry import build_model
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> settings = TrainSettings(devices=2)
    >>> require_shares(build_model(settings.model, {"a": 3}, seed=0), {"a": 40}, settings)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: devices: 2 were asked for, and a step has 1 block to share ...
    """
    require_blocks(model, settings)
    n_blocks, n = least_blocks(sizes, settings), settings.devices
    if n_blocks >= n:
        if n == 1 or n_blocks % n == 0:
            return []
        text = (
            f"a step has {n_blocks} blocks, which {n} devices do not share evenly: some wait for others. "
            "batch.sessions_per_block and batch.trials_per_block decide how many there are"
        )
        return [text]
    raise SettingsError(
        f"devices: {n} were asked for, and a step has {n_blocks} block{'s' * (n_blocks > 1)} to share out "
        f"({_what_is_drawn(sizes, settings)}). Use --devices {n_blocks}"
        f"{_smaller_blocks(model, sizes, settings)}.",
        setting="devices",
    )


def require_blocks(model: Model, settings: TrainSettings) -> None:
    """Refuse to cut the trials of a session into blocks where the model cannot compute them apart.

    Raises
    ------
    SettingsError
        If it cannot.
    """
    batch, name = settings.batch, settings.model.name
    if batch.trials_per_block is not None and not model.computes_trials_apart:
        raise SettingsError(
            f"batch.trials_per_block: the loss of the model {name} as it is set takes the trials of a "
            "session together, so that they cannot be computed apart. Leave it out; devices then share "
            "sessions out.",
            setting="batch.trials_per_block",
        )


def least_blocks(sizes: Mapping[str, int], settings: TrainSettings) -> int:
    """Return how many blocks a step has, whichever sessions are drawn for it.

    Examples
    --------
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> least_blocks(dict.fromkeys("abcde", 9), TrainSettings(batch={"sessions_per_block": 2}))
    3
    """
    batch = settings.batch
    n_drawn = min(len(sizes), batch.sessions_per_step)
    if batch.trials_per_block is None:
        return -(-n_drawn // batch.sessions_per_block)
    each = sorted(-(-min(n, batch.trials_per_session) // batch.trials_per_block) for n in sizes.values())
    return sum(each[:n_drawn])


def _what_is_drawn(sizes: Mapping[str, int], settings: TrainSettings) -> str:
    batch = settings.batch
    n_drawn = min(len(sizes), batch.sessions_per_step)
    sessions = f"{n_drawn} session{'s' * (n_drawn > 1)} a step"
    if batch.trials_per_block is None:
        return f"{sessions}, up to {batch.sessions_per_block} in a block"
    return f"{sessions}, up to {batch.trials_per_block} trials of one in a block"


def _smaller_blocks(model: Model, sizes: Mapping[str, int], settings: TrainSettings) -> str:
    """Return how there could be as many blocks as devices; nothing where there cannot."""
    batch, n = settings.batch, settings.devices
    n_drawn = min(len(sizes), batch.sessions_per_step)
    named = "; noise is drawn block by block, so that this is another run"
    if n_drawn >= n:
        return f", or smaller blocks, --set batch.sessions_per_block={n_drawn // n}{named}"
    if not model.computes_trials_apart:
        return (
            f": the loss of the model {settings.model.name} as it is set takes the trials of a session "
            "together, so that they cannot be shared out"
        )
    trials = min(*sizes.values(), batch.trials_per_session) if len(sizes) > 1 else next(iter(sizes.values()))
    per_block = max(1, min(trials, batch.trials_per_session) * n_drawn // n)
    return f", or cut the trials of a session, --set batch.trials_per_block={per_block}{named}"
