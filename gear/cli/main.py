"""The `gear` command: its parser, and what becomes of an error."""

import argparse
import os
import re
import sys

from gear.cli.commands import COMMANDS
from gear.files.mistakes import Mistake, did_you_mean, memory_said


class _Parser(argparse.ArgumentParser):
    """Names a misspelt option before options that are missing because of it."""

    def parse_known_args(self, args=None, namespace=None):
        self.words = sys.argv[1:] if args is None else list(args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:  # said here, because the parser above does not know the options of this one
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message):
        known = list(self._option_string_actions)
        unclear = message.startswith(("unrecognized", "the following arguments are required"))
        for word in (word.split("=")[0] for word in self.words if unclear):
            if re.match("--[a-z]", word) and not any(name.startswith(word) for name in known):
                super().error(f"there is no option {word}. {did_you_mean(word, known)}")
        super().error(message)


class _Version(argparse.Action):
    def __call__(self, parser, *_):
        from importlib import metadata

        print(f"gear {metadata.version('gear')}")
        parser.exit()


def _as_options(sentence, command):
    """The sentence with the API's parameters as the command's options: `top_k` becomes --top-k."""
    options = {a.dest: a.option_strings[0] for a in command._actions if a.option_strings}
    return re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[0]), sentence)


def _refuse_empty(args):
    """Mistake: an option's text is empty. As a path it would be the working directory."""
    for name, value in vars(args).items():
        if isinstance(value, str) and not value.strip():
            raise Mistake(f"`{name}` is empty; write a value, or leave it out.")


def make_parser():
    """The parser of all commands; each sets `run`, the function of the parsed options."""
    parser = _Parser(prog="gear", description="Regenerate, look at and use GEAR.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True)
    for declare in COMMANDS:
        declare(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["score"]:
        raise SystemExit("gear: `gear score` is now `gear likelihood`; write that.")
    args = make_parser().parse_args(arguments)
    try:
        _refuse_empty(args)
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Mistake as error:  # a user's mistake
        sentence = _as_options(str(error), args.parser)
        raise SystemExit(f"gear: {sentence}") from None
    except (MemoryError, RuntimeError) as error:
        sentence = memory_said(error)
        if sentence is None:  # a bug, which keeps its traceback
            raise
        raise SystemExit(f"gear: {sentence}") from None
    except OSError as error:  # a disk that is full or not ours
        raise SystemExit(f"gear: {error}") from None
