"""From NWB recordings of motor cortex to latent dynamics and decoded hand velocity.

The stages are functions: `nwb_latents.pipeline.stages.ingest.ingest`, `nwb_latents.pipeline.stages.train.train` and
`nwb_latents.pipeline.stages.decode.decode`. The command ``pipeline`` calls the same functions.
"""

__version__ = "0.1.0"
