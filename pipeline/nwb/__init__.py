"""From an NWB file to a `Recording`: one small layout adapter per family of files."""
