"""Metrics as functions of arrays, with their intervals."""
