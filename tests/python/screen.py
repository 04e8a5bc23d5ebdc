"""A terminal as far as LMNet uses one: what stands on it after what was written, and what ever stood in its last rows."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios


class Screen:
    def __init__(self, columns):
        self.columns, self.rows, self.row, self.column = columns, [""], 0, 0
        self.seen = []  # every state of the row that the cursor was in

    def put(self, text):
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif piece == "\x1b[A":
                self.row -= 1
                assert self.row >= 0, "above the screen"
            elif piece == "\x1b[K":
                self.rows[self.row] = self.rows[self.row][: self.column]
            elif piece == "\x1b[J":
                self.rows = self.rows[: self.row] + [self.rows[self.row][: self.column]]
            elif piece.startswith("\x1b["):
                assert piece.endswith("m"), piece  # colours
                self.colors = True
            else:
                line = self.rows[self.row]
                self.rows[self.row] = line[: self.column].ljust(self.column) + piece + line[self.column + len(piece) :]
                self.column += len(piece)
                self.seen.append(self.rows[self.row])

    colors = False


def run(command, columns, environment, interrupt=None, cwd=None):
    """Runs a command on a terminal of so many columns; `interrupt`: text after which a Ctrl-C is typed, once. Returns its
    code and the screen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment}
    environment = {key: value for key, value in environment.items() if value is not None}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal, env=environment, cwd=cwd)
    os.close(slave)
    screen, raw = Screen(columns), b""
    signal.alarm(240)
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        raw += piece
        if interrupt and interrupt in raw.decode(errors="replace"):
            os.write(master, b"\x03")
            interrupt = None
    signal.alarm(0)
    os.close(master)
    screen.put(raw.decode())
    return process.wait(), screen
