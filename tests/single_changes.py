"""Every settings class as it is by default, and with each single setting changed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError

from nwb_latents.schemas.models import ModelSettings, known_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

SETTINGS: dict[str, str] = {
    "AlignSettings": "align",
    "BaselineSettings": "baselines",
    "ClusterSettings": "cluster",
    "DecodeSettings": "decoding",
    "EmbedSettings": "embedding",
    "EvaluateSettings": "evaluation",
    "NlbExport": "export",
    "LfadsExport": "export",
    "NwbExport": "export",
    "ForecastSettings": "forecasting",
    "LfadsH5Import": "imports",
    "LfadsCheckpointImport": "imports",
    "MDSSMSettings": "mdssm",
    "LFADSSettings": "lfads",
    "HNETSettings": "hnet",
    "NODESAESettings": "node_sae",
    "NDTSettings": "ndt",
    "GNOCCHISettings": "gnocchi",
    "MaskSettings": "masks",
    "QualityFilter": "quality",
    "QualitySettings": "quality",
    "IngestRecipe": "recipe",
    "SimulateSettings": "simulation",
    "SweepSettings": "sweep",
    "TrainSettings": "training",
}
"""Name of a settings class → its module below `nwb_latents.schemas`."""

BESIDE: dict[str, dict[str, dict[str, Any]]] = {
    "EvaluateSettings": {"metrics": {"metrics": ["co_bps"]}},
    "GNOCCHISettings": {"channels": {"channels": 32}, "groups": {"groups": 4}, "kernel": {"kernel": 7}},
    "HNETSettings": {"observed": {"start_bins": 1}},
    "IngestRecipe": {
        "bin_size_s": {"bin_size_s": 0.01},
        "chop": {"chop": {"enabled": True}},
        "split": {"split": {"train": 0.6, "val": 0.2, "test": 0.2}},
        "window_s": {"window_s": [-0.2, 0.4]},
    },
    "LFADSSettings": {"student_t_posterior": {"input_prior": "student_t"}},
    "MDSSMSettings": {"rate_link": {"likelihood": "poisson"}},
    "SimulateSettings": {
        **{name: {"system": "hopf"} for name in ("system", "noise_scaling", "parameter_range", "trial_bins")},
        "preset": {"preset": "classic"},
    },
    "TrainSettings": {
        "co_smoothing": {"model": {"name": "lfads"}},
        "forward_ms": {"model": {"name": "lfads"}},
        "heldout_fraction": {"co_smoothing": True},
        "masks": {"signal": "counts", "standardise": False},
    },
}
"""Class → setting → what has to be given beside it, or as it, for a change to be allowed."""


VALUES: dict[tuple[str, str], list[Any]] = {
    ("TrainSettings", "forward_ms"): [20.0, 40.0],
    ("DecodeSettings", "decoders"): [["wiener"], ["ridge", "wiener"]],
    ("DecodeSettings", "decoder_settings"): [{"ridge": {"folds": 3}}],
}
"""Class and setting → values to try, where the type does not say them: whole bins, names of parts."""


def settings_class(name: str) -> type[BaseModel]:
    """Return a settings class by its name."""
    found: type[BaseModel] = getattr(importlib.import_module(f"nwb_latents.schemas.{SETTINGS[name]}"), name)
    return found


def default_values(name: str) -> dict[str, Any]:
    """Return the default of every setting of a class, in the notation of JSON, by its dotted name."""

    def flat(content: dict[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in content.items():
            is_group = isinstance(value, dict) and value
            found |= flat(value, f"{prefix}{key}.") if is_group else {f"{prefix}{key}": value}
        return found

    return flat(settings_class(name).model_validate({}).model_dump(mode="json"), "")


def single_changes(kind: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name of a setting, and the content without and with a change of it; all changes in turn."""
    beside_of = BESIDE.get(kind.__name__, {})
    for name, field in kind.model_fields.items():
        beside = beside_of.get(name, {})
        base = {key: value for key, value in beside.items() if key != name}
        if name in beside:
            yield name, base, beside
        chosen = [{name: value} for value in VALUES.get((kind.__name__, name), ())]
        for where, change in [(name, each) for each in chosen] or _changes(name, field):
            wanted = _merged(beside, change)
            if _is_allowed(kind, wanted) and _is_allowed(kind, base):
                yield where, base, wanted


def _is_allowed(kind: type[BaseModel], content: dict[str, Any]) -> bool:
    try:
        kind.model_validate(content)
    except ValidationError:
        return False
    return True


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merged(below[k], v) if isinstance(v, dict) and k in below else v for k, v in above.items()}
    return {**below, **both}


def _changes(name: str, field: FieldInfo) -> Iterator[tuple[str, dict[str, Any]]]:
    if field.annotation is ModelSettings:
        for tag, member in known_models().items():
            chosen = {"name": tag}
            yield f"{name}={tag}", {name: chosen}
            for where, _, change in single_changes(member):
                yield f"{name}={tag}.{where}", {name: {**chosen, **change}}
    elif _is_settings(field.annotation):
        for where, _, change in single_changes(field.annotation):  # type: ignore[type-var,arg-type]
            yield f"{name}.{where}", {name: change}
    else:
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        for value in _values(field, default):
            yield name, {name: value}


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _values(field: FieldInfo, default: Any) -> list[Any]:
    """Return values other than the default that the field's type and bounds allow."""
    found = [value for value in _of_type(field.annotation, default) if value != default]
    return [value for value in found if all(_within(value, bound) for bound in field.metadata)]


def _within(value: Any, bound: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    if isinstance(bound, Ge | Gt):
        return bool(value >= bound.ge if isinstance(bound, Ge) else value > bound.gt)
    if isinstance(bound, Le | Lt):
        return bool(value <= bound.le if isinstance(bound, Le) else value < bound.lt)
    return True


def _of_type(annotation: Any, default: Any) -> list[Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_type(args[0], default)
    if origin is Literal:
        return list(args)
    if origin is tuple:
        return _tuples(args, default)
    if origin is dict:
        return [{"more": "x"}, {"optimiser.lr": {"low": 1e-4, "high": 1e-2}}]
    if args:  # a union with None
        return [None, *(v for arg in args if arg is not type(None) for v in _of_type(arg, default))]
    number = default if isinstance(default, int | float) else 0
    by_kind = {
        bool: [True, False],
        int: [number + 1, number + 2, max((number or 2) - 1, 0)],
        float: [number * 0.5, number + 0.25, number * 0.5 + 1.0],
        str: [f"{default or ''}x", "8GB"],
    }
    return by_kind.get(annotation, ["2013-10-03T10:00:00Z"])


def _tuples(args: tuple[Any, ...], default: Any) -> list[Any]:
    inside, is_fixed = args[0], args[-1] is not Ellipsis
    if is_fixed:
        return [[v + 1 for v in default]] if default is not None else [[1, 2]]
    many = [{"name": "other"}] if _is_settings(inside) else _of_type(inside, None)
    many = [value for value in many if value not in (None, 0)]
    old = list(default or [])
    found = [old[:-1], [*old, many[0]], [many[-1]], many]
    if inside in (int, float):
        found = [old[:-1], [*old, many[0]], [many[-1]], many[:2], [inside(3)]]
    return [value for value in found if value and tuple(value) != default]
