"""The report: one page of HTML of what a catalog holds, without a network and without other files."""
