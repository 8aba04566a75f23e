"""The command line: parses words, calls one stage, shows progress and results."""
