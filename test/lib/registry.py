#!/usr/bin/env python3
"""A registry that misbehaves on request, and a proxy, for tests of the client.

usage: registry.py LAYOUT LOG [--tls CERT KEY] [--login NAME:PASSWORD]

Serves the images of an OCI layout (their tags are their ref.name annotations) below any repository; what is pushed is
kept in memory. Prints "PORT CDN-PORT" when it listens on 127.0.0.1; the second is another host's as far as clients can
tell. LOG gets a JSON object a line for each request. The first word of the repository says how it misbehaves:

  good          not at all
  wrong         blobs have a flipped bit
  wrongtag      the manifest is not what Docker-Content-Digest says
  short         blobs end in the middle, each time, after all of Content-Length was promised
  cut           blobs end in the middle once, each from where it is asked for; ranges work
  cutplain      the same, but ranges are not honoured
  badrange      the same, but the range begins elsewhere than asked for
  longer        blobs have more bytes than the manifest says
  lost          blobs are 404
  slow          blobs come ten bytes a second
  silent        blobs: nothing comes after the head
  busy          every second request is 429, with Retry-After
  broken        everything is 503
  loop          blobs redirect in a circle
  huge          the manifest never ends
  html          everything is a friendly page
  garbage       manifests are no JSON
  cdn           blobs redirect to the other host
  cdn401        the other host wants a login
  token         tokens from the other host
  expired       tokens that are good for one request
  never         tokens that are never good
  noservice     a challenge without realm
  badchallenge  a challenge that is malformed
  evilrealm     tokens from an http address of a host that nobody has named
  basic         Basic, NAME:PASSWORD
  pushcut       the first upload of a blob is cut in the middle
  push500       uploads fail
  pushelse      uploads go to the other host
  noreferrers   has no referrers API
"""

import argparse
import base64
import hashlib
import http.server
import itertools
import json
import os
import re
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument('layout')
parser.add_argument('log')
parser.add_argument('--tls', nargs=2)
parser.add_argument('--login', default='ann:secret')
options = parser.parse_args()

lock = threading.Lock()
tags, blobs, manifests, uploads, tokens, seen = {}, {}, {}, {}, {}, {}
ports, numbers = [], itertools.count()

with open(os.path.join(options.layout, 'index.json'), encoding='utf-8') as f:
    for entry in json.load(f)['manifests']:
        tags[entry.get('annotations', {}).get('org.opencontainers.image.ref.name', 'latest')] = entry


def read_blob(digest):
    if digest in blobs:
        return blobs[digest]
    path = os.path.join(options.layout, 'blobs', *digest.split(':'))
    if not re.fullmatch(r'sha(256|512):[0-9a-f]+', digest) or not os.path.exists(path):
        return None
    with open(path, 'rb') as file:
        return file.read()


