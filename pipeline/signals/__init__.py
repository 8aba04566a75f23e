"""Pure functions on arrays: bin, smooth, resample, find onsets, select, cut, split.

Seconds, centimetres and hertz outside; integer nanoseconds wherever times are compared.
"""
