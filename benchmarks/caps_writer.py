"""Computes in a node without pauses: ``caps_writer.py MODEL FILE``, or ``work FILE``.

It appends the time of each token to the file (8 bytes, seconds of CLOCK_MONOTONIC). A token of ``work`` is a hash that
takes a small fraction of a millisecond of a core, so it shows the effect of the cap without that of a model.
"""

import hashlib
import os
import struct
import sys
import time
from collections.abc import Iterator


def work() -> Iterator[object]:
    """Hashes, infinitely many."""
    piece = bytes(2**15)
    while True:
        yield hashlib.sha256(piece)


def tokens(model: str) -> Iterator[object]:
    """Tokens of answers, infinitely many."""
    from llama_cpp import Llama

    llama = Llama(model, n_ctx=512, n_threads=1, n_threads_batch=1, use_mmap=False, verbose=False)
    while True:
        llama.reset()  # type: ignore[no-untyped-call]
        for number, token in enumerate(llama.generate([llama.token_bos()], temp=0.7)):
            yield token
            if number == 200:  # tokens of longer answers take longer
                break


def main(what: str, path: str) -> None:
    """Append times to ``path`` until the process is killed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in work() if what == "work" else tokens(what):
        os.write(file, struct.pack("d", time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
