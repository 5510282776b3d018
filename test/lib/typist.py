#!/usr/bin/env python3
"""Types into a program on a terminal of its own, each line only when what was to come before it has come.

usage: typist.py COMMAND [EXPECT TYPE]... [EXPECT]

Each EXPECT is a regular expression that must match what the terminal shows after the match before; then TYPE is sent
(with \\t, \\r, \\x04 … as Python writes them). Prints all that the terminal showed. Status: the program's, or 124 where
an EXPECT did not come within 60 s or the program did not end within 60 s after the last one; it is killed then.
"""
import os
import pty
import re
import select
import signal
import sys
import time

LIMIT_S = 60


def main():
    command, *script = sys.argv[1:]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp('sh', ['sh', '-c', 'exec ' + command])
    seen, at, step = b'', 0, 0
    deadline = time.monotonic() + LIMIT_S
    while True:
        while step < len(script):
            found = re.compile(script[step].encode()).search(seen, at)
            if not found:
                break
            at = found.end()
            if step + 1 < len(script):
                os.write(terminal, script[step + 1].encode().decode('unicode_escape').encode())
            step += 2
            deadline = time.monotonic() + LIMIT_S
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
            print(f'typist: waited for {script[step]!r}' if step < len(script) else 'typist: it does not end', file=sys.stderr)
            break
        try:
            piece = os.read(terminal, 65536)
        except OSError: # EIO: nobody has the terminal open any more
            piece = b''
        if not piece:
            break
        seen += piece
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.stdout.write(seen.decode(errors='replace'))
    sys.exit(124 if status == -signal.SIGKILL or step < len(script) else abs(status))


main()
