#!/usr/bin/env python3
"""Writes an OCI layout with one image, compressed by gzip and by zstd (tags gzip, zstd): 361 MB in 20k files of 3 layers,
128 MB of it as gzip. usage: images.py DIR"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tarfile

directory = sys.argv[1]
FILES, BYTES, LAYERS, CHANCE = 20000, 361_000_000, 3, 0.31
chance = random.Random(7)
text = b'the quick brown fox jumps over the lazy dog and into /usr/share/doc; '
os.makedirs(os.path.join(directory, 'blobs/sha256'), exist_ok=True)
OCI = 'application/vnd.oci.image.'


def put(path_or_data, media_type):
    if isinstance(path_or_data, bytes):
        digest, size = hashlib.sha256(path_or_data).hexdigest(), len(path_or_data)
        with open(os.path.join(directory, 'blobs/sha256', digest), 'wb') as f:
            f.write(path_or_data)
    else:
        with open(path_or_data, 'rb') as f:
            digest = hashlib.file_digest(f, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else \
                hashlib.sha256(f.read()).hexdigest()
        size = os.path.getsize(path_or_data)
        os.rename(path_or_data, os.path.join(directory, 'blobs/sha256', digest))
    return {'mediaType': media_type, 'digest': 'sha256:' + digest, 'size': size}


class Content:
    """A file whose first part is random and whose rest is text."""

    def __init__(self, size):
        cut = int(size * CHANCE)
        self.data = chance.randbytes(cut) + (text * ((size - cut) // len(text) + 1))[:size - cut]
        self.at = 0

    def read(self, n):
        piece = self.data[self.at:self.at + n]
        self.at += n
        return piece


layers = {'gzip': [], 'zstd': []}
diff_ids = []
for number in range(LAYERS):
    path = os.path.join(directory, 'layer.tar')
    with tarfile.open(path, 'w') as tar:
        for i in range(FILES // LAYERS):
            if i % 50 == 0:
                folder = tarfile.TarInfo(f'usr/l{number}/d{i // 50}')
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
            info = tarfile.TarInfo(f'usr/l{number}/d{i // 50}/file{i}')
            info.size = int(BYTES / FILES * chance.choice((0.1, 0.4, 1, 1.3, 2.2)))
            tar.addfile(info, Content(info.size))
    with open(path, 'rb') as f:
        diff_ids.append('sha256:' + hashlib.sha256(f.read()).hexdigest())
    for kind, tool in {'gzip': ['gzip', '-6n', '-c'], 'zstd': ['zstd', '-q', '-3', '-c']}.items():
        with open(path + '.c', 'wb') as out:
            subprocess.run([*tool, path], stdout=out, check=True)
        layers[kind].append(put(path + '.c', OCI + 'layer.v1.tar+' + kind))
    os.remove(path)
config = put(json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {},
                         'rootfs': {'type': 'layers', 'diff_ids': diff_ids}}).encode(), OCI + 'config.v1+json')
tagged = []
for kind, found in layers.items():
    manifest = put(json.dumps({'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'config': config,
                               'layers': found}).encode(), OCI + 'manifest.v1+json')
    tagged.append({**manifest, 'annotations': {'org.opencontainers.image.ref.name': kind}})
    print(f"{kind}: {sum(l['size'] for l in found) / 1e6:.0f} MB in {LAYERS} layers", flush=True)
with open(os.path.join(directory, 'index.json'), 'w', encoding='utf-8') as f:
    json.dump({'schemaVersion': 2, 'manifests': tagged}, f)
with open(os.path.join(directory, 'oci-layout'), 'w', encoding='utf-8') as f:
    f.write('{"imageLayoutVersion": "1.0.0"}')
