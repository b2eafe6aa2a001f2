"""Temporary: replaced by the cache branch's."""

import functools
import hashlib
import inspect
from pathlib import Path


def code_files(obj):
    file = Path(inspect.getsourcefile(obj)).resolve()
    if (file.parent / "expert.py").is_file():
        return sorted(file.parent.rglob("*.py"))
    return [file]


@functools.lru_cache(None)
def _one(path, size, mtime):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def content_digest(path):
    path = Path(path)
    if path.is_dir():
        d = hashlib.sha256()
        for f in sorted(p for p in path.rglob("*") if p.is_file()):
            d.update(f"{f.relative_to(path)} {content_digest(f)}".encode())
        return d.hexdigest()
    s = path.stat()
    return _one(str(path), s.st_size, s.st_mtime_ns)


def code_digest(objs):
    d = hashlib.sha256()
    for f in sorted({f for o in objs for f in code_files(o)}):
        d.update(f.name.encode() + content_digest(f).encode())
    return d.hexdigest()[:16]
