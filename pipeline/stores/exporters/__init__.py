"""Trial stores as files of other programs."""
