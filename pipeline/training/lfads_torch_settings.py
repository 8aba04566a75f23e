"""What the file of a model of lfads-torch says of it, as settings of our LFADS, or what cannot be said.

Sizes are shapes of weights, choices are hyper-parameters or follow from which weights there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.training.lfads_torch_weights import CELL, N_PARAMS, TRAIN_ANEW
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from nwb_latents.pipeline.training.lfads_torch_file import LfadsTorchFile
    from nwb_latents.pipeline.training.lfads_torch_weights import SessionUnits
    from nwb_latents.schemas.imports import LfadsCheckpointImport
    from nwb_latents.schemas.lfads import LFADSLikelihood

LIKELIHOODS: Mapping[str, LFADSLikelihood] = {
    "poisson": "poisson",
    "mse": "mse",
    "gaussian": "gaussian_per_bin",
    "gamma": "gamma",
}
"""Reconstruction of lfads-torch → likelihood here."""


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
    ic_prior = _ic_prior(file)
    input_df = _df(file, "co_prior", asked.input_prior_df, is_needed=prior == "student_t")
    ic_df = _df(file, "ic_prior", asked.ic_prior_df, is_needed=ic_prior == "student_t")
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
        likelihood=LIKELIHOODS[asked.likelihood],
        ic_prior=ic_prior,
        ic_prior_df=ic_df,
        ic_min_variance=file.number("ic_post_var_min"),
        input_prior=prior,
        input_prior_df=input_df,
        input_prior_fixed=has_controller and prior == "normal",
        student_t_posterior="student_t" in (prior, ic_prior),
        cut_probability=0.0,
        **_penalties(file, sessions, has_controller=has_controller),
    )


def _input_prior(file: LfadsTorchFile) -> Literal["ar1", "normal", "student_t", "none"]:
    if "co_prior.logtaus" in file.weights:
        return "ar1"
    if "co_prior.mean" in file.weights:
        return "normal"
    return "student_t" if "co_prior.loc" in file.weights else "none"


def _ic_prior(file: LfadsTorchFile) -> Literal["normal", "student_t", "none"]:
    if "ic_prior.mean" in file.weights:
        return "normal"
    return "student_t" if "ic_prior.loc" in file.weights else "none"


def _df(file: LfadsTorchFile, name: str, asked: float | None, *, is_needed: bool) -> float:
    """Return the degrees of freedom of a prior; 5 of one that has none."""
    of, setting = {
        "co_prior": ("its inferred inputs have", "input_prior_df"),
        "ic_prior": ("its initial condition has", "ic_prior_df"),
    }[name]
    there = file.prior_df.get(name)
    if not is_needed:
        if asked is not None:
            raise file.fault(
                f"{setting}={asked:g} was given, and {of} no Student-t prior ({name}.loc). Leave it out."
            )
        return 5.0
    if there is not None and asked is not None and there != asked:
        raise file.fault(
            f"{of} a prior of {there:g} degrees of freedom, {setting} says {asked:g}. Leave it out."
        )
    df = there or asked
    if df is None:
        raise file.fault(
            f"{of} a Student-t prior, whose degrees of freedom are not in the file. Give them, e.g. --set "
            f"{setting}=5."
        )
    return df


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
            "a learned scale times a sigmoid; here they are exponentials. Run posterior sampling there and "
            "import the file it writes, whose output_params are scored as they are (`pipeline import "
            "lfads-h5`, of spike counts), or train it anew here: `pipeline run train` with the model lfads."
        )
    n_params = N_PARAMS[LIKELIHOODS[asked.likelihood]]
    for number, each in enumerate(sessions):
        n_out = file.shape(f"readout.{number}.weight")[0]
        n_in = file.shape(f"readin.{number}.weight" if "readin.0.weight" in file.weights else _FIRST)[1]
        if (n_in, n_out) == (each.n_encoded, n_params * len(each.column)):
            continue
        needed = n_params * len(each.column)
        raise file.fault(
            f"session {number} encodes {n_in} units and has {n_out} outputs; {each.session} has "
            f"{each.n_encoded} held-in of {len(each.column)} units, which needs {needed} outputs with the "
            f"likelihood {asked.likelihood}. {_remedy(n_out, each)}"
        )


def _remedy(n_out: int, session: SessionUnits) -> str:
    """Return what to do about a number of outputs: it may be that of another likelihood."""
    n_params, rest = divmod(n_out, len(session.column))
    fitting = [name for name, kind in LIKELIHOODS.items() if N_PARAMS[kind] == n_params]
    if fitting and not rest:
        return (
            f"These are {n_params} for each unit, as with {' or '.join(fitting)}: say which with --set "
            f"likelihood={fitting[0]}."
        )
    return (
        "Name the session imported from the dataset it was trained on (`pipeline import lfads-h5`), or the "
        "likelihood with --set likelihood=…."
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
