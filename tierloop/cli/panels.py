"""How `tierloop --help` looks: the commands in four panels, and an example below each command.

Typer draws panels with rich, which takes longer to import than all else that help needs; these
are drawn by the plain formatter.
"""

from typing import Any

from typer.core import TyperGroup

RUN, LOOK, MEASURE, MAKE = "Run", "Look", "Measure", "Make"
NAME = 9
"""Characters of the longest name of a command."""


class Panels(TyperGroup):
    """A group of commands whose help lists them by their `rich_help_panel`."""

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Writes a section for each panel."""
        commands: list[Any] = list(self.commands.values())
        for panel in (RUN, LOOK, MEASURE, MAKE):
            rows = [
                (f"{command.name:<{NAME}}", command.get_short_help_str(formatter.width - NAME - 4))
                for command in commands
                if command.rich_help_panel == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


def example(line: str) -> str:
    """The last paragraph of a command's help, which is not wrapped."""
    return f"\b\nExample:\n  {line}"
