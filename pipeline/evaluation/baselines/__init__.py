"""Rates that need no trained model."""
