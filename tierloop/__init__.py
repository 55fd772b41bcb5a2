"""The roof: the deployment file, the launcher, the command line, the report."""

from tierloop.contract.version import __version__ as __version__
