"""What the source checks share: the C files of the tree, their text without comments, and the stamp for the build."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(*folders):
    """Every .c and .h below the folders, as (path from the root, text)."""
    for folder in folders:
        for where, names, found in os.walk(os.path.join(ROOT, folder)):
            names.sort()
            for name in sorted(found):
                if name.endswith(('.c', '.h')):
                    path = os.path.join(where, name)
                    with open(path, encoding='utf-8') as f:
                        yield os.path.relpath(path, ROOT), f.read()


def code(text, keep_strings=False):
    """The text with comments (and strings) blanked, so that lines and columns stay."""

    def blank(match):
        token = match.group()
        if keep_strings and token[0] != '/':
            return token
        return re.sub(r'[^\n]', ' ', token)

    return _TOKEN.sub(blank, text)


def finish(complaints, folders, read=()):
    """Prints the complaints and exits 1; with none, writes the stamp and the depfile named on the command line: the
    build runs the check again when a file read here, or a folder's list of files, has changed."""
    for line in complaints:
        print(line, file=sys.stderr)
    if complaints:
        sys.exit(1)
    if len(sys.argv) > 2:
        stamp, depfile = sys.argv[1:3]
        deps = [sys.argv[0], __file__, *(os.path.join(ROOT, r) for r in read)]
        for folder in folders:
            for where, _, found in os.walk(os.path.join(ROOT, folder)):
                deps += [where, *(os.path.join(where, f) for f in found if f.endswith(('.c', '.h')))]
        with open(depfile, 'w', encoding='utf-8') as f:
            f.write(f'{stamp}: {" ".join(deps)}\n')
        with open(stamp, 'w', encoding='utf-8'):
            pass
