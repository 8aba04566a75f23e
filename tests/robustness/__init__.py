"""What the program does with files, settings and answers that somebody or something has spoiled.

A *trial* is one input, spoiled by one mutator with one seed, given to one real command. `trials` makes them,
`forked` runs the command in a child with limits, `verdict` holds what came of it against what came of the
unspoiled input::

    python benchmarks/robustness.py --n 1000
    python benchmarks/robustness.py --only nwb.retype.17

Each kind of input has its module: `nwb`, `stores`, `runs`, `catalogs`, `measured`, `typed`, `answers`,
`kills`, `workers`, `objects`, `nwb_zarr`.
"""
