"""Faults by room: module, text that stands there, what takes its place, what goes wrong, tests beside."""
