"""Hand velocity from neural activity."""
