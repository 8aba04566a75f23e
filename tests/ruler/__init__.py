"""One recording in which every number is known, and what a store of it has to hold."""
