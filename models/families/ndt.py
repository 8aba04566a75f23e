"""Neural data transformer (NDT; Ye and Pandarinath, Neurons, Behavior, Data analysis, and Theory 2021).

An encoder without recurrence reads all bins of a trial at once and gives their rates. It is taught by hiding
bins and asking for their spikes; there is no latent variable and no model of the dynamics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import pad

from nwb_latents.models.batching.masked_bins import mask_bins
from nwb_latents.models.batching.views import View, encoder_input, session_means
from nwb_latents.models.families.ndt_stream import RateStream, SessionRates
from nwb_latents.models.interface import Output, Term
from nwb_latents.models.losses.likelihoods import Poisson
from nwb_latents.models.losses.schedules import linear_ramp
from nwb_latents.models.parts.dropout import dropout
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units
from nwb_latents.models.parts.stitched import StitchedModel
from nwb_latents.models.parts.transformer import TransformerEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.distributions import DiagGaussian
    from nwb_latents.schemas.ndt import NDTSettings


class NDT(StitchedModel):
    """Read-in of the session, transformer over bins, read-out of the session to log rates.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units that are scored; the encoder may be shown the first of them only.

    References
    ----------
    Ye and Pandarinath 2021. There the width of the transformer is the number of units; here every session
    has a linear read-in to a width all of them share.

    Examples
    --------
    >>> import torch
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.ndt import NDTReadInSettings, NDTSettings
    >>> small = NDTSettings(layers=2, hidden=8, read_in=NDTReadInSettings(hidden=6, width=4))
    >>> model = NDT(small, {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape)
    (2, 4, 6, 5)
    """

    def __init__(self, settings: NDTSettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.units = dict(units)
        width = settings.read_in.width
        self.read_in = ReadIn(n_units, settings.read_in)
        self.encoder = TransformerEncoder(
            width,
            width=width,
            layers=settings.layers,
            heads=settings.heads,
            hidden=settings.hidden,
            back=settings.context_back,
            forward=settings.context_forward,
            max_bins=settings.max_bins,
            input_dropout=settings.input_dropout,
            layer_dropout=settings.dropout,
        )
        self.likelihood = Poisson(settings.rate_link)
        self.read_out = ReadOut(n_units, n_factors=width)
        mask = settings.mask
        self.ramp = linear_ramp(mask.span_ramp_start, mask.span_ramp_steps)
        self.mask = mask_bins(
            mask.ratio, max_span=mask.max_span, expand=self._expand, zero=mask.zero, random=mask.random
        )

    @property
    def computes_trials_apart(self) -> bool:
        """True: trials share parameters, and nothing that is inferred."""
        return True

    def _expand(self, step: int) -> float:
        return self.ramp(step) if self.training else 1.0

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions; see `Model.add_sessions`."""
        super().add_sessions(units)
        self.units |= units

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Hide bins and score them.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What may be shown and scored; bins that are scored but not shown, those after a cut among them,
            are shown as 0.
        step
            Training step: decides how often runs of bins are hidden; outside training they always are.
        generator
            Source of masks and dropout; None: nothing is hidden, everything is scored.

        Returns
        -------
        output
            Term ``nll``: the mean over the scored elements of a session, summed over sessions.

        Raises
        ------
        ValueError
            If the trials are longer than ``max_bins``.
        """
        sessions = self.names.index(batch.sessions, batch.y.device)
        view = self.mask(view, batch, generator, step)
        T, N = view.target.shape[2:]
        output = self._run(view.x, sessions, T, N, generator if self.training else None)
        nll = session_means(self.likelihood.nll(output.params, view.target, sessions), view)
        term = Term("nll", nll.sum())
        return Output(output.params, output.mean, output.factors, output.latents, (term,))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Infer the rates of a batch, ``batch.target``'s bins and units from all of ``batch.y``.

        Parameters
        ----------
        batch
            What to reconstruct; only ``batch.y`` is read.
        n_samples, generator, embedding
            Not used: nothing is sampled, there is no embedding.

        Returns
        -------
        output
            No terms.

        Raises
        ------
        ValueError
            If the trials are longer than ``max_bins``.
        """
        del n_samples, generator, embedding
        sessions = self.names.index(batch.sessions, batch.y.device)
        T, N = batch.target.shape[2:]
        return self._run(encoder_input(batch), sessions, T, N)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Infer bins ``t0 … t0 + k − 1`` as if they were masked, from the first `t0` bins.

        Parameters
        ----------
        batch
            Trials; only their first `t0` bins are read.
        t0
            Bins seen.
        k
            Bins forecast. A model that never had to fill so long a run in training does it badly.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            Of the `k` forecast bins, no terms.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, `k` is below 1, or the two together are more
            than ``max_bins``.
        """
        del embedding
        batch.check_forecast(t0, k)
        sessions = self.names.index(batch.sessions, batch.y.device)
        made = self._run(encoder_input(batch, t0), sessions, t0 + k, batch.target.shape[-1])
        return made.from_bin(t0)

    def stream(self, session: str) -> RateStream:
        """Return the rates of a session bin by bin; see `Streams`.

        Raises
        ------
        ValueError
            If bins attend to later ones.
        """
        return RateStream(SessionRates(self, session).cpu())

    def _run(
        self,
        x: Tensor,
        sessions: Tensor,
        n_bins: int,
        n_units: int,
        generator: torch.Generator | None = None,
    ) -> Output:
        """Rates of `n_bins` bins, of which `x` shows the first."""
        shared = self.read_in(pad(x, (0, 0, 0, n_bins - x.shape[2])), sessions)
        seq = self.encoder(shared, generator=generator).seq
        params = self.read_out(dropout(seq, self.settings.rate_dropout, generator), sessions, n_units)
        return Output(params=params, mean=self.likelihood.mean(params), factors=seq, latents=seq)
