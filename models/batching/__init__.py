"""From trials to the tensors of a step: draws, packing, masks."""
