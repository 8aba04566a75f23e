"""Models as they were published, written again from their equations, without anything of the package."""
