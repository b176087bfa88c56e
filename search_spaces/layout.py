"""Python laid out on lines as formatters do."""

from dataclasses import dataclass

LINE_LENGTH = 88


@dataclass(frozen=True, slots=True)
class Expression:
    """A call with its arguments, to be laid out on one or several lines."""

    function: str
    arguments: tuple["Expression", ...] | None = None  # None: ``function`` is the whole text
    keyword: str = ""
    brackets: str = "()"

    def flat(self) -> str:
        """The expression on one line."""
        prefix = f"{self.keyword}=" if self.keyword else ""
        if self.arguments is None:
            return prefix + self.function
        inner = ", ".join(part.flat() for part in self.arguments)
        return f"{prefix}{self.function}{self.brackets[0]}{inner}{self.brackets[1]}"

    def lines(self, indent: int, before: str = "", after: str = "") -> list[str]:
        """The expression between ``before`` and ``after``, no line longer than it must be."""
        margin = " " * indent
        flat = f"{margin}{before}{self.flat()}{after}"
        if len(flat) <= LINE_LENGTH or not self.arguments:
            return [flat]
        prefix = f"{self.keyword}=" if self.keyword else ""
        opening, closing = self.brackets[0], self.brackets[1]
        first, last = (
            f"{margin}{before}{prefix}{self.function}{opening}",
            f"{margin}{closing}{after}",
        )
        inner = f"{margin}    {', '.join(part.flat() for part in self.arguments)}"
        if len(inner) <= LINE_LENGTH:
            return [first, inner, last]
        comma = "," if len(self.arguments) > 1 else ""
        parts = [line for part in self.arguments for line in part.lines(indent + 4, after=comma)]
        return [first, *parts, last]


def function_head(name: str, arguments: str, result: str) -> list[str]:
    """The lines of a method's ``def``, on one line, with its arguments on one, or one on each."""
    flat = f"    def {name}({arguments}) -> {result}:"
    if len(flat) <= LINE_LENGTH:
        return [flat]
    first, last = f"    def {name}(", f"    ) -> {result}:"
    if len(arguments) + 8 <= LINE_LENGTH:
        return [first, f"        {arguments}", last]
    return [first, *(f"        {part}," for part in arguments.split(", ")), last]
