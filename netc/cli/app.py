"""The command ``netc``: runs the subcommand, and turns every outcome into an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from netc import __version__
from netc.cli.caffe_commands import CAFFE_COMMANDS
from netc.cli.commands import COMMANDS
from netc.cli.output import CheckFailed, OutputClosed, OutputFailed, flush, say
from netc.cli.train_commands import TRAIN_COMMANDS
from netc.ir.diagnostics import InternalError, NetcError

OK, INTERNAL_ERROR, BAD_INPUT, CHECK_FAILED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141


class _InOrder(click.Group):
    """Lists the commands in the order in which a user meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where an internal error happened.")
@click.version_option(__version__, prog_name="netc", message="%(prog)s %(version)s")
def netc(show_traceback: bool) -> None:
    """Compile and run Caffe networks."""
    del show_traceback  # main() looks for it, as an error may come before this


for _command in (*COMMANDS, *TRAIN_COMMANDS, *CAFFE_COMMANDS):
    netc.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit code. ``args`` are those of the process if None."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        netc.main(arguments, prog_name="netc", standalone_mode=False)
        flush()
    except (OutputClosed, BrokenPipeError):
        _discard_stdout()
        return PIPE_CLOSED
    except OutputFailed as error:
        _discard_stdout()
        say(f"error: stdout: {error}")
        return BAD_INPUT
    except CheckFailed as error:
        say(f"error: {error}")
        return CHECK_FAILED
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
    except InternalError as error:
        say(error.render())
        return INTERNAL_ERROR
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
