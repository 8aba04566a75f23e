"""Pure functions on arrays: bin, smooth, resample, find onsets, select, align, split.

Seconds, centimetres and hertz outside; integer nanoseconds wherever times are compared.
"""
