"""Rates of one session from a trained transformer: a whole trial at once, or bin by bin as they come.

`SessionRates` is what `torch.export` and the fastest single-trial inference take; `RateStream` gives the same
numbers one bin at a time, remembering of every layer what later bins may attend to.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

if TYPE_CHECKING:
    from nwb_latents.models.families.ndt import NDT
    from nwb_latents.models.parts.transformer import TransformerEncoder, TransformerLayer


class SessionRates(nn.Module):
    """One session of a trained transformer: what the encoder is shown in, expected counts out.

    A copy without dropout, masks, gradients and other sessions.

    Parameters
    ----------
    model
        The trained model.
    session
        One of its sessions.

    Raises
    ------
    KeyError
        If the model does not know the session.

    Examples
    --------
    >>> from nwb_latents.models.families.ndt import NDT
    >>> from nwb_latents.schemas.ndt import NDTSettings
    >>> rates = SessionRates(NDT(NDTSettings(), {"a": 3, "b": 5}), "a")
    >>> tuple(rates(torch.zeros(2, 7, 3)).shape)
    (2, 7, 3)
    """

    encoder: TransformerEncoder
    read_weight: Tensor
    read_bias: Tensor
    rate_weight: Tensor
    rate_bias: Tensor

    def __init__(self, model: NDT, session: str) -> None:
        super().__init__()
        sessions = model.names.index([session], model.read_out.bias.blocks[0].device)
        n_units = model.units[session]
        with torch.no_grad():
            self.register_buffer("read_weight", model.read_in.weight(sessions, n_units)[0].T.contiguous())
            self.register_buffer("read_bias", model.read_in.bias(sessions)[0].clone())
            self.register_buffer("rate_weight", model.read_out.weight(sessions, n_units)[0, :, 0].clone())
            self.register_buffer("rate_bias", model.read_out.bias(sessions, n_units)[0, :, 0].clone())
        self.likelihood = copy.deepcopy(model.likelihood)
        self.activation = model.read_in.settings.activation
        self.head = copy.deepcopy(model.read_in.head)
        self.norm = copy.deepcopy(model.read_in.norm)
        self.encoder = copy.deepcopy(model.encoder)
        self.requires_grad_(requires_grad=False)
        self.eval()

    @property
    def n_units(self) -> int:
        """Units of the session."""
        return len(self.rate_bias)

    def shared(self, x: Tensor) -> Tensor:
        """Return what the encoder is given, of ``(..., unit)``."""
        hidden = linear(x, self.read_weight, self.read_bias)
        found: Tensor = self.norm(self.head(silu(hidden) if self.activation == "silu" else hidden))
        return found

    def rates(self, seq: Tensor) -> Tensor:
        """Return expected counts, of what the encoder gives."""
        return self.likelihood.mean(linear(seq, self.rate_weight, self.rate_bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return the expected counts of whole trials.

        Parameters
        ----------
        x
            As the encoder is shown them: finite, 0 where not recorded. Shape ``(trial, time, unit)``.

        Returns
        -------
        rates
            Expected spikes per bin. Shape of `x`.
        """
        return self.rates(self.encoder(self.shared(x)).seq)


class _Memory:
    """Keys and values of the last bins of one layer; the oldest gives way to the newest."""

    def __init__(self, layer: TransformerLayer, n_bins: int) -> None:
        heads, weight = layer.heads, layer.mix.weight
        self.keys = weight.new_zeros(heads, n_bins, weight.shape[0] // heads)
        self.values = torch.zeros_like(self.keys)

    def attend(self, split: tuple[Tensor, Tensor, Tensor], t: int) -> Tensor:
        """Remember bin `t`, and attend to all that is remembered. Shape ``(head, 1, width / heads)``."""
        query, key, value = split
        n_bins = self.keys.shape[1]
        self.keys[:, t % n_bins] = key[:, 0]
        self.values[:, t % n_bins] = value[:, 0]
        n = min(t + 1, n_bins)
        return scaled_dot_product_attention(query, self.keys[:, :n], self.values[:, :n])


class RateStream:
    """The rates of `SessionRates`, one bin at a time: bin `t` is given before bin `t + 1` is known.

    Parameters
    ----------
    rates
        Of a model whose bins attend to none after them.

    Raises
    ------
    ValueError
        If the model is not causal.

    Examples
    --------
    >>> from nwb_latents.models.families.ndt import NDT
    >>> from nwb_latents.schemas.ndt import NDTSettings
    >>> rates = SessionRates(NDT(NDTSettings(context_forward=0), {"a": 3}), "a")
    >>> stream, trial = RateStream(rates), torch.randn(1, 7, 3)
    >>> one_by_one = torch.stack([stream.step(x) for x in trial[0]])
    >>> bool(torch.allclose(one_by_one, rates(trial)[0], atol=1e-5))
    True
    """

    def __init__(self, rates: SessionRates) -> None:
        encoder = rates.encoder
        if encoder.ahead != 0:
            context = "all bins" if encoder.ahead is None else f"{encoder.ahead} bins"
            raise ValueError(
                f"each layer of this model attends to {context} after a bin, which a stream does not have. "
                "Train one with context_forward: 0"
            )
        self._rates = rates
        self._layers = [cast("TransformerLayer", layer) for layer in encoder.layers]
        self.reset()

    def reset(self) -> None:
        """Begin a trial: forget the bins before."""
        encoder = self._rates.encoder
        n_bins = encoder.max_bins if encoder.back is None else min(encoder.back + 1, encoder.max_bins)
        with torch.inference_mode():
            self._memories = [_Memory(layer, n_bins) for layer in self._layers]
        self.n_seen = 0

    def step(self, x: Tensor) -> Tensor:
        """Take one bin and return its expected counts.

        Parameters
        ----------
        x
            As the encoder is shown it: finite, 0 where not recorded. Shape ``(unit,)``.

        Returns
        -------
        rates
            Expected spikes in the bin. Shape ``(unit,)``.

        Raises
        ------
        ValueError
            If the trial has become longer than the model has positions for.
        """
        rates, t = self._rates, self.n_seen
        if t >= rates.encoder.max_bins:
            raise ValueError(
                f"the model has positions for {rates.encoder.max_bins} bins, all of them have passed. Call "
                "reset() where a trial begins"
            )
        with torch.inference_mode():
            bins = rates.encoder.embed(rates.shared(x[None]), t)
            for layer, memory in zip(self._layers, self._memories, strict=True):
                found = memory.attend(layer.split(bins), t)
                bins = bins + layer.mix(found.transpose(0, 1).flatten(1))
                bins = bins + layer.network(bins)
            self.n_seen += 1
            return rates.rates(rates.encoder.norm(bins))[0]
