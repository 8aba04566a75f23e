"""Spoiled parts of a catalog's folder, and the commands that meet them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.schemas.recipe import IngestRecipe
from robustness import forked
from robustness.base import RUN, Base, numbers_of, store_digests, unlike
from robustness.verdict import (
    BAD_DATA,
    DONE,
    SOME_FAILED,
    Mutation,
    Verdict,
    judge,
    sentences_of_error,
    texts_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Spoil = Callable[[Path, np.random.Generator], Mutation]


@dataclass(frozen=True)
class Elsewhere:
    """Where parts of the folder of work are put before a command meets them.

    Attributes
    ----------
    name
        What what comes of commands on the whole is remembered by.
    put
        Puts them there, given the folder; done in a child.
    environment
        Variables the command needs.
    """

    name: str
    put: Callable[[str], object]
    environment: dict[str, str]


QUICK = ("--set", "n_permutations=0")
COMMANDS: dict[str, tuple[str, ...]] = {
    "verify": ("catalog", "verify", "--json"),
    "list": ("catalog", "list", "--json"),
    "scores": ("catalog", "scores", "--json"),
    "leaderboard": ("leaderboard", "--json"),
    "ingest": ("run", "ingest", "--path", "nwb", "--json"),
    "train": ("run", "train", "--config", "tiny.yaml", "--run-name", RUN, "--json"),
    "train anew": ("run", "train", "--config", "tiny.yaml", "--run-name", "s", "--json"),
    "resume": ("run", "train", "--resume", RUN, "--max-steps", "18", "--json"),
    "decode rates": ("run", "decode", "--source", "rates", *QUICK, "--json"),
    "decode": ("run", "decode", "--run", RUN, "--source", "reconstruction", *QUICK, "--json"),
    "forecast": ("run", "forecast", "--run", RUN, "--json"),
    "evaluate": ("run", "evaluate", "--run", RUN, "--json"),
    "export": ("export", "lfads", "--json"),
    "recut": ("run", "recut", "--set", "window_s=[-0.2, 0.4]", "--json"),
    "embed": ("run", "embed", "--run", RUN, "--json"),
}
CODES = frozenset({DONE, SOME_FAILED, BAD_DATA})
Outcome = tuple[dict[str, str], set[str], set[str]]
"""Numbers, sentences of events and of standard error."""


def no_pictures() -> None:
    """Let pictures be drawn and not written: that takes longest, and is the same whatever was spoiled."""
    from matplotlib.figure import Figure

    def savefig(self: Figure, path: Any, **_: Any) -> None:
        if isinstance(path, str | Path):
            Path(path).write_bytes(b"picture")
        else:
            path.write(b"picture")

    Figure.savefig = savefig  # type: ignore[assignment]


def attempt_on_folder(
    trial: str,
    base: Base,
    *,
    spoil: Spoil,
    command: str,
    rng: np.random.Generator,
    rule: Callable[[str, Mutation], Mutation] = lambda _, mutation: mutation,
    elsewhere: Elsewhere | None = None,
) -> Verdict:
    """Spoil a copy of the folder of work, run a command there and hold what comes of it against the whole.

    Parameters
    ----------
    trial
        Its id.
    base
        What is spoiled.
    spoil
        Given the folder; it says what it did.
    command
        Name of the command, of `COMMANDS`.
    rng
        Where chance comes from.
    rule
        Given the command and the mutation, returns the mutation as this command has to see it.
    elsewhere
        Where parts of the folder are put once they are spoiled; None: they stay.
    """
    place = "" if elsewhere is None else elsewhere.name
    numbers, was_said, was_written = base.known(
        f"work {place} {command}", lambda: _whole(base, command, elsewhere)
    )
    folder = base.copied(trial)
    seed = int(rng.integers(2**32))
    said = forked.call(_spoiled, spoil, str(folder), seed)
    if elsewhere is not None:
        forked.call(elsewhere.put, str(folder))
    mutation = rule(command, Mutation(**{**said, "names": tuple(said["names"])}))
    is_program = bool(rng.random() < base.share_as_program)
    ended = forked.run(
        COMMANDS[command],
        folder,
        prepare=no_pictures,
        as_program=is_program,
        environment=None if elsewhere is None else elsewhere.environment,
    )
    found, says, written = _outcome(command, ended, folder)
    new = sorted(says - was_said) + sorted(written - was_written)
    return judge(
        Verdict(trial, command=" ".join(COMMANDS[command])),
        ended,
        mutation,
        new=new,
        difference=unlike(numbers, found),
        allowed=CODES,
    )


def _spoiled(spoil: Spoil, folder: str, seed: int) -> dict[str, Any]:
    return asdict(spoil(Path(folder), np.random.default_rng(seed)))


def _whole(base: Base, command: str, elsewhere: Elsewhere | None) -> Outcome:
    folder = base.copied(f"whole-{command.replace(' ', '-')}")
    environment = None
    if elsewhere is not None:
        forked.call(elsewhere.put, str(folder))
        environment = elsewhere.environment
    ended = forked.run(COMMANDS[command], folder, prepare=no_pictures, environment=environment)
    if ended.code != 0:
        raise RuntimeError(f"{command}: {ended.err}")
    return _outcome(command, ended, folder)


def _outcome(command: str, ended: forked.Ended, folder: Path) -> Outcome:
    numbers = numbers_of(ended.events)
    if command in {"ingest", "recut"} and ended.code == 0:
        numbers = {k: v for k, v in numbers.items() if not k.startswith("session")}
        # Of what was cut anew, not of what it was cut from.
        numbers |= forked.call(
            store_digests, str(folder), IngestRecipe().recipe_id if command == "recut" else ""
        )
    if command == "export" and ended.code == 0:
        numbers = forked.call(h5_digests, str(folder / "exports"))
    if command == "verify":
        numbers = {k: v for k, v in numbers.items() if not k.startswith("verify")}
    return numbers, texts_of(ended), sentences_of_error(ended)


def h5_digests(folder: str) -> dict[str, str]:
    """Return a digest of each dataset of the HDF5 files in a folder."""
    import h5py

    found: dict[str, str] = {}
    for path in sorted(Path(folder).rglob("*.h5")):
        with h5py.File(path) as h5:
            names: list[str] = []
            h5.visit(names.append)
            for name in names:
                if isinstance(h5[name], h5py.Dataset):
                    values = np.asarray(h5[name][()])
                    found[f"{path.name}/{name}"] = hashlib.sha256(values.tobytes()).hexdigest()[:16]
    return found


def weighted(commands: Mapping[str, int], rng: np.random.Generator) -> str:
    """Return one of the commands, by their weights."""
    weights = np.array(list(commands.values()), float)
    return str(rng.choice(list(commands), p=weights / weights.sum()))
