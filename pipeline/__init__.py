"""What happens to data, floor by floor: the command line, the stages, and all they need."""
