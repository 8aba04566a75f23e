"""Parts of another distribution, installed beside the program."""
