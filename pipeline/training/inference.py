"""A trained run as two functions: reconstruct trials, forecast trials."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.data import TrialTensors, pack
from models.distributions import DiagGaussian
from models.registry import build_model
from pipeline.errors import DataError
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import resolve_device
from pipeline.training.feed import Scaling, session_tensors
from pipeline.training.run_files import BEST, CONFIG, read_config, read_entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from models.objective import Model
    from schemas.training import Device, TrainSettings

CHUNK_TRIALS = 512
"""Trials a model is given at once; bounds the memory of long sessions."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A trained model with the scaling of its sessions.

    Attributes
    ----------
    name
        Name of the run.
    settings
        What it was trained with.
    model
        In evaluation mode, with the best weights.
    scalings
        Session id → scaling of its units.
    device
        Where it computes.
    """

    name: str
    settings: TrainSettings
    model: Model
    scalings: Mapping[str, Scaling]
    device: torch.device

    @property
    def sessions(self) -> tuple[str, ...]:
        """Sessions the model knows."""
        return tuple(self.scalings)

    def reconstruct(self, session: str, dataset: xr.Dataset) -> NDArray[np.float32]:
        """Return the rates the model infers from whole trials.

        The embedding of the session is inferred from the trials given.

        Parameters
        ----------
        session
            Session id; one the model was trained on.
        dataset
            Trials of that session, any of them (`schemas.store.TRIALS_ARRAYS`).

        Returns
        -------
        rates
            Hz. Shape ``(trial, time, unit)``, finite, float32. A Gaussian likelihood may give rates slightly
            below 0.

        Raises
        ------
        DataError
            If the model does not know the session, or the dataset has other units or bins, or no trials.
        """
        tensors = self._tensors(session, dataset)
        with torch.inference_mode():
            embedding = self._embedding(tensors, n_bins=tensors.y.shape[1])
            parts = [
                self.model.predict(pack([part]).to(self.device), embedding=embedding).mean[0].cpu().numpy()
                for part in _chunks(tensors)
            ]
        return self.scalings[session].to_hz(np.concatenate(parts))

    def forecast(
        self, session: str, dataset: xr.Dataset, *, seen_bins: int, n_bins: int
    ) -> NDArray[np.float32]:
        """Return the rates the model expects after the bins it was shown.

        Neither the states nor the embedding depend on anything after the first `seen_bins` bins of the
        signal the model is shown.

        Parameters
        ----------
        session, dataset
            As in `reconstruct`.
        seen_bins
            Bins of each trial the model is shown.
        n_bins
            Bins it forecasts; may go beyond the end of the trials.

        Returns
        -------
        rates
            Hz. Shape ``(trial, n_bins, unit)``, float32.

        Raises
        ------
        DataError
            As in `reconstruct`, or if `seen_bins` is not within the trials.
        """
        tensors = self._tensors(session, dataset)
        available = tensors.y.shape[1]
        if not 1 <= seen_bins <= available or n_bins < 1:
            raise DataError(
                f"{session}: a forecast of {n_bins} bins from {seen_bins} seen ones, of trials with "
                f"{available} bins. See between 1 and {available} bins and forecast at least 1."
            )
        with torch.inference_mode():
            embedding = self._embedding(tensors, n_bins=seen_bins)
            parts = []
            for part in _chunks(tensors):
                batch = pack([part]).to(self.device)
                output = self.model.forecast(batch, seen_bins, n_bins, embedding=embedding)
                parts.append(output.mean[0].cpu().numpy())
        return self.scalings[session].to_hz(np.concatenate(parts))

    def embedding(self, session: str, dataset: xr.Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and variance of the session's embedding, inferred from the trials given.

        Returns
        -------
        mean, variance
            Shapes ``(E,)``, float32; empty where the model has no embedding.
        """
        tensors = self._tensors(session, dataset)
        with torch.inference_mode():
            q = self._embedding(tensors, n_bins=tensors.y.shape[1])
        if q is None:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        return q.mean[0].cpu().numpy(), q.var[0].cpu().numpy()

    def _tensors(self, session: str, dataset: xr.Dataset) -> TrialTensors:
        if session not in self.scalings:
            raise DataError(
                f"Run {self.name} was not trained on {session}; it knows {', '.join(self.sessions)}. "
                "Choose one of these, or train a run on that session too."
            )
        scaling = self.scalings[session]
        units = dataset["unit"].values.astype(np.int64)
        if not np.array_equal(units, scaling.units):
            raise DataError(
                f"{session}: run {self.name} was trained on {len(scaling.units)} units, the store holds "
                f"{len(units)} units with other ids. The session was ingested anew since: train again."
            )
        width = float(dataset.attrs["bin_size_s"])
        if width != scaling.bin_size_s:
            raise DataError(
                f"{session}: run {self.name} was trained on bins of {scaling.bin_size_s:g} s, the store "
                f"holds bins of {width:g} s. Choose the store of the run's recipe."
            )
        if dataset.sizes["trial"] == 0:
            raise DataError(f"{session}: no trials to run {self.name} on. Choose a split that has trials.")
        return session_tensors(session, dataset, scaling, signal=self.settings.signal)

    def _embedding(self, tensors: TrialTensors, *, n_bins: int) -> DiagGaussian | None:
        """Aggregate over all trials, however many fit into memory at once."""
        means, variances = [], []
        for part in _chunks(tensors):
            seen = TrialTensors(session=part.session, y=part.y[:, :n_bins], bin_s=part.bin_s)
            q = self.model.embed(pack([seen]).to(self.device))
            if q is None:
                return None
            means.append(q.mean * (part.n_trials / tensors.n_trials))
            variances.append(q.var * (part.n_trials / tensors.n_trials))
        _log.info(
            "%s: embedding of %s from %d trials of %d bins",
            self.name,
            tensors.session,
            tensors.n_trials,
            n_bins,
        )
        return DiagGaussian(torch.stack(means).sum(0), torch.stack(variances).sum(0))


def load_run(run_dir: Path, *, device: Device = "auto") -> TrainedRun:
    """Load a complete run with its best weights.

    Parameters
    ----------
    run_dir
        Run directory.
    device
        One of ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises
    ------
    DataError
        If the run is missing, incomplete or damaged.
    MachineError
        If the device is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> load_run(Path("nowhere/mdssm-0"))
    Traceback (most recent call last):
        ...
    pipeline.errors.DataError: nowhere/mdssm-0: no run here (config.yaml is missing). ...
    """
    config = read_config(run_dir)
    if config is None:
        raise DataError(f"{run_dir}: no run here ({CONFIG} is missing). Train it with `pipeline run train`.")
    if read_entry(run_dir) is None:
        raise DataError(
            f"{run_dir}: this run is not complete. Go on with `pipeline run train --resume {run_dir.name}`."
        )
    units = {session: source.n_units for session, source in config.sessions.items()}
    model = build_model(config.settings.model, units, seed=config.settings.seed)
    _, scalings = load_checkpoint(run_dir / BEST, model)
    target = resolve_device(device)
    model.eval().to(target)
    return TrainedRun(
        name=run_dir.name, settings=config.settings, model=model, scalings=scalings, device=target
    )


def _chunks(tensors: TrialTensors) -> list[TrialTensors]:
    starts = range(0, tensors.n_trials, CHUNK_TRIALS)
    rows = torch.arange(tensors.n_trials)
    return [tensors.select(rows[start : start + CHUNK_TRIALS]) for start in starts]
