"""A terminal that closes."""

import os
import pty
import signal
import subprocess
import sys

PROGRAM = """
import signal, socket, sys
from testbed.cli import app, main
@app.command()
def wait():
    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno())
    try:
        print("waiting", flush=True)
        told.recv(1)  # a signal that comes before it waits is not lost, as it is for pause(2)
    except KeyboardInterrupt:
        print("ended", flush=True)
        sys.exit(130)
sys.argv = ["testbed", "wait"]
main()
"""


def test_it_ends_a_command_like_ctrl_c_and_printing_goes_on_without_it() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    heard = b""
    while b"waiting" not in heard:
        heard += os.read(ours, 1000)
    os.close(ours)  # what is printed from here on fails
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 130
