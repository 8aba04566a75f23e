"""Description of everything the project writes down (pydantic): no input or output, no arithmetic.

`SCHEMAS` names the schemas that ``pipeline schema NAME`` prints.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.base import Frozen

SCHEMAS: dict[str, str] = {
    "catalog": "schemas.catalog:Catalog",
    "attempt": "schemas.cluster:Attempt",
    "cluster": "schemas.cluster:ClusterSettings",
    "recipe": "schemas.recipe:IngestRecipe",
    "store": "schemas.store:StoreAttributes",
    "align": "schemas.align:AlignSettings",
    "train": "schemas.training:TrainSettings",
    "sweep": "schemas.sweep:SweepSettings",
    "sweep_state": "schemas.sweep:SweepState",
    "mdssm": "schemas.models:MDSSMSettings",
    "lfads": "schemas.models:LFADSSettings",
    "hnet": "schemas.models:HNETSettings",
    "node_sae": "schemas.models:NODESAESettings",
    "ndt": "schemas.models:NDTSettings",
    "gnocchi": "schemas.models:GNOCCHISettings",
    "decode": "schemas.decoding:DecodeSettings",
    "forecast": "schemas.forecasting:ForecastSettings",
    "forecast_result": "schemas.forecasting:SessionForecast",
    "evaluate": "schemas.evaluation:EvaluateSettings",
    "evaluation": "schemas.results:Evaluation",
    "embed": "schemas.embedding:EmbedSettings",
    "export_nlb": "schemas.export:NlbExport",
    "export_lfads": "schemas.export:LfadsExport",
    "export_nwb": "schemas.export:NwbExport",
    "import_lfads_h5": "schemas.imports:LfadsH5Import",
    "import_lfads_checkpoint": "schemas.imports:LfadsCheckpointImport",
    "quality": "schemas.quality:SessionQuality",
    "score": "schemas.results:Score",
    "simulate": "schemas.simulation:SimulateSettings",
}


def schema_class(name: str) -> type[Frozen]:
    """Return the schema called `name`.

    Raises
    ------
    KeyError
        If there is none of that name.

    Examples
    --------
    >>> schema_class("recipe").__name__
    'IngestRecipe'
    """
    module, _, attribute = SCHEMAS[name].partition(":")
    found: type[Frozen] = getattr(import_module(module), attribute)
    return found
