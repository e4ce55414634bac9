"""Signals that end the command: Ctrl-C, SIGTERM and SIGHUP, heard from the first second on and answered within a few.

Most of the time nothing needs saving beyond what is on disk: the signal becomes an exception in the main thread, whose
way out takes temporary files away. While a run trains, SIGTERM and SIGHUP are notices instead: the loop sees them
between two dispatches and saves (`Checkpoints.stop_requested`).

Python runs a handler only once the main thread is back from C, and a compilation keeps it there for minutes. So a
thread of its own hears of each signal at once: it passes notices on, and ends a process that does not end itself.

While a module written in C initialises, no exception is raised: such modules crash of one, or say that they cannot be
imported. The thread sends the signal again until they are done.
"""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 5.0  # seconds for the way out
_AGAIN = 0.1  # seconds after which a signal is sent again that nothing has come of
_INITIALISE = {method.__code__ for method in (ExtensionFileLoader.create_module, ExtensionFileLoader.exec_module)}

_ours = None  # the C handler that Python installs for its own; None until `install`
_notify = None  # JAX's handler of SIGTERM: starts the agreement of all processes on a step to stop after
_training = False
_noticed: int | None = None
_ending: int | None = None


class Stopped(BaseException):
    """SIGTERM or SIGHUP came: `signum`. Like KeyboardInterrupt it passes every `except Exception`."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


def install(leave: Callable[[int], None]) -> None:
    """Turns the signals into KeyboardInterrupt and `Stopped`, each but once; for a process that is the command alone.

    `leave(signum)` ends the process, from another thread, where the exception has not within five seconds. A signal
    that the parent had ignored (`nohup`, a shell's background job) stays so.
    """
    global _ours
    read, write = os.pipe()
    os.set_blocking(write, False)
    for signum in ENDING:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _heard)
            _ours = _c_handler(signum)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(read, leave), name="signals", daemon=True).start()
    # An exception raised while Python calls back from C (a destructor, a weak reference) is printed and lost there.
    report = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, Stopped | KeyboardInterrupt) else report(lost)


def share_with_jax() -> None:
    """Takes SIGTERM back from JAX, which listens to it once its processes are joined, and remembers JAX's handler."""
    global _notify
    handler = _c_handler(signal.SIGTERM)
    if _ours is not None and handler and handler != _ours:
        _notify = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
        signal.signal(signal.SIGTERM, _heard)


def defer() -> None:
    """From here on SIGTERM and SIGHUP are notices: the run looks for them between its steps, saves and ends itself."""
    global _training
    _training = _notify is not None


def stop_deferring() -> None:
    """From here on they end the process again; raises `Stopped` for a notice that the run has not answered."""
    global _training
    _training = False
    if _noticed is not None:
        raise Stopped(_noticed)


def finish() -> None:
    """From here on, the work being done, a signal raises nothing: it ends a process that takes long to leave."""
    global _ending
    _ending = 0


def _heard(signum: int, frame: FrameType | None) -> None:
    global _ending
    if _ending is not None or (_training and signum != signal.SIGINT) or _initialises_c(frame):
        return
    _ending = signum
    raise KeyboardInterrupt if signum == signal.SIGINT else Stopped(signum)


def _initialises_c(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code not in _INITIALISE:
        frame = frame.f_back
    return frame is not None


def _listen(pipe: int, leave: Callable[[int], None]) -> None:
    global _noticed
    leaving = None  # the signal that the process leaves for
    while True:
        unanswered = leaving is not None and _ending is None
        if unanswered and not select.select([pipe], [], [], _AGAIN)[0]:
            signal.pthread_kill(threading.main_thread().ident, leaving)
        for signum in os.read(pipe, 64):
            if _training and signum != signal.SIGINT:
                _noticed = signum
                _notify(signal.SIGTERM)
            elif leaving is None:
                leaving = signum
                timer = threading.Timer(_GRACE, leave, [signum])
                timer.daemon = True
                timer.start()


def _c_handler(signum: int) -> int | None:
    get = ctypes.pythonapi.PyOS_getsig
    get.argtypes, get.restype = [ctypes.c_int], ctypes.c_void_p
    return get(signum)
