"""Where NWB files come from: a folder, the DANDI archive, the simulator."""
