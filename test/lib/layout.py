#!/usr/bin/env python3
"""Writes an OCI layout with images for tests of registries.

usage: layout.py DIR [FILES [KILOBYTES]]

Tags: latest (two gzip layers with FILES files of KILOBYTES incompressible bytes each; default 40 of 8), zstd (the same
layers, compressed by zstd), plain (not compressed), multi (an index: linux/amd64 is latest's manifest, linux/arm64
another), arm (that one alone), artifact (no image), foreign (a layer that is not to be distributed).
"""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile

directory = sys.argv[1]
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
size = (int(sys.argv[3]) if len(sys.argv) > 3 else 8) * 1024
OCI = 'application/vnd.oci.image.'
chance = random.Random(1)
os.makedirs(os.path.join(directory, 'blobs/sha256'), exist_ok=True)
tagged = []


def put(data, media_type, **more):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(directory, 'blobs/sha256', digest), 'wb') as f:
        f.write(data)
    return {'mediaType': media_type, 'digest': 'sha256:' + digest, 'size': len(data), **more}


def put_json(value, media_type, **more):
    return put(json.dumps(value).encode(), media_type, **more)


def tag(name, descriptor):
    tagged.append({**descriptor, 'annotations': {'org.opencontainers.image.ref.name': name}})


def layer(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        for i in range(count):
            info = tarfile.TarInfo(f'{folder}/file{i}')
            info.size, info.mtime = size, 1700000000
            tar.addfile(info, io.BytesIO(chance.randbytes(size)))
    return out.getvalue()


def image(layers, compress, kind, architecture='amd64'):
    diff_ids = ['sha256:' + hashlib.sha256(l).hexdigest() for l in layers]
    config = put_json({'architecture': architecture, 'os': 'linux', 'config': {'Cmd': ['/bin/true']},
                       'rootfs': {'type': 'layers', 'diff_ids': diff_ids}}, OCI + 'config.v1+json')
    return put_json({'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'config': config,
                     'layers': [put(compress(l), OCI + kind) for l in layers]}, OCI + 'manifest.v1+json')


def zstd(data):
    return subprocess.run(['zstd', '-q', '-3', '-c'], input=data, stdout=subprocess.PIPE, check=True).stdout


two = [layer('one'), layer('two')]
latest = image(two, lambda l: gzip.compress(l, 1, mtime=0), 'layer.v1.tar+gzip')
arm = image([layer('arm')], lambda l: gzip.compress(l, 1, mtime=0), 'layer.v1.tar+gzip', 'arm64')
tag('latest', latest)
tag('zstd', image(two, zstd, 'layer.v1.tar+zstd'))
tag('plain', image(two, lambda l: l, 'layer.v1.tar'))
tag('arm', arm)
tag('foreign', image(two, lambda l: gzip.compress(l, 1, mtime=0), 'layer.nondistributable.v1.tar+gzip'))
index = {'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json', 'manifests': [
    {**latest, 'platform': {'os': 'linux', 'architecture': 'amd64'}},
    {**arm, 'platform': {'os': 'linux', 'architecture': 'arm64'}}]}
tag('multi', put_json(index, index['mediaType']))
empty = put(b'{}', 'application/vnd.oci.empty.v1+json')
tag('artifact', put_json({'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json',
                          'artifactType': 'application/vnd.example.report', 'config': empty,
                          'layers': [put(b'a report\n', 'text/plain')]}, OCI + 'manifest.v1+json'))
with open(os.path.join(directory, 'index.json'), 'w', encoding='utf-8') as f:
    json.dump({'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json', 'manifests': tagged}, f)
with open(os.path.join(directory, 'oci-layout'), 'w', encoding='utf-8') as f:
    f.write('{"imageLayoutVersion": "1.0.0"}')
