"""A trained run as functions on sessions: reconstruct, forecast, embed, and run freely."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.models.randomness import derived_generator
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.forecasting.foreseen import Foreseen
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.stores.manifest import require_whole
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training import run_inputs
from nwb_latents.pipeline.training.checkpoint import load_checkpoint, read_embeddings, require_weights_of
from nwb_latents.pipeline.training.device import resolve_device
from nwb_latents.pipeline.training.model_building import built_model
from nwb_latents.pipeline.training.run_dynamics import RunDynamics
from nwb_latents.pipeline.training.run_files import BEST, CONFIG, ENTRY, TRAIN_AGAIN, read_config, read_entry
from nwb_latents.pipeline.training.session_embedding import infer_embedding
from nwb_latents.pipeline.training.trial_record import read_run_trials, trained_rows
from nwb_latents.pipeline.training.unseen_trials import unseen_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.models.batching.tensors import Batch, TrialTensors
    from nwb_latents.models.interface import Output
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.unseen_trials import Unseen
    from nwb_latents.schemas.training import Device, InputSmoothing, RunSource
    from nwb_latents.schemas.trial_record import RunTrials

EmbeddingFrom = Literal["training", "trial"]


@dataclass(frozen=True)
class TrainedRun(RunDynamics):
    """A trained model with the scaling of its sessions, as functions on their trials.

    Where a function takes a session, that is one the model was trained on, with any of its trials
    (`Session.select`).

    Attributes
    ----------
    sources
        Session id → the store it was trained on; trials of another store of that session are refused.
    embeddings
        Session id → posterior of its embedding given the trials the run was trained on. What is missing, of
        a run of an earlier version, is inferred from these trials when it is asked for.
    embedding_from
        Whether what is made of a trial goes by that embedding, or by one of the trial's own, inferred from
        the bins it is shown. Never does it hang on other trials that are looked at.
    """

    sources: Mapping[str, RunSource] = field(default_factory=dict)
    embeddings: Mapping[str, DiagGaussian] = field(default_factory=dict)
    embedding_from: EmbeddingFrom = "training"
    _inferred: dict[str, DiagGaussian | None] = field(default_factory=dict, repr=False, compare=False)
    _remembered: Callable[[], RunTrials | None] = field(default=lambda: None, repr=False, compare=False)

    def reconstruct(
        self, session: Session, *, n_samples: int | None = None, seed: int = 0
    ) -> NDArray[np.float32]:
        """Return the rates the model infers from whole trials, of each by itself (`embedding_from`).

        Parameters
        ----------
        session
            With the trials to reconstruct.
        n_samples
            Samples of the posterior whose rates are averaged; 0: the rates along the posterior mean. Default:
            what the model's publications have, 50 for LFADS, 0 for the others.
        seed
            Of the samples.

        Returns
        -------
        rates
            Hz. Shape ``(trial, time, unit)``, finite, float32. A Gaussian likelihood may give rates slightly
            below 0.

        Raises
        ------
        DataError
            If the model does not know the session, or the session has other units or bins, or no trials.
        """
        tensors = self._tensors(session)
        n_samples = self.model.rate_samples if n_samples is None else n_samples
        with torch.inference_mode():
            embedding, batches = self._laid_out(session, tensors)
            made = []
            for number, batch in enumerate(batches):
                noise = derived_generator(seed, "reconstruct", session.name, number, device=self.device)
                made.append(
                    self.model.predict(batch, n_samples=n_samples, generator=noise, embedding=embedding).mean
                )
        return self.scalings[session.name].to_hz(run_inputs.of_trials(made))

    def forecast(self, session: Session, *, seen_bins: int, n_bins: int) -> NDArray[np.float32]:
        """Return the rates the model expects after the bins it was shown: those of `foresee`.

        Returns
        -------
        rates
            Hz. Shape ``(trial, n_bins, unit)``, float32.
        """
        return self.foresee(session, seen_bins=seen_bins, n_bins=n_bins).rates

    def foresee(self, session: Session, *, seen_bins: int, n_bins: int, leaky: bool = False) -> Foreseen:
        """Return what the model expects after the bins it was shown.

        Neither the states nor the embedding depend on any spike after the first `seen_bins` bins of a trial,
        or on other trials given: a model of smoothed rates is shown these bins smoothed from themselves,
        however it was trained.

        Parameters
        ----------
        session
            As in `reconstruct`.
        seen_bins
            Bins of each trial the model is shown.
        n_bins
            Bins it forecasts; may go beyond the end of the trials.
        leaky
            Show a model of smoothed rates the recorded ones, which hold spikes after the bins seen, as in
            the literature.

        Returns
        -------
        foreseen
            Rates, states, and the velocity of the model's own head where it has one.

        Raises
        ------
        DataError
            As in `reconstruct`, or if `seen_bins` is not within the trials.
        """
        tensors = self._tensors(session, input_smoothing="recorded" if leaky else "shown")
        run_inputs.require_forecastable(tensors, seen_bins=seen_bins, n_bins=n_bins)
        with torch.inference_mode():
            # Nothing after the bins seen is even handed over, whatever a model does with it.
            embedding, batches = self._laid_out(session, tensors, n_bins=seen_bins)
            made = [self.model.forecast(each, seen_bins, n_bins, embedding=embedding) for each in batches]
        return Foreseen(
            rates=self.scalings[session.name].to_hz(run_inputs.of_trials(each.mean for each in made)),
            states=run_inputs.of_trials(each.latents for each in made),
            velocity=self._velocity(session, made),
        )

    def velocity(self, session: Session) -> NDArray[np.float32] | None:
        """Return the hand velocity the model's own head tells of whole trials.

        Returns
        -------
        velocity
            That ``behaviour_lag_ms`` after each bin, cm/s. Shape ``(trial, time, axis)``, float32. None
            where the model has no head, or was trained without velocity of this session.

        Raises
        ------
        DataError
            As in `reconstruct`.
        """
        tensors = self._tensors(session)
        with torch.inference_mode():
            embedding, batches = self._laid_out(session, tensors)
            made = [self.model.predict(each, embedding=embedding) for each in batches]
        return self._velocity(session, made)

    def _velocity(self, session: Session, made: Sequence[Output]) -> NDArray[np.float32] | None:
        told = [each.velocity for each in made if each.velocity is not None]
        scaling = self.scalings[session.name].velocity
        return scaling.to_cm_s(run_inputs.of_trials(told)) if told and scaling is not None else None

    def forward(
        self, session: Session, *, n_bins: int, n_samples: int | None = None, seed: int = 0
    ) -> NDArray[np.float32]:
        """Return the rates of the bins that follow the window, from whole windows.

        A run that was trained with ``forward_ms`` gives them as it was taught to: as further bins of the
        reconstruction. Any other run forecasts them.

        Parameters
        ----------
        session
            As in `reconstruct`. Where the model has external inputs, with those of the bins that follow
            (`pipeline.training.feed.with_forward_bins`). Spikes after the window are not looked at.
        n_bins
            Bins after the window.
        n_samples, seed
            As in `reconstruct`; a forecast is not sampled.

        Returns
        -------
        rates
            Hz. Shape ``(trial, n_bins, unit)``, float32.

        Raises
        ------
        DataError
            As in `reconstruct`, or if the model cannot go on for as many bins.
        """
        if n_bins < 1:
            raise DataError(f"{session.name}: {n_bins} bins after the window; ask for at least 1.")
        length = session.n_bins
        unseen = run_inputs.with_nothing_after(session, n_bins)
        try:
            if not self.settings.forward_ms:
                return self.forecast(unseen, seen_bins=length, n_bins=n_bins)
            rates = self.reconstruct(unseen, n_samples=n_samples, seed=seed)
        except ValueError as error:
            raise DataError(
                f"{session.name}: run {self.name} cannot go on for {n_bins} bins after windows of {length}: "
                f"{error}. Ask for fewer bins, or for none."
            ) from error
        return rates[:, length:]

    def unseen(self, session: Session) -> Unseen | None:
        """Return a session of another store than the run was trained on, split as the run knows its trials.

        Its test trials are those the run was neither trained nor validated on, whatever the store calls them.

        Parameters
        ----------
        session
            All trials of its store.

        Returns
        -------
        unseen
            None if it is the store the run was trained on: the split is the run's own.

        Raises
        ------
        DataError
            If the run does not know the session, it cannot be proven which trials it has seen, or it has
            seen all.
        """
        self._known(session.name)
        source = self.sources.get(session.name)
        if source is None or not session.store_key or source.store_key == session.store_key:
            return None
        record = self._remembered()
        return unseen_trials(
            self.name,
            None if record is None else record.sessions.get(session.name),
            session,
            store_key=source.store_key,
            forward_ms=self.settings.forward_ms,
        )

    def embedding(self, session: Session) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and variance of the embedding that is inferred from the trials given.

        Returns
        -------
        mean, variance
            Shapes ``(E,)``, float32; empty where the model has no embedding.
        """
        tensors = self._tensors(session)
        with torch.inference_mode():
            q = infer_embedding(self.model, tensors)
        if q is None:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        return q.mean[0].cpu().numpy(), q.var[0].cpu().numpy()

    def states(self, session: Session) -> NDArray[np.float32]:
        """Return the posterior means of the latent states of whole trials.

        Returns
        -------
        states
            Shape ``(trial, time, D)``, finite, float32.

        Raises
        ------
        DataError
            As in `reconstruct`.
        """
        tensors = self._tensors(session)
        with torch.inference_mode():
            embedding, batches = self._laid_out(session, tensors)
            made = [self.model.predict(each, embedding=embedding).latents for each in batches]
        return run_inputs.of_trials(made)

    def _tensors(self, session: Session, *, input_smoothing: InputSmoothing | None = None) -> TrialTensors:
        self._known(session.name)
        shown = {} if input_smoothing is None else {"input_smoothing": input_smoothing}
        return run_inputs.run_tensors(
            session,
            run=self.name,
            scaling=self.scalings[session.name],
            source=self.sources.get(session.name),
            settings=self.settings.model_copy(update=shown),
        )

    def session_embedding(self, session: Session) -> DiagGaussian | None:
        """Return the posterior of a session's embedding given the trials the run was trained on.

        Returns
        -------
        embedding
            Shapes ``(1, E)``; None where the model has none, or the run did not keep it and the trials it was
            trained on are not at hand.
        """
        if session.name not in self._inferred:
            known = self.embeddings.get(session.name)
            self._inferred[session.name] = known or self._from_training_trials(session)
        found = self._inferred[session.name]
        return None if found is None else DiagGaussian(found.mean.to(self.device), found.var.to(self.device))

    def _from_training_trials(self, session: Session) -> DiagGaussian | None:
        """Infer what a run of an earlier version did not keep."""
        whole = open_session(session.where) if session.where else session
        view = self.unseen(whole)
        whole = whole if view is None else view.session
        train = trained_rows(whole, self.sources.get(session.name))
        return infer_embedding(self.model, self._tensors(whole.select(train))) if len(train) else None

    def _laid_out(
        self, session: Session, tensors: TrialTensors, *, n_bins: int | None = None
    ) -> tuple[DiagGaussian | None, Iterator[Batch]]:
        """Return the embedding and the trials in batches; without one, every trial is a row of its own.

        A model that infers the embedding itself infers that of a row from its trials.
        """
        has_one = infer_embedding(self.model, tensors.select(torch.arange(1))) is not None
        embedding = self.session_embedding(session) if has_one and self.embedding_from == "training" else None
        alone = has_one and embedding is None
        if alone and self.embedding_from == "training":
            say(
                f"{session.name}: run {self.name} keeps no embedding of it, and the trials it was trained on "
                "are not at hand: that of every trial is inferred from the trial itself. Train it again, or "
                "give a session of a store."
            )

        return embedding, run_inputs.batches_of(tensors, alone=alone, n_bins=n_bins, device=self.device)


