"""Commands in parallel processes, each with a log: started, watched, asked to stop, reported.

Every process is in a session of its own, so that Ctrl-C reaches it once, from here, and it can
save. A lock that it inherits outlives this process: what was left running is not started twice.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

from eval._compare.words import duration
from zoo.registry import UserError

_LOOKS_EVERY = 0.1  # seconds
_LONGEST_REASON = 500  # characters of a log that are told as a reason


@dataclass(frozen=True)
class Task:
    """Commands to run one after the other, the next only if all before ended well.

    Attributes:
        id: what it is called.
        commands: of words.
        log: what they print is added there.
        failure: a file that holds the reason if one fails, and is removed if none does.
        progress: how far it is, for people.
    """

    id: str
    commands: Sequence[Sequence[str]]
    log: Path
    failure: Path
    progress: Callable[[], str] = str


@dataclass
class _Running:
    task: Task
    slot: int
    lock: int | None  # file descriptor
    process: subprocess.Popen
    stream: IO[bytes]
    log_start: int  # bytes of its log before this process
    done: int = 0  # commands that ended well
    asked: int = 0  # times that it was asked to stop
    started: float = field(default_factory=time.monotonic)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_each(jobs: int) -> int:
    """Threads for each of so many processes, together no more than the cores; at least 1.

    An `OMP_NUM_THREADS` that is set may lower it.
    """
    share = max(1, cores() // jobs)
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(given)) if given.isdecimal() and int(given) else share


def environment(slot: int, jobs: int, devices: Sequence[str]) -> dict[str, str]:
    """Of the process in one of `jobs` places; each has a GPU of its own where there are several."""
    own = dict(os.environ) | {"OMP_NUM_THREADS": str(threads_of_each(jobs))}
    if len(devices) > 1:
        own["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return own


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    say: Callable[[str], None],
    *,
    devices: Sequence[str] = (),
    tell_every: float = 60,
) -> dict[str, str]:
    """Run tasks, `jobs` at a time. One that fails is reported, and the others go on.

    SIGINT and SIGTERM are passed on to the processes, which may save, and waited for; a second one
    kills them.

    Args:
        tasks: in the order in which they start.
        jobs: processes side by side.
        say: takes one line for people.
        devices: GPUs to share out.
        tell_every: seconds between two lines on how far things are.

    Returns:
        Why tasks failed, by id.

    Raises:
        SystemExit: 130 or 143 after SIGINT or SIGTERM, when all processes have ended.
        UserError: a log cannot be written.
    """
    return _Pool(tasks, jobs, say, devices, tell_every).run()


class _Pool:
    def __init__(
        self,
        tasks: Sequence[Task],
        jobs: int,
        say: Callable[[str], None],
        devices: Sequence[str],
        tell_every: float,
    ):
        self.total, self.waiting, self.jobs, self.say = len(tasks), list(tasks), jobs, say
        self.devices, self.tell_every = devices, tell_every
        self.running: list[_Running] = []
        self.failures: dict[str, str] = {}
        self.finished = 0
        self.seconds: list[float] = []  # that tasks took which ended well
        self.signal, self.times_asked = 0, 0
        self.told = time.monotonic()

    def run(self) -> dict[str, str]:
        with self._signals():
            try:
                while self.running or (self.waiting and not self.signal):
                    self._start_what_fits()
                    time.sleep(_LOOKS_EVERY)
                    self._ask_to_stop()
                    self._look()
                    self._tell()
            except BaseException:
                for running in self.running:  # of an error of ours: let them save
                    running.process.terminate()
                raise
        if self.signal:
            self.say("stopped; the same command goes on")
            raise SystemExit(128 + self.signal)
        return self.failures

    def _start_what_fits(self) -> None:
        while self.waiting and len(self.running) < self.jobs and not self.signal:
            task = self.waiting.pop(0)
            lock = _lock(task.log.with_suffix(".lock"))
            if lock == _TAKEN:
                self.finished += 1
                self.failures[task.id] = "another process is at work on it"
                self.say(f"{task.id}: left alone, as another process is at work on it")
                continue
            slot = min(set(range(self.jobs)) - {running.slot for running in self.running})
            self.running.append(self._start(task, slot, lock))
            place = self.total - len(self.waiting)
            self.say(f"{task.id}: started, {place} of {self.total}")

    def _start(self, task: Task, slot: int, lock: int | None, done: int = 0) -> _Running:
        command = task.commands[done]
        try:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            stream = task.log.open("ab")
            stream.write(f"\n{datetime.now():%Y-%m-%d %H:%M:%S} {shlex.join(command)}\n".encode())
            stream.flush()
        except OSError as error:
            raise UserError(f"{task.log} cannot be written: {error.strerror}") from error
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(slot, self.jobs, self.devices),
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )
        return _Running(task, slot, lock, process, stream, stream.tell(), done)

    def _look(self) -> None:
        for running in list(self.running):
            code = running.process.poll()
            if code is None:
                continue
            self.running.remove(running)
            running.stream.close()
            done = running.done + (code == 0)
            if code == 0 and done < len(running.task.commands) and not self.signal:
                later = self._start(running.task, running.slot, running.lock, done)
                later.started = running.started
                self.running.append(later)
                continue
            if running.lock is not None:
                os.close(running.lock)
            if done == len(running.task.commands):
                self._ended(running.task, None, time.monotonic() - running.started)
            elif self.signal:
                self.say(f"{running.task.id}: stopped")
            else:
                self._ended(running.task, _reason(running, code))

    def _ended(self, task: Task, reason: str | None, seconds: float = 0) -> None:
        """Tell of a task that is over, and leave its reason if it failed."""
        self.finished += 1
        if reason is None:
            self.seconds.append(seconds)
            task.failure.unlink(missing_ok=True)
            self.say(f"{task.id}: done after {duration(seconds)}")
            return
        self.failures[task.id] = reason
        task.failure.parent.mkdir(parents=True, exist_ok=True)
        task.failure.write_text(reason + "\n", encoding="utf-8")
        self.say(f"{task.id}: FAILED: {reason}; see {task.log}")

    def _tell(self) -> None:
        if time.monotonic() - self.told < self.tell_every:
            return
        self.told = time.monotonic()
        now = "; ".join(f"{one.task.id} {one.task.progress()}".strip() for one in self.running)
        self.say(f"{self.finished} of {self.total} done{self._left()}; {now}")

    def _left(self) -> str:
        """About how long the rest takes, if it goes on as before."""
        if not self.seconds:
            return ""
        now = time.monotonic()
        each = sum(self.seconds) / len(self.seconds)
        begun = sum(max(0, each - (now - one.started)) for one in self.running)
        return f", about {duration((begun + each * len(self.waiting)) / self.jobs)} left"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Pass signals on while entered; only the main thread gets any."""
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for asking in (signal.SIGTERM, signal.SIGINT):
                before[asking] = signal.signal(asking, self._stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.times_asked += 1

    def _ask_to_stop(self) -> None:
        """Pass on a signal that came, also to what was started in the same moment."""
        if self.times_asked and any(not running.asked for running in self.running):
            self.say(f"stopping {len(self.running)} processes, which save first; again: kill them")
        for running in self.running:
            if running.asked < self.times_asked:
                again = running.asked > 0
                running.process.send_signal(signal.SIGKILL if again else signal.SIGTERM)
                running.asked = self.times_asked


_TAKEN = -1


def _lock(file: Path) -> int | None:
    """A descriptor that holds the file's lock, `_TAKEN`, or None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return _TAKEN
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _reason(running: _Running, code: int) -> str:
    """Why a process failed: its message if it has one, else the last line of its log."""
    with running.task.log.open("rb") as stream:
        stream.seek(running.log_start)
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("error:").strip() for line in said if line.startswith("error:")]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    text = (errors or said or [""])[-1][:_LONGEST_REASON]
    return f"{how}: {text}" if text else how
