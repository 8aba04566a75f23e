"""Fast loops and products, each beside what torch makes of the same."""
