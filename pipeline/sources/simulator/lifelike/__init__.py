"""Reaches and neurons more like recorded ones: of many speeds and courses, of drifting, bending tuning."""
