"""One module per ``pipeline run NAME``: catalog → plan → work → catalog."""
