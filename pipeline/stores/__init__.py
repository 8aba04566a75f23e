"""What lies on disk: trial stores, the catalog, settings files; every write is whole or not at all."""