def once(key):
    """True the first time."""
    with lock:
        first = key not in seen
        seen[key] = True
        return first


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def note(self):
        with lock, open(options.log, 'a', encoding='utf-8') as file:
            json.dump({'host': 'cdn' if self.server.cdn else 'registry', 'method': self.command, 'path': self.path,
                       'authorization': self.headers.get('Authorization'), 'range': self.headers.get('Range')}, file)
            file.write('\n')

    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), str(value))
        if 'Content_Length' not in headers:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def error(self, status, code, message, **headers):
        body = json.dumps({'errors': [{'code': code, 'message': message}]}).encode()
        self.answer(status, body, Content_Type='application/json', **headers)

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def url(self, port, path):
        return f"{'https' if options.tls else 'http'}://127.0.0.1:{port}{path}"

    def do_CONNECT(self):
        """A proxy, too: the tunnel to what is asked for."""
        self.note()
        host, port = self.path.rsplit(':', 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            pairs = {self.connection: there, there: self.connection}
            while True:
                for ready in select.select(list(pairs), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    pairs[ready].sendall(data)

    # --- authorization ---

    def allowed(self, mode, repository):
        given = self.headers.get('Authorization', '')
        realm = self.url(ports[1], '/token')
        if mode == 'basic':
            if given == 'Basic ' + base64.b64encode(options.login.encode()).decode():
                return True
            challenge = 'Basic realm="test"'
        elif mode in ('token', 'expired'):
            with lock:
                left = tokens.get(given, 0)
                if left:
                    tokens[given] = left - 1 if mode == 'expired' else left
                    return True
            challenge = f'Bearer realm="{realm}",service="test",scope="repository:{repository}:pull"'
        elif mode == 'never':
            challenge = f'Bearer realm="{realm}",service="test"'
        elif mode == 'noservice':
            challenge = 'Digest qop="auth", nonce="x"'
        elif mode == 'badchallenge':
            challenge = 'Bearer realm="open'
        elif mode == 'evilrealm':
            challenge = 'Bearer realm="http://192.0.2.1/token"'
        else:
            return True
        self.error(401, 'UNAUTHORIZED', 'authentication required', WWW_Authenticate=challenge)
        return False

    def give_token(self):
        given = self.headers.get('Authorization')
        if given and given != 'Basic ' + base64.b64encode(options.login.encode()).decode():
            return self.error(401, 'UNAUTHORIZED', 'incorrect username or password')
        with lock:
            token = f'token{len(tokens)}'
            tokens['Bearer ' + token] = 1
        answer = {'token': token}
        if 'offline_token=true' in self.path:
            answer['refresh_token'] = 'refresh'
        return self.answer(200, json.dumps(answer).encode(), Content_Type='application/json')

    # --- reading ---

    def do_GET(self):
        self.note()
        path = urllib.parse.urlsplit(self.path).path
        if self.upload():
            number = self.upload()[1]
            return self.answer(204, Location=self.path, Range=f'0-{max(len(uploads[number]) - 1, 0)}')
        if path == '/token':
            return self.give_token()
        if path == '/v2/':
            return self.allowed(os.environ.get('PING', 'good'), '') and self.answer(200, b'{}')
        if path == '/v2/_catalog':
            return self.pages('repositories', ['good/app', 'good/other', 'team/thing'])
        match = re.fullmatch(r'/v2/(([a-z0-9]+)/.*?)/(manifests|blobs|tags|referrers)/(.*)', path)
        if not match:
            return self.error(404, 'NAME_UNKNOWN', 'repository name not known to registry')
        repository, mode, kind, name = match.groups()
        if mode == 'html':
            return self.answer(200, b'<html>Welcome to the hotel</html>', Content_Type='text/html')
        if mode == 'broken' or (mode == 'busy' and once(('busy', self.path))):
            return self.error(503 if mode == 'broken' else 429, 'TOOMANYREQUESTS', 'slow down', Retry_After=1)
        if not self.server.cdn and not self.allowed(mode, repository):
            return None
        return getattr(self, 'get_' + kind)(mode, repository, name)

    do_HEAD = do_GET

    def pages(self, field, names):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        last = query.get('last', [''])[0]
        rest = [n for n in sorted(names) if n > last]
        more = {'Link': f'<{self.path.split("?")[0]}?n=1&last={rest[0]}>; rel="next"'} if len(rest) > 1 else {}
        return self.answer(200, json.dumps({'name': 'x', field: rest[:1]}).encode(), Content_Type='application/json', **more)

    def get_tags(self, mode, repository, name):
        return self.pages('tags', list(tags))

    def get_referrers(self, mode, repository, digest):
        if mode == 'noreferrers':
            return self.error(404, 'NOT_FOUND', 'no such page')
        found = []
        for key, (body, media_type) in manifests.items():
            parsed = json.loads(body)
            if key.startswith('sha') and parsed.get('subject', {}).get('digest') == digest:
                found.append({'mediaType': media_type, 'digest': key, 'size': len(body),
                              'artifactType': parsed.get('artifactType', parsed['config']['mediaType'])})
        index = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json', 'manifests': found}
        return self.answer(200, json.dumps(index).encode(), Content_Type=index['mediaType'])

    def get_manifests(self, mode, repository, name):
        body, media_type = manifests.get(repository + ':' + name) or manifests.get(name) or (None, None)
        if body is None:
            entry = tags.get(name)
            body = read_blob(entry['digest'] if entry else name)
            if body is not None:
                media_type = json.loads(body).get('mediaType') or entry['mediaType']
        if body is None:
            return self.error(404, 'MANIFEST_UNKNOWN', 'manifest unknown')
        digest = 'sha256:' + hashlib.sha256(body).hexdigest()
        if mode == 'huge':
            self.send_response(200)
            self.send_header('Content-Type', media_type)
            self.end_headers()
            self.close_connection = True
            try:
                while True:
                    self.wfile.write(b' ' * 65536)
            except OSError:
                return None
        if mode == 'garbage':
            body, digest = b'{"schemaVersion": 2, ', None
        if mode == 'wrongtag':
            body += b'\n'
        headers = {'Docker_Content_Digest': digest} if digest else {}
        return self.answer(200, body, Content_Type=media_type, **headers)

    def get_blobs(self, mode, repository, digest):
        body = read_blob(digest)
        if body is None or mode == 'lost':
            return self.error(404, 'BLOB_UNKNOWN', 'blob unknown to registry')
        if mode == 'loop':
            return self.answer(307, Location=self.path)
        if mode in ('cdn', 'cdn401') and not self.server.cdn:
            return self.answer(307, Location=self.url(ports[1], self.path))
        if mode == 'cdn401':
            return self.error(401, 'UNAUTHORIZED', 'who are you', WWW_Authenticate='Basic realm="cdn"')
        small = len(body) < 4096  # configurations come through, so that layers are reached
        if mode == 'wrong' and not small:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if mode == 'longer' and not small:
            body += b'more'
        start, status, headers = 0, 200, {'Content_Type': 'application/octet-stream', 'Docker_Content_Digest': digest}
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        if wanted and mode != 'cutplain':
            start = int(wanted.group(1)) + (5 if mode == 'badrange' else 0)
            status = 206
            headers['Content_Range'] = f'bytes {start}-{len(body) - 1}/{len(body)}'
        return self.send_blob(mode, digest, body[start:], status, headers, small)

    def send_blob(self, mode, digest, body, status, headers, small):
        if self.command == 'HEAD' or small or mode not in ('short', 'cut', 'cutplain', 'badrange', 'slow', 'silent'):
            return self.answer(status, body, **headers)
        if mode == 'short' or (mode.startswith(('cut', 'badrange')) and once((mode, digest))):
            self.answer(status, body[:len(body) // 2], Content_Length=len(body), **headers)
            return self.hang_up()
        if mode in ('slow', 'silent'):
            self.answer(status, b'', Content_Length=len(body), **headers)
            try:
                while True:
                    time.sleep(1)
                    if mode == 'slow':
                        self.wfile.write(body[:10])
                        body = body[10:]
            except OSError:
                return None
        return self.answer(status, body, **headers)

    # --- writing ---

    def body(self):
        if self.headers.get('Transfer-Encoding', '').lower() == 'chunked':
            data = b''
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def do_POST(self):
        self.note()
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        if parts.path == '/token':
            form = urllib.parse.parse_qs(self.body().decode())
            if form.get('refresh_token') != ['refresh']:
                return self.error(401, 'UNAUTHORIZED', 'no such refresh token')
            with lock:
                token = f'token{len(tokens)}'
                tokens['Bearer ' + token] = 1
            return self.answer(200, json.dumps({'access_token': token}).encode(), Content_Type='application/json')
        self.body()
        match = re.fullmatch(r'/v2/(([a-z0-9]+)/.*)/blobs/uploads/', parts.path)
        if not match:
            return self.error(404, 'NAME_UNKNOWN', 'repository name not known to registry')
        repository, mode = match.groups()
        if not self.allowed(mode, repository):
            return None
        if mode == 'push500':
            return self.error(500, 'UNKNOWN', 'disk on fire')
        if 'mount' in query and read_blob(query['mount'][0]) and query.get('from', [''])[0].startswith('good/'):
            return self.answer(201, Location=f'/v2/{repository}/blobs/{query["mount"][0]}')
        with lock:
            number = str(next(numbers))
            uploads[number] = b''
        path = f'/upload/{mode}/{number}'
        return self.answer(202, Location=self.url(ports[1], path) if mode == 'pushelse' else path, Range='0-0')

    def upload(self):
        parts = urllib.parse.urlsplit(self.path)
        match = re.fullmatch(r'/upload/([a-z0-9]+)/(\d+)', parts.path)
        return match and (match.group(1), match.group(2), urllib.parse.parse_qs(parts.query))

    def do_PATCH(self):
        self.note()
        mode, number, _ = self.upload()
        if mode == 'pushcut' and once('pushcut'):
            length = int(self.headers['Content-Length']) // 2
            uploads[number] += self.rfile.read(length)
            return self.hang_up()
        uploads[number] += self.body()
        return self.answer(202, Location=self.path, Range=f'0-{len(uploads[number]) - 1}')

    def do_PUT(self):
        self.note()
        data = self.body()
        found = self.upload()
        if found:
            mode, number, query = found
            blob = uploads.pop(number) + data
            digest = query['digest'][0]
            if digest != 'sha256:' + hashlib.sha256(blob).hexdigest():
                return self.error(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content')
            blobs[digest] = blob
            return self.answer(201, Location='/v2/x/blobs/' + digest, Docker_Content_Digest=digest)
        match = re.fullmatch(r'/v2/(([a-z0-9]+)/.*)/manifests/(.*)', self.path)
        repository, mode, name = match.groups()
        if not self.allowed(mode, repository):
            return None
        digest = 'sha256:' + hashlib.sha256(data).hexdigest()
        manifests[repository + ':' + name] = manifests[digest] = (data, self.headers['Content-Type'])
        subject = json.loads(data).get('subject') if mode != 'noreferrers' else None
        headers = {'OCI_Subject': subject['digest']} if subject else {}
        return self.answer(201, Location=self.path, Docker_Content_Digest=digest, **headers)


for cdn in (False, True):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    server.cdn = cdn
    server.handle_error = lambda *_: None  # clients that go away are what is tested
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    ports.append(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(*ports, flush=True)
sys.stdin.read()  # until whoever started it is gone
