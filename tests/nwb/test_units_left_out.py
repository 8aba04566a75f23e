"""Where units are left out, those that stay keep their own ids, areas, marks and spikes."""

import numpy as np
import pytest

from nwb_latents.pipeline.nwb.clock_resets import Parts
from nwb_latents.pipeline.nwb.session_spikes import only_units
from nwb_latents.pipeline.signals.recording import UnitTable

SPIKES = {40: [0.5, 1.5], 30: [], 20: [2.5], 10: [3.5, 4.5, 5.5]}
UNITS = UnitTable(
    ids=np.array(list(SPIKES)),
    area=np.array(["M1", "PMd", "S1", "A5"], dtype=object),
    heldout=np.array([False, True, True, False]),
)


@pytest.mark.parametrize(
    "kept", [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
)
def test_everything_of_a_unit_stays_with_it(kept):
    kept = np.array(kept, dtype=bool)
    whole = Parts(
        spike_times=np.concatenate(list(SPIKES.values())),
        spike_index=np.cumsum([len(spikes) for spikes in SPIKES.values()]),
        units=UNITS,
        position=None,
        velocity=None,
        trials=None,
    )
    found = only_units(whole, kept)
    own = np.split(found.spike_times, found.spike_index[:-1]) if kept.any() else []
    assert [
        (unit, area, out, spikes.tolist())
        for unit, area, out, spikes in zip(
            found.units.ids, found.units.area, found.units.heldout, own, strict=True
        )
    ] == [
        (unit, UNITS.area[row], UNITS.heldout[row], spikes)
        for row, (unit, spikes) in enumerate(SPIKES.items())
        if kept[row]
    ]
