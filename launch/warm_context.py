"""A second process to fork from, for learners on the CPU: it has imported torch, once for all.

`multiprocessing` has one such process, and here the actors have it: theirs must not hold torch. A
learner that was killed is back in a fraction of a second instead of the seconds that torch takes,
and three learners start in the time of one. Not for CUDA, which does not survive a fork. Used by
`launch.local_run`.
"""

import signal
from multiprocessing import context, forkserver, popen_forkserver, process, resource_tracker

from dm2_dist.child import LAUNCHERS_SIGNALS

_PRELOADED = ["learners.warm"]
_server = forkserver.ForkServer()


def begin() -> None:
    """Let the process to fork from start now; it gets ready while the caller does other things.

    Like all that a launcher starts, it does not die of the launcher's Ctrl-C.
    """
    _server.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # it unblocks signals when it starts, so it comes first
    signal.pthread_sigmask(signal.SIG_BLOCK, LAUNCHERS_SIGNALS)
    try:
        _server.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LAUNCHERS_SIGNALS)


class _WarmPopen(popen_forkserver.Popen):
    """Asks our server for the new process; all else is the standard library's."""

    def _launch(self, process_obj: process.BaseProcess) -> None:
        # NOTE: the standard library calls this function of its module; there is no other way in.
        before = forkserver.connect_to_new_process
        forkserver.connect_to_new_process = _server.connect_to_new_process
        try:
            super()._launch(process_obj)  # type: ignore[misc]
        finally:
            forkserver.connect_to_new_process = before


class _WarmProcess(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> _WarmPopen:  # noqa: N802
        return _WarmPopen(process_obj)


class WarmContext(context.ForkServerContext):
    """A context like `forkserver`, with a server of its own."""

    Process = _WarmProcess
