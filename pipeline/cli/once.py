"""Commands that refuse an option that is given twice where it takes one value: the first would be lost."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class OnceCommand(TyperCommand):
    """A command that takes each option once, but for those that are repeatable, and switches."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line.

        Raises
        ------
        UsageError
            If an option that takes one value is there more than once.
        """
        if not ctx.resilient_parsing and not set(args) & set(ctx.help_option_names):
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            for option in given:
                one = not (getattr(option, "multiple", True) or getattr(option, "is_flag", False))
                if one and given.count(option) > 1:
                    ctx.fail(
                        f"{max(option.opts, key=len)} is given {given.count(option)} times, and takes one "
                        "value. Several values are one word with commas, where the help says so."
                    )
        return super().parse_args(ctx, args)
