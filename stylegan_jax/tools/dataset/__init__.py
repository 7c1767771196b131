"""The tool that looks at data sets and converts them; the commands are in `__main__.py`."""
