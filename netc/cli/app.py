"""The command ``netc``: finds the subcommand, and turns every outcome into an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

from netc import __version__
from netc.cli.output import OutputClosed, say
from netc.ir.diagnostics import NetcError

OK, INTERNAL_ERROR, BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

# name -> (module that defines `command`, what it does); the modules are imported when they are used
COMMANDS: Mapping[str, tuple[str, str]] = {
    "compile": ("netc.cli.compile_", "Compile a net into one file, or show the code at any stage."),
    "run": ("netc.cli.run", "Run a net on images or arrays."),
    "time": ("netc.cli.time_", "Time every kernel of a net."),
    "inspect": ("netc.cli.inspect_", "List the layers of a net."),
    "classify": ("netc.cli.classify", "Classify images, with the flags of Caffe's classify.py."),
    "extract-features": ("netc.cli.extract_features", "Write blobs of a net to files, batch by batch."),
    "draw": ("netc.cli.draw", "Draw a net, or its IR."),
}


class _LazyGroup(click.Group):
    """Imports a command's module when it is called, so that ``--help`` needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where an internal error happened.")
@click.version_option(__version__, prog_name="netc", message="%(prog)s %(version)s")
def netc(show_traceback: bool) -> None:
    """Compile and run Caffe networks."""
    click.get_current_context().obj = show_traceback


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit code. ``args`` are those of the process if None."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        netc.main(arguments, prog_name="netc", standalone_mode=False)
        sys.stdout.flush()
    except (OutputClosed, BrokenPipeError):
        _discard_stdout()
        return PIPE_CLOSED
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except NetcError as error:
        say(error.render())
        return BAD_INPUT
    except MemoryError:
        say("error: there is not enough memory")
        return BAD_INPUT
    except Exception as error:
        _report_bug(error, "--traceback" in arguments)
        return INTERNAL_ERROR
    return OK


def _report_bug(error: Exception, show_traceback: bool) -> None:
    if show_traceback:
        say("".join(traceback.format_exception(error)).rstrip())
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    hint = "" if show_traceback else "; 'netc --traceback ...' shows more"
    say(f"internal error: {text}{where}: please report this with the net{hint}")


def _discard_stdout() -> None:
    """The interpreter flushes stdout at exit, which would fail again."""
    with suppress(OSError, ValueError):  # stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
