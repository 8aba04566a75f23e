"""The functions `nwb_latents` offers: what a caller may write → one stage. Computes nothing."""
