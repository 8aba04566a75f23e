"""Forecasts and their scores, bin by bin ahead."""
