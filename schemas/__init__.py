"""Description of everything the project writes down (pydantic): no input or output, no arithmetic.

`schema_names` are the schemas that ``pipeline schema NAME`` prints: those of `SCHEMAS`, the events, and the
settings of every model and every exporter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nwb_latents.schemas.base import Frozen

SCHEMAS: dict[str, str] = {
    "catalog": "nwb_latents.schemas.catalog:Catalog",
    "attempt": "nwb_latents.schemas.cluster:Attempt",
    "cluster": "nwb_latents.schemas.cluster:ClusterSettings",
    "recipe": "nwb_latents.schemas.recipe:IngestRecipe",
    "inspection": "nwb_latents.schemas.inspection:Inspection",
    "store": "nwb_latents.schemas.store:StoreAttributes",
    "align": "nwb_latents.schemas.align:AlignSettings",
    "train": "nwb_latents.schemas.training:TrainSettings",
    "sweep": "nwb_latents.schemas.sweep:SweepSettings",
    "sweep_state": "nwb_latents.schemas.sweep:SweepState",
    "decode": "nwb_latents.schemas.decoding:DecodeSettings",
    "forecast": "nwb_latents.schemas.forecasting:ForecastSettings",
    "evaluate": "nwb_latents.schemas.evaluation:EvaluateSettings",
    "export_origin": "nwb_latents.schemas.export:ExportOrigin",
    "embed": "nwb_latents.schemas.embedding:EmbedSettings",
    "plot": "nwb_latents.schemas.pictures:PlotSettings",
    "import_lfads_h5": "nwb_latents.schemas.imports:LfadsH5Import",
    "import_lfads_checkpoint": "nwb_latents.schemas.imports:LfadsCheckpointImport",
    "quality": "nwb_latents.schemas.quality:SessionQuality",
    "run_trials": "nwb_latents.schemas.trial_record:RunTrials",
    "manifest": "nwb_latents.schemas.manifest:Manifest",
    "measurement": "nwb_latents.schemas.measurement:Measurement",
    "report": "nwb_latents.schemas.report:ReportSettings",
    "study": "nwb_latents.schemas.study:StudySettings",
    "stream": "nwb_latents.schemas.online_decoding:StreamSettings",
    "simulate": "nwb_latents.schemas.simulation:SimulateSettings",
}
"""Schema → class."""

UNIONS: dict[str, str] = {"events": "nwb_latents.schemas.events:events_schema"}
"""Schema of several classes → the function that returns it as JSON schema."""


_EXPORT = "export_"


def schema_names() -> list[str]:
    """Return the names of all schemas.

    Examples
    --------
    >>> [name for name in schema_names() if name.startswith("export_l")]
    ['export_lfads']
    """
    from nwb_latents.schemas.registry import EXPORTERS, MODELS  # noqa: PLC0415 - looks at what is installed

    named = [*SCHEMAS, *UNIONS, *(f"{_EXPORT}{name}" for name in EXPORTERS)]
    return [*named, *(name for name in MODELS if name not in named)]


def schema_class(name: str) -> type[Frozen]:
    """Return the schema called `name`.

    Raises
    ------
    UnknownPartError
        If there is neither a schema nor a model of that name.

    Examples
    --------
    >>> schema_class("recipe").__name__, schema_class("lfads").__name__
    ('IngestRecipe', 'LFADSSettings')
    """
    from nwb_latents.schemas.base import Frozen  # noqa: PLC0415 - names alone are to cost nothing
    from nwb_latents.schemas.registry import EXPORTERS, BrokenPartError  # noqa: PLC0415 - looks at what is installed

    exporter = name.removeprefix(_EXPORT)
    if name not in SCHEMAS and exporter != name and exporter in EXPORTERS:
        of_exporter = getattr(EXPORTERS.load(exporter), "settings_type", None)
        if not (isinstance(of_exporter, type) and issubclass(of_exporter, Frozen)):
            raise BrokenPartError(
                f"the exporter {exporter!r} of {EXPORTERS.owner(exporter)} does not say its settings "
                f"(`settings_type`). {EXPORTERS.remedy(exporter)}"
            )
        return of_exporter
    if name not in SCHEMAS:
        from nwb_latents.schemas.models import model_settings  # noqa: PLC0415 - looks at the installed ones

        return model_settings(name)
    found: type[Frozen] = _named(SCHEMAS[name])
    return found


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema called `name`.

    Raises
    ------
    KeyError
        If there is none of that name.

    Examples
    --------
    >>> json_schema("recipe")["title"], json_schema("events")["title"]
    ('IngestRecipe', 'Event')
    """
    if name in UNIONS:
        schema: dict[str, Any] = _named(UNIONS[name])()
        return schema
    return schema_class(name).model_json_schema()


def _named(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
