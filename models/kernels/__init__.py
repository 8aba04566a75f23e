"""Fast loops and products, each beside what torch makes of the same; `switch` says which of the two run."""
