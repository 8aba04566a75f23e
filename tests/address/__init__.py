"""One import name, in every way a user can meet it."""
