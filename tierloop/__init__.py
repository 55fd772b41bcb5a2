"""The roof: the deployment file, the launcher, the command line, the report."""

__version__ = "0.1.0"
