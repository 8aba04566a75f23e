"""Files of other programs as trial stores."""
