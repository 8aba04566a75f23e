"""A laboratory's own parts for nwb-latents, one of each kind."""
