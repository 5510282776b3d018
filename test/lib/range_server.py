#!/usr/bin/env python3
"""range_server.py DIR: serves the files of DIR over HTTP on a free port of 127.0.0.1, with byte ranges and entity tags, and prints
that port. /noranges/FILE answers without ranges; a file's tag changes with its time."""

import http.server
import os
import re
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def refuse(self, status, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def do_GET(self):
        name = os.path.basename(self.path)
        if self.path.startswith('/moved/'):
            return self.refuse(302, [('Location', '/' + name)])
        try:
            f = open(os.path.join(sys.argv[1], name), 'rb')
        except OSError:
            return self.refuse(404)
        with f:
            st = os.fstat(f.fileno())
            wanted = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
            first, last = (int(wanted[1]), min(int(wanted[2]), st.st_size - 1)) if wanted else (0, st.st_size - 1)
            if self.path.startswith('/noranges/'):
                first, last, wanted = 0, st.st_size - 1, None
            if wanted and first >= st.st_size:
                return self.refuse(416, [('Content-Range', f'bytes */{st.st_size}')])
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header('Content-Range', f'bytes {first}-{last}/{st.st_size}')
            self.send_header('ETag', f'"{st.st_mtime_ns}"')
            self.send_header('Content-Length', str(last - first + 1))
            self.end_headers()
            f.seek(first)
            try:
                self.wfile.write(f.read(last - first + 1))
            except OSError:
                pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
