"""The commands in one list."""

from __future__ import annotations

import typer

from engage_pipelines.cli import alerting, casework, checking, demo_command, looking, moving, sandbox_command, tracing

app = typer.Typer(
    name="engage",
    help="Sales, customers, products and stock from tills to DuckDB and to loyalty platforms, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(demo_command.demo)
app.command()(sandbox_command.dev)
app.command()(sandbox_command.sandbox)
app.command()(checking.check)
app.command()(moving.pull)
app.command()(moving.load)
app.command()(moving.deliver)
app.command()(moving.publish)
app.command()(looking.status)
app.add_typer(casework.rejected, name="rejected")
app.command()(casework.resolve)
app.add_typer(casework.diverged, name="diverged")
app.command()(tracing.trace)
app.command()(looking.tables)
app.command()(alerting.alert)
