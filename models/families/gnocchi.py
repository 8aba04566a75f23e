"""A small code per trial, and a diffusion model of the trial given its code (GNOCCHI).

The encoder reads a trial into a few numbers; the denoiser, told these numbers, makes the trial of noise. A
penalty on the distribution of all codes together keeps them near a standard normal without making any one
code vague, so that the code goes on saying what the powerful decoder could do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nwb_latents.models.batching.views import View, encoder_input, observe, session_means
from nwb_latents.models.interface import Output, Term
from nwb_latents.models.losses.likelihoods import MSE
from nwb_latents.models.losses.schedules import constant
from nwb_latents.models.parts.denoiser import ConditionalDenoiser
from nwb_latents.models.parts.diffusion import NoiseSchedule, ddim_decode, ddim_encode
from nwb_latents.models.parts.distributions import DiagGaussian, full_precision
from nwb_latents.models.parts.encoders import GRUEncoder
from nwb_latents.models.parts.priors import MMD, PriorContext
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units
from nwb_latents.models.parts.stitched import StitchedModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.schemas.gnocchi import GNOCCHISettings


NEARLY_NOISE = 0.1
"""Share of the data's variance that is left at a step, below which a trial counts as noise."""


class Seen(NamedTuple):
    """Bins that are not made of noise but given.

    Attributes
    ----------
    data
        Shape ``(session, trial, time, unit)``.
    is_seen
        Shape of `data`, bool.
    """

    data: Tensor
    is_seen: Tensor


