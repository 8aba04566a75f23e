"""Settings under which every model of the program is small: name → what differs from its defaults."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "mdssm": {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8},
    "lfads": {"generator_dim": 8, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 6, "controller_dim": 4},
    "hnet": {"recurrent_dim": 8, "rank": 2, "hyper_width": 8, "start_bins": 4},
    "node_sae": {"field_width": 8, "encoder_dim": 6},
    "ndt": {"layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}, "mask": {"max_span": 3}},
    "gnocchi": {"code_dim": 3, "encoder_width": 6, "channels": 8, "blocks": 2, "sampling_steps": 4},
}
