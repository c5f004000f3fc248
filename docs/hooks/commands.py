"""Every command with its options, as `--help` shows them."""

from typing import Any


def page() -> str:
    """The Markdown."""
    lines = [
        "# Commands",
        "",
        "As `lensrec COMMAND --help` shows them. Every command goes on where it was stopped, says what it skips,",
        "and ends with 0; with 1 and one line that says what to mend; or with 2 for wrong usage. `--debug`, anywhere,",
        "shows the traceback of an error. `--set` takes any of the [keys of a recipe](recipe.md).",
        "",
    ]
    for name, command, context in walk():
        if hasattr(command, "commands") and name != "lensrec":
            lines += [f"## {name}", "", str(command.help or ""), ""]
            continue
        text = context.get_help().strip()
        lines += [f"{'#' if name == 'lensrec' else ''}## {name}".replace("###", "##"), "", "```text", text, "```", ""]
    return "\n".join(lines)


def walk() -> list[tuple[str, Any, Any]]:
    """Name, command and context of each command and group, in the order of `lensrec --help`."""
    from typer.main import get_command

    from lensrec.cli import app

    root = get_command(app)
    found: list[tuple[str, Any, Any]] = []

    def visit(command: Any, name: str, parent: Any) -> None:
        context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=100)
        found.append((context.command_path, command, context))
        for key, child in getattr(command, "commands", {}).items():
            visit(child, key, context)

    visit(root, "lensrec", None)
    return found
