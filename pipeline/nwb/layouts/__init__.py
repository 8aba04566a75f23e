"""Layout adapters: where a family of NWB files keeps things, and under which names."""
