"""`video-assets` and `python -m video_assets`: the command line.

`frames extract` is run once a clip, and Typer with every command's options takes a quarter of a second to start. A
plain call of it goes round Typer, which still says what is wrong with options, and how it ended where it did not end
well.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from video_assets.extract_options import ExtractOptions, in_words, read_plainly

if TYPE_CHECKING:
    from video_assets.stages.extraction import Extraction


def main() -> None:
    """Runs the command that `sys.argv` names, and ends this process."""
    options = read_plainly(sys.argv[1:])
    if options is not None:
        _extract(options)
    from video_assets.cli import app

    app()


def _extract(options: ExtractOptions) -> None:
    """Extracts and ends this process; returns, with nothing done, where the options make no sense."""
    # Of its threads, which spin before they sleep, NumPy needs none. It looks here when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        run = options.prepare()
    except ValueError:
        return
    finally:
        gc.freeze()  # What was imported stays, and is not to be looked through for garbage again and again.
        gc.enable()
    outcome = _outcome(run, options.as_json)
    from video_assets.cli.frames import tell_alone

    tell_alone(outcome, as_json=options.as_json)


def _outcome(run: Callable[[], Extraction], as_json: bool) -> Callable[[], Extraction]:
    """Ends this process if all is well. Otherwise what returns or raises the same again."""
    try:
        result = run()
        if result.error_msg is None:
            sys.stdout.write(in_words(result, as_json=as_json))
            sys.stdout.flush()
            _leave()
    except BaseException as error:
        return partial(_raise, error)
    return lambda: result


def _raise(error: BaseException) -> NoReturn:
    raise error


def _leave() -> NoReturn:
    """Ends this process at once: taking the interpreter down piece by piece takes longer than a frame."""
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
