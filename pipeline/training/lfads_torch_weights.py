"""Weights of lfads-torch as weights of our LFADS: one table of names, and what cannot be said.

Both reset ahead of the recurrent product. The gates of a cell lie in the order update, reset, candidate there
and in the order reset, update, candidate here. Mean and log variance of a posterior are one layer there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from nwb_latents.models.parts.distributions import MIN_VARIANCE
from nwb_latents.models.registry import build_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.lfads_torch_file import LfadsTorchFile
    from nwb_latents.schemas.lfads import LFADSSettings

CELL = "decoder.rnn.cell"
N_PARAMS = {"poisson": 1, "mse": 1, "gaussian_per_bin": 2, "gamma": 2}
TRAIN_ANEW = (
    "Train it here instead: `pipeline import lfads-h5` with its dataset, then `pipeline run train` with the "
    "model lfads."
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    ours
        Name of the parameter here.
    theirs
        Names in the checkpoint it is made of; none: a constant that lfads-torch does without.
    make
        From these to the values.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Callable[..., Tensor]


@dataclass(frozen=True)
class SessionUnits:
    """How the columns of a checkpoint lie in a store.

    Attributes
    ----------
    session
        Session id.
    column
        Column of the store of each column of the checkpoint, those that are encoded first. Shape ``(unit,)``.
    n_encoded
        How many of them are encoded.
    """

    session: str
    column: NDArray[np.int64]
    n_encoded: int


def import_weights(file: LfadsTorchFile, settings: LFADSSettings, sessions: Sequence[SessionUnits]) -> Model:
    """Return the model with the weights of a checkpoint.

    Parameters
    ----------
    file
        The checkpoint.
    settings
        Made by `lfads_settings`.
    sessions
        In the order of the checkpoint's read-ins.

    Raises
    ------
    DataError
        If a weight is missing, has another shape than expected, or is one there is no place for.
    """
    model = build_model(settings, {each.session: len(each.column) for each in sessions}, seed=0)
    rows = table(settings, sessions, has_read_in=settings.read_in.learned)
    used = {name for row in rows for name in row.theirs}
    extra = {
        name: tuple(value.shape)
        for name, value in file.weights.items()
        if name not in used and value.numel() and not _has_no_effect(name, settings)
    }
    if extra:
        raise file.fault(
            "LFADS here has no place for "
            + "; ".join(f"{name} of shape {shape}" for name, shape in sorted(extra.items()))
            + f". Leaving it out would make another model of it. {TRAIN_ANEW}"
        )
    own = model.state_dict()
    made = {}
    for row in rows:
        found = {name: file.shape(name) for name in row.theirs}
        try:
            value = row.make(*(file.weights[name] for name in row.theirs)).to(own[row.ours].dtype)
        except (RuntimeError, IndexError, ValueError) as error:
            raise _misfit(file, row, own[row.ours], found) from error
        if value.shape != own[row.ours].shape:
            raise _misfit(file, row, own[row.ours], found)
        made[row.ours] = value
    model.load_state_dict(made)
    return model


def table(settings: LFADSSettings, sessions: Sequence[SessionUnits], *, has_read_in: bool) -> list[Row]:
    """Return how every parameter of the model is made of the checkpoint's.

    Where a posterior has no prior, nothing is drawn from it: its log variances have no effect in lfads-torch
    and no place here.

    Parameters
    ----------
    settings
        Of the model.
    sessions
        In the order of the checkpoint's read-ins.
    has_read_in
        Whether there are read-ins; without, the encoders see the units themselves.

    Examples
    --------
    >>> from nwb_latents.schemas.lfads import LFADSSettings
    >>> names = [row.ours for row in table(LFADSSettings(), [], has_read_in=False)]
    >>> len(names) == len(set(names))
    True
    """
    width, n_params = settings.read_in.width, N_PARAMS.get(settings.likelihood, 1)
    read_ins = [f"readin.{s}" for s in range(len(sessions))] if has_read_in else []
    read_outs = [f"readout.{s}" for s in range(len(sessions))]

    def read_in_weight(*weights: Tensor) -> Tensor:
        given = weights or tuple(torch.eye(width) for _ in sessions)
        return _packed([w.T for w in given], sessions)

    def read_in_bias(*biases: Tensor) -> Tensor:
        return torch.stack(biases or tuple(torch.zeros(width) for _ in sessions))

    def read_out(*values: Tensor) -> Tensor:
        # Parameters of one kind lie side by side there, those of one unit here.
        return _packed([v.reshape(n_params, -1, *v.shape[1:]).transpose(0, 1) for v in values], sessions)

    ic = settings.ic_dim
    rows = [
        Row("read_in.weight.blocks.0", tuple(f"{r}.weight" for r in read_ins), read_in_weight),
        Row("read_in.bias.blocks.0", tuple(f"{r}.bias" for r in read_ins), read_in_bias),
        Row("read_in.head.weight", (), lambda: torch.eye(width)),
        Row("read_in.head.bias", (), lambda: torch.zeros(width)),
        *_encoder_rows("ic_encoder", "encoder.ic_enc"),
        *_half_rows("ic_mean", "encoder.ic_linear", slice(None, ic)),
        Row("decoder.start.weight", ("decoder.ic_to_g0.weight",), _same),
        Row("decoder.start.bias", ("decoder.ic_to_g0.bias",), _same),
        *_cell_rows("decoder.generator.gru", [f"{CELL}.gen_cell"]),
        Row("decoder.read", (f"{CELL}.fac_linear.weight",), _same),
        Row("read_out.weight.blocks.0", tuple(f"{r}.weight" for r in read_outs), read_out),
        Row("read_out.bias.blocks.0", tuple(f"{r}.bias" for r in read_outs), read_out),
    ]  # fmt: skip
    if settings.ic_prior != "none":
        rows += _half_rows("ic_log_variance", "encoder.ic_linear", slice(ic, None))
        rows += _PRIOR_ROWS[settings.ic_prior]("ic_prior", "ic_prior")
    if settings.n_inferred:
        rows += _controller_rows(settings)
    return rows


def _controller_rows(settings: LFADSSettings) -> list[Row]:
    C = settings.n_inferred
    rows = [
        *_encoder_rows("controller_encoder", "encoder.ci_enc"),
        *_cell_rows("decoder.controller", [f"{CELL}.con_cell"]),
        Row("decoder.controller_start", ("decoder.con_h0",), lambda h0: h0[0]),
        *_half_rows("decoder.input_mean", f"{CELL}.co_linear", slice(None, C)),
    ]
    if settings.input_prior != "none":
        rows += _half_rows("decoder.input_log_variance", f"{CELL}.co_linear", slice(C, None))
    if settings.input_prior == "ar1":
        rows += [
            Row("input_prior.log_tau", ("co_prior.logtaus",), _same),
            Row("input_prior.log_variance", ("co_prior.lognvars",), _same),
        ]
    elif settings.input_prior != "none":
        rows += _PRIOR_ROWS[settings.input_prior]("input_prior.prior", "co_prior")
    return rows


def _encoder_rows(ours: str, theirs: str) -> list[Row]:
    cells = [f"{theirs}.{direction}_gru.cell" for direction in ("fwd", "bwd")]
    return [*_cell_rows(f"{ours}.gru", cells), Row(f"{ours}.start", (f"{theirs}_h0",), _same)]


def _cell_rows(ours: str, cells: Sequence[str]) -> list[Row]:
    names = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    return [
        Row(f"{ours}.{mine}", tuple(f"{cell}.{its}" for cell in cells), _gates) for mine, its in names.items()
    ]


def _half_rows(ours: str, theirs: str, half: slice) -> list[Row]:
    return [Row(f"{ours}.{kind}", (f"{theirs}.{kind}",), lambda x: x[half]) for kind in ("weight", "bias")]


def _normal_rows(ours: str, theirs: str) -> list[Row]:
    return [
        Row(f"{ours}.mean", (f"{theirs}.mean",), _same),
        Row(f"{ours}.raw_variance", (f"{theirs}.logvar",), _raw_variance),
    ]


def _student_t_rows(ours: str, theirs: str) -> list[Row]:
    return [
        Row(f"{ours}.mean", (f"{theirs}.loc",), _same),
        Row(f"{ours}.log_scale", (f"{theirs}.logscale",), _same),
    ]


_PRIOR_ROWS = {"normal": _normal_rows, "student_t": _student_t_rows}


def _same(value: Tensor) -> Tensor:
    return value


def _gates(*directions: Tensor) -> Tensor:
    """Reorder the gates of each direction: update, reset, candidate → reset, update, candidate."""
    parts = [x.chunk(3) for x in directions]
    return torch.stack([torch.cat([reset, update, rest]) for update, reset, rest in parts])


def _raw_variance(log_variance: Tensor) -> Tensor:
    variance = (log_variance.double().exp() - MIN_VARIANCE).clamp_min(MIN_VARIANCE)
    return torch.log(torch.expm1(variance))


def _packed(values: Sequence[Tensor], sessions: Sequence[SessionUnits]) -> Tensor:
    """Put the units of each session where its store has them, and 0 where there is nothing for a unit."""
    widest = max((len(each.column) for each in sessions), default=0)
    rows = []
    for value, each in zip(values, sessions, strict=True):
        whole = pad(value, (0, 0) * (value.ndim - 1) + (0, len(each.column) - len(value)))
        placed = torch.zeros_like(whole)
        placed[torch.from_numpy(each.column)] = whole
        rows.append(pad(placed, (0, 0) * (value.ndim - 1) + (0, widest - len(placed))))
    return torch.stack(rows) if rows else torch.zeros(0)


def _has_no_effect(name: str, settings: LFADSSettings) -> bool:
    """Whether lfads-torch keeps a parameter without using it: those of a controller that there is not."""
    return not settings.n_inferred and name.startswith(("decoder.con_h0", "co_prior."))


def _misfit(file: LfadsTorchFile, row: Row, own: Tensor, found: Mapping[str, tuple[int, ...]]) -> Exception:
    held = "; ".join(f"{name} of shape {shape}" for name, shape in found.items())
    return file.fault(f"{held}: does not fit {row.ours} of shape {tuple(own.shape)}. {TRAIN_ANEW}")
