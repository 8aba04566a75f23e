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
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.lfads_torch_file import LfadsTorchFile
    from nwb_latents.schemas.imports import LfadsCheckpointImport

CELL = "decoder.rnn.cell"
N_PARAMS = {"poisson": 1, "mse": 1, "gamma": 2}
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


def lfads_settings(
    file: LfadsTorchFile, asked: LfadsCheckpointImport, sessions: Sequence[SessionUnits]
) -> LFADSSettings:
    """Return the settings of the model a checkpoint holds, read from shapes and hyper-parameters.

    Weights of divergences and of L2 are those of a loss that is summed over bins and units.

    Raises
    ------
    DataError
        If the model has a part that there is not here, or does not fit the sessions.
    """
    if file.number("ic_enc_seq_len"):
        raise file.fault(
            f"its first {file.number('ic_enc_seq_len'):g} bins (ic_enc_seq_len) are shown to the encoder of "
            f"the initial condition alone; LFADS here shows all bins to both encoders. {TRAIN_ANEW}"
        )
    _check_read_outs(file, asked, sessions)
    has_controller = any(name.startswith(f"{CELL}.con_cell.") for name in file.weights)
    n_inferred = file.shape(f"{CELL}.co_linear.weight")[0] // 2 if has_controller else 0
    width = file.shape("encoder.ic_enc.fwd_gru.cell.weight_ih")[1]
    encoder_dim = file.shape("encoder.ic_enc.fwd_gru.cell.weight_hh")[1]
    view_dim = file.shape("encoder.ci_enc.fwd_gru.cell.weight_hh")[1] if has_controller else encoder_dim
    prior = _input_prior(file) if has_controller else "ar1"
    df = file.prior_df or asked.input_prior_df
    if prior == "student_t" and df is None:
        raise file.fault(
            "its inferred inputs have a Student-t prior, whose degrees of freedom are not in the file. Give "
            "them, e.g. --set input_prior_df=5."
        )
    generator_dim = file.shape(f"{CELL}.gen_cell.weight_hh")[1]
    return LFADSSettings(
        generator_dim=generator_dim,
        ic_dim=file.shape("decoder.ic_to_g0.weight")[1],
        factor_dim=file.shape(f"{CELL}.fac_linear.weight")[0],
        encoder_dim=encoder_dim,
        controller_encoder_dim=view_dim if view_dim != encoder_dim else None,
        controller_dim=file.shape(f"{CELL}.con_cell.weight_hh")[1] if has_controller else 0,
        input_dim=n_inferred,
        input_bias=has_controller,
        external_inputs=file.shape(f"{CELL}.gen_cell.weight_ih")[1] - n_inferred,
        controller_lag=int(file.number("ci_lag")) if has_controller else 1,
        clip=file.number("cell_clip"),
        dropout=file.number("dropout_rate"),
        read_in=LFADSReadInSettings(hidden=width, width=width, learned="readin.0.weight" in file.weights),
        likelihood=asked.likelihood,
        ic_prior="normal" if "ic_prior.mean" in file.weights else "none",
        ic_min_variance=file.number("ic_post_var_min"),
        input_prior=prior,
        input_prior_df=df or 5.0,
        **_penalties(file, sessions, has_controller=has_controller),
    )


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
    if settings.ic_prior == "normal":
        rows += _half_rows("ic_log_variance", "encoder.ic_linear", slice(ic, None))
        rows += _normal_rows("ic_prior", "ic_prior")
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
    elif settings.input_prior == "normal":
        rows += _normal_rows("input_prior.prior", "co_prior")
    elif settings.input_prior == "student_t":
        rows += [
            Row("input_prior.prior.mean", ("co_prior.loc",), _same),
            Row("input_prior.prior.log_scale", ("co_prior.logscale",), _same),
        ]
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


def _input_prior(file: LfadsTorchFile) -> Literal["ar1", "normal", "student_t", "none"]:
    if "co_prior.logtaus" in file.weights:
        return "ar1"
    if "co_prior.mean" in file.weights:
        return "normal"
    return "student_t" if "co_prior.loc" in file.weights else "none"


def _check_read_outs(
    file: LfadsTorchFile, asked: LfadsCheckpointImport, sessions: Sequence[SessionUnits]
) -> None:
    n_held = sum(name.startswith("readout.") and name.endswith(".weight") for name in file.weights)
    if n_held != len(sessions):
        raise file.fault(
            f"holds {n_held} sessions (readout.0 …), {len(sessions)} were named. Name them in the order of "
            "the data files it was trained on, --session once for each."
        )
    if "recon.0.scale" in file.weights:
        raise file.fault(
            "was trained with the zero-inflated gamma likelihood of lfads-torch, whose shapes and rates are "
            f"a learned scale times a sigmoid; here they are exponentials. {TRAIN_ANEW}"
        )
    n_params = N_PARAMS[asked.likelihood]
    for number, each in enumerate(sessions):
        n_out = file.shape(f"readout.{number}.weight")[0]
        n_in = file.shape(f"readin.{number}.weight" if "readin.0.weight" in file.weights else _FIRST)[1]
        if (n_in, n_out) == (each.n_encoded, n_params * len(each.column)):
            continue
        needed = n_params * len(each.column)
        raise file.fault(
            f"session {number} encodes {n_in} units and has {n_out} outputs; {each.session} has "
            f"{each.n_encoded} held-in of {len(each.column)} units, which needs {needed} outputs with the "
            f"likelihood {asked.likelihood}. Name the session imported from the dataset it was trained on "
            "(`pipeline import lfads-h5`), or the likelihood with --set likelihood=…. A Gaussian one, whose "
            "variance lfads-torch infers bin by bin, there is not here."
        )


_FIRST = "encoder.ic_enc.fwd_gru.cell.weight_ih"


def _penalties(
    file: LfadsTorchFile, sessions: Sequence[SessionUnits], *, has_controller: bool
) -> dict[str, float]:
    """Weights of the loss, for an alignment of the run; lfads-torch takes means where there are sums here."""
    told = file.numbers
    n_units = sum(len(each.column) for each in sessions) / len(sessions)
    per = told.get("recon_seq_len", 1.0) * n_units if told.get("recon_reduce_mean", 1.0) else 1.0
    cells = {"gen": f"{CELL}.gen_cell"} | ({"con": f"{CELL}.con_cell"} if has_controller else {})
    sizes = {k: file.weights[f"{cell}.weight_hh"].numel() for k, cell in cells.items()}
    scales = {k: told.get(f"l2_{k}_scale", 0.0) for k in cells}
    whole = sum(sizes[k] for k in cells if scales[k]) or 1
    l2 = {k: per * scales[k] * sizes[k] / whole for k in cells}
    return {
        "kl_initial_weight": per * told.get("kl_ic_scale", 0.0),
        "kl_input_weight": per * told.get("kl_co_scale", 0.0),
        "l2_generator": l2["gen"],
        "l2_controller": l2.get("con", 0.0),
    }