class GNOCCHI(StitchedModel):
    """Code encoder and conditional denoiser, between a read-in and a read-out per session.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units.

    References
    ----------
    Wang et al. 2023 (InfoDiffusion), whose loss and conditioning this takes over to sequences.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.gnocchi import GNOCCHISettings
    >>> model = GNOCCHI(GNOCCHISettings(channels=8, code_dim=2, sampling_steps=3), {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape), tuple(model.encode(batch).shape)
    ((2, 4, 6, 5), (2, 4, 2))
    """

    def __init__(self, settings: GNOCCHISettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.read_in = ReadIn(n_units, settings.read_in)
        self.encoder = GRUEncoder(settings.read_in.width, settings.encoder_width)
        self.code = nn.Linear(self.encoder.width, settings.code_dim)
        self.schedule = NoiseSchedule(
            settings.noise_steps, first=settings.first_noise, last=settings.last_noise
        )
        self.denoiser = ConditionalDenoiser(
            settings.read_in.width,
            code_dim=settings.code_dim,
            channels=settings.channels,
            blocks=settings.blocks,
            kernel=settings.kernel,
            groups=settings.groups,
        )
        self.read_out = ReadOut(n_units, n_factors=settings.channels)
        self.prior = MMD(settings.code_dim, bandwidth=settings.mmd_bandwidth)
        self.likelihood = MSE()

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let every unit start at its mean where the read-out gives data; noise has mean 0."""
        if self.settings.predict == "x0":
            super().start_from(means)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Denoise every trial at one step of the diffusion drawn for it, and score that.

        ``mean ‖x_0 − x̂_0(x_s, s, c)‖² + ζ MMD(c, N(0, I))``, or ``‖ε − ε̂‖²`` with ``predict: eps``. What the
        view hides is hidden from the encoder; the noisy trial holds all that was recorded.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What the encoder is shown, and what is scored.
        step
            Not used: nothing changes with the training step.
        generator
            Source of noise and steps; None: the last step, at the mean of its noise.

        Returns
        -------
        output
            Terms ``nll``, the mean squared error of a session's elements, and ``mmd``, each summed over
            sessions. ``mean`` is the estimate of the data. ``aux``: ``code``, shape ``(session, trial, L)``.
        """
        del step
        sessions = self.names.index(batch.sessions, batch.y.device)
        code = self._code(view.x, sessions)
        counted = view.weight if view.sg is None else view.weight + view.sg
        noise, level = self._drawn(view.target, generator)
        # Padding and missing samples stay 0, as the encoder sees them.
        noisy = self.schedule.noisy(view.target, noise, level) * (counted > 0)
        params, factors = self._denoised(noisy, level, code, sessions)
        data, wanted = params, view.target
        if self.settings.predict == "eps":
            data, wanted = self.schedule.data_in(noisy, params, level), noise
        nll = session_means(self.likelihood.nll(params, wanted, sessions), view)
        q = DiagGaussian(code, torch.zeros_like(code))
        apart = self.prior.penalty(q, code, PriorContext(weight=batch.trial_mask))
        terms = (
            Term("nll", nll.sum()),
            Term("mmd", apart.sum(), constant(self.settings.mmd_weight)),
        )
        return self._output(data, factors, code, terms=terms)

    @property
    def computes_trials_apart(self) -> bool:
        """False where codes are held against the prior together, as draws of one distribution."""
        return self.settings.mmd_weight == 0

    def code_size(self) -> int:
        """Return the number of numbers of a code."""
        return self.settings.code_dim

    def encode(self, batch: Batch) -> Tensor:
        """Return the codes of trials. Shape ``(session, trial, L)``."""
        return self._code(encoder_input(batch), self.names.index(batch.sessions, batch.y.device))

    def encode_noise(self, batch: Batch, code: Tensor) -> Tensor:
        """Return the noise `decode` makes the trials of: what of them the code does not say.

        Parameters
        ----------
        batch
            Trials; missing samples count as 0.
        code
            Codes. Shape ``(session, trial, L)``.

        Returns
        -------
        noise
            Shape of ``batch.target``.
        """
        sessions = self.names.index(batch.sessions, batch.y.device)
        denoise = _Denoise(self, code, sessions)
        return ddim_encode(
            self.schedule, denoise, observe(batch).target, n_steps=self.settings.sampling_steps
        )

    def decode(
        self, sessions: Sequence[str], code: Tensor, noise: Tensor, *, seen: Seen | None = None
    ) -> Output:
        """Make trials of codes and noise (DDIM).

        Parameters
        ----------
        sessions
            Session whose read-in and read-out each row uses.
        code
            Shape ``(session, trial, L)``.
        noise
            ``x_S``, standard normal. Shape ``(session, trial, time, unit)``.
        seen
            Bins that are given; None: none.

        Returns
        -------
        output
            No terms.
        """
        denoise = _Denoise(self, code, self.names.index(list(sessions), code.device), seen)
        data = ddim_decode(self.schedule, denoise, noise, n_steps=self.settings.sampling_steps)
        return self._output(data, denoise.factors, code)

    def expected(self, sessions: Sequence[str], code: Tensor, like: Tensor) -> Output:
        """Return the mean of the trials of each code, in one call of the denoiser where that is enough.

        At the last step a trial is nearly all noise, and the estimate of the data is what the code alone
        says. Further steps would be shown trials with less noise than there ever was at them in training, and
        overshoot. All steps are taken from the mean of the noise where the last one holds more than
        `NEARLY_NOISE` of the data, and with ``predict: eps``, where an error of the noise counts many times.

        Parameters
        ----------
        sessions
            Session whose read-in and read-out each row uses.
        code
            Shape ``(session, trial, L)``.
        like
            Of the trials wanted, only shape and kind. Shape ``(session, trial, time, unit)``.

        Returns
        -------
        output
            No terms.
        """
        n_steps = 1 if self._is_made_at_once else self.settings.sampling_steps
        denoise = _Denoise(self, code, self.names.index(list(sessions), code.device))
        data = ddim_decode(self.schedule, denoise, torch.zeros_like(like), n_steps=n_steps)
        return self._output(data, denoise.factors, code)

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Make each trial anew of its code alone.

        Parameters
        ----------
        batch
            What to reconstruct; only ``batch.y`` is read.
        n_samples
            Draws of the noise whose trials are averaged; 0: the mean of the trials of the code (`expected`).
        generator
            Source of the noise.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            No terms; ``latents`` are the code, the same in every bin.
        """
        del embedding
        code = self.encode(batch)
        if not n_samples or generator is None:
            return self.expected(batch.sessions, code, batch.target)
        noise = (self._noise(batch.target, generator) * batch.real() for _ in range(n_samples))
        made = [self.decode(batch.sessions, code, drawn) for drawn in noise]
        data = torch.stack([each.mean for each in made]).mean(0)
        return self._output(data, torch.stack([each.factors for each in made]).mean(0), code)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Complete trials of which `t0` bins were seen.

        The code is that of the seen bins. Nothing runs on in time: what the model expects is the mean of the
        trials of that code (`expected`). Where that takes all steps of the diffusion, the seen bins are set
        to what was seen at every step, at the size it has there.

        Parameters
        ----------
        batch
            Trials; only their first `t0` bins are read.
        t0
            Bins seen.
        k
            Bins forecast.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            Of the `k` forecast bins, no terms.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, or `k` is below 1.
        """
        del embedding
        batch.check_forecast(t0, k)
        sessions = self.names.index(batch.sessions, batch.y.device)
        x = encoder_input(batch, t0)
        code = self._code(x, sessions)
        if self._is_made_at_once:
            like = x.new_zeros(*x.shape[:2], t0 + k, batch.target.shape[-1])
            return self.expected(batch.sessions, code, like).from_bin(t0)
        data = x.new_zeros(*x.shape[:2], t0 + k, batch.target.shape[-1])
        data[:, :, :t0, : x.shape[-1]] = x
        is_seen = torch.zeros_like(data, dtype=torch.bool)
        is_seen[:, :, :t0, : x.shape[-1]] = batch.y[:, :, :t0].isfinite()
        made = self.decode(batch.sessions, code, torch.zeros_like(data), seen=Seen(data, is_seen))
        return self._output(made.mean[:, :, t0:], made.factors[:, :, t0:], code)

    @property
    def _is_made_at_once(self) -> bool:
        """Whether the estimate at the last step is the mean of the trials of a code."""
        return self.settings.predict == "x0" and float(self.schedule.kept[-1]) < NEARLY_NOISE

    def _code(self, x: Tensor, sessions: Tensor) -> Tensor:
        return full_precision(self.code(self.encoder(self.read_in(x, sessions)).last))

    def _denoised(self, x: Tensor, level: Tensor, code: Tensor, sessions: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network says of noisy trials, data or noise, and the factors it is read from."""
        factors: Tensor = self.denoiser(self.read_in(x, sessions), level, code)
        return self.read_out(factors, sessions, x.shape[-1]), factors

    def _drawn(self, like: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Noise of every element and a step of every trial."""
        steps = self.settings.noise_steps
        if generator is None:
            return torch.zeros_like(like), torch.full(like.shape[:2], steps, device=like.device)
        level = torch.randint(1, steps + 1, like.shape[:2], generator=generator, device=generator.device)
        return self._noise(like, generator), level.to(like.device)

    @staticmethod
    def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
        return drawn.to(like.device)

    @staticmethod
    def _output(data: Tensor, factors: Tensor, code: Tensor, *, terms: tuple[Term, ...] = ()) -> Output:
        latents = code.unsqueeze(2).expand(-1, -1, data.shape[2], -1)
        return Output(
            params=data, mean=data, factors=factors, latents=latents, terms=terms, aux={"code": code}
        )


class _Denoise:
    """The model as a denoiser of trials with given codes; keeps the factors of its last call."""

    def __init__(self, model: GNOCCHI, code: Tensor, sessions: Tensor, seen: Seen | None = None) -> None:
        self.model, self.code, self.sessions, self.seen = model, code, sessions, seen
        self.factors = code

    def __call__(self, x: Tensor, step: int) -> Tensor:
        model = self.model
        level = torch.full(x.shape[:2], step, device=x.device)
        if self.seen is not None:
            given = model.schedule.noisy(self.seen.data, torch.zeros_like(x), level)
            x = torch.where(self.seen.is_seen, given, x)
        params, self.factors = model._denoised(x, level, self.code, self.sessions)
        return params if model.settings.predict == "x0" else model.schedule.data_in(x, params, level)
