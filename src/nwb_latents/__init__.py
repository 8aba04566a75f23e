"""From NWB recordings of motor cortex to latent dynamics and decoded hand velocity.

The stages are functions: `pipeline.stages.ingest.ingest`, `pipeline.stages.train.train` and
`pipeline.stages.decode.decode`. The command ``pipeline`` calls the same functions.
"""

__version__ = "0.1.0"
