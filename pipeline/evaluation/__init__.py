"""Decoding, forecasting and their scores."""
