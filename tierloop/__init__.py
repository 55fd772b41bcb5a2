"""What a person does with a stack, and the one name below which every room is imported."""

from tierloop.contract.version import __version__ as __version__