def load_run(run_dir: Path, *, run_key: str | None = None, device: Device = "auto") -> TrainedRun:
    """Load a complete run with its best weights.

    Parameters
    ----------
    run_dir
        Run directory.
    run_key
        Its key in the catalog that names it; None takes whatever run is there.
    device
        One of ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises
    ------
    DataError
        If the run is missing, incomplete, damaged, or another than the catalog's.
    MachineError
        If the device is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> load_run(Path("nowhere/mdssm-0"))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/mdssm-0: no run here (config.yaml is missing). ...
    """
    config = read_config(run_dir, run_key=run_key)
    if config is None:
        raise DataError(f"{run_dir}: no run here ({CONFIG} is missing). Train it with `pipeline run train`.")
    if read_entry(run_dir) is None:
        raise DataError(
            f"{run_dir}: this run is not complete. Go on with `pipeline run train --resume {run_dir.name}`."
        )
    # A setting of another value would make another model of the same weights.
    require_whole(run_dir, [CONFIG, ENTRY], remedy=TRAIN_AGAIN)
    units = {session: source.n_units for session, source in config.sessions.items()}
    model = built_model(config.settings.model, units, seed=config.settings.seed)
    _, scalings = load_checkpoint(run_dir / BEST, model)
    require_weights_of(run_dir / BEST, config.run_key)
    target = resolve_device(device)
    model.eval().to(target)
    return TrainedRun(
        name=run_dir.name,
        settings=config.settings,
        model=model,
        scalings=scalings,
        device=target,
        sources=config.sessions,
        embeddings=read_embeddings(run_dir / BEST),
        _remembered=cache(lambda: read_run_trials(run_dir)),
    )
