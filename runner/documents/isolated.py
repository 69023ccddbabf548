"""PDFs are read in a process of their own, which a hostile file may crash, hang or bloat without harm to its caller.

One process reads many files. When a file kills it, or exceeds its time or memory, a verdict says so and the next file gets a fresh one.
Run as ``python -m runner.documents.isolated SECONDS MEGABYTES`` it reads paths as JSON strings from standard input and answers each
with one line of JSON, after an empty line that says that it is ready.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from runner.errors import StepError

#: Seconds that starting the process may take, which on a busy machine is far more than usual.
_START = 60


class PdfReader:
    """Reads PDFs in another process; a context manager.

    ``seconds`` and ``megabytes`` bound the reading of one file: what takes more is ``damaged``. StepError when no process can be started.
    """

    def __init__(self, seconds: float = 120, megabytes: int = 4096) -> None:
        self.seconds, self.megabytes = seconds, megabytes
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PdfReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def read(self, path: Path) -> dict[str, Any]:
        """A :class:`runner.documents.pdf.PdfText` as a dictionary."""
        process = self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(os.fspath(path)).encode() + b"\n")
            process.stdin.flush()
            answer = _answer(process, self.seconds + 0.5)
        except BrokenPipeError:
            answer = b""
        except TimeoutError:
            self._stop()
            return _damaged(f"reading it takes more than {self.seconds:g} s")
        if not answer.endswith(b"\n"):
            status = process.wait()
            self._stop()
            return _damaged(self._death(status))
        found: dict[str, Any] = json.loads(answer)
        return found

    def _death(self, status: int) -> str:
        if status == -signal.SIGXCPU:
            return f"reading it takes more than {self.seconds:g} s"
        if status < 0:
            return f"the PDF library crashed on it ({signal.Signals(-status).name})"
        return f"the PDF library ended with status {status}"

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runner.documents.isolated", str(self.seconds), str(self.megabytes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
            try:
                ready = _answer(self._process, _START)
            except TimeoutError:
                ready = b""
            if not ready:
                self._stop()
                raise StepError("the process that reads PDFs does not start", remedy="run `python -c 'import pypdfium2'` to see why")
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _answer(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line that a process writes, or what there is of it when the process ends. TimeoutError."""
    assert process.stdout is not None
    deadline, parts = time.monotonic() + seconds, list[bytes]()
    descriptor = process.stdout.fileno()
    ready = select.poll()  # unlike select(), it takes descriptors above 1023
    ready.register(descriptor, select.POLLIN | select.POLLHUP)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not ready.poll(left * 1000):
            raise TimeoutError
        parts.append(os.read(descriptor, 1 << 20))
        if not parts[-1] or parts[-1].endswith(b"\n"):
            return b"".join(parts)


def _damaged(reason: str) -> dict[str, Any]:
    return {"verdict": "damaged", "reason": reason, "pages": 0, "title": "", "blocks": []}


def _serve(seconds: float, megabytes: int) -> None:
    """Answer paths until the other side closes. The limits are the kernel's, so that they hold inside of the PDF library."""
    from runner.documents.pdf import read_pdf

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, resource.RLIM_INFINITY))
        try:
            answer = read_pdf(Path(json.loads(line))).row()
        except MemoryError:
            answer = _damaged(f"reading it takes more than {megabytes} MB")
        except Exception as error:  # whatever a damaged file makes the library raise
            answer = _damaged(f"the PDF library failed on it: {type(error).__name__}: {error}")
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(float(sys.argv[1]), int(sys.argv[2]))
