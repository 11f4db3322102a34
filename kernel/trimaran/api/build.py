"""Makes descriptors.binpb and messages.pyi from the .proto text: `python -m trimaran.api.build`. Needs grpcio-tools.

Run after each change of a .proto file, and commit both results. Not imported by anything at run time.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from trimaran.api.stub import stub_text

_API = Path(__file__).parent
#: Imports inside .proto files are written from here, so that our file names are like nobody else's.
_ROOT = _API.parent.parent


def file_set(root: Path = _ROOT) -> FileDescriptorSet:
    """Compile the .proto files below `root`, comments included. Raises RuntimeError where protoc refuses; it has
    then said why on stderr.
    """
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(root)) for path in (root / "trimaran/api/proto").glob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "set.binpb")
        flags = ["--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
        status = protoc.main(["protoc", f"--proto_path={root}", *flags, *sources])
        if status:
            raise RuntimeError(f"protoc ended with status {status} over {', '.join(sources)}")
        return FileDescriptorSet.FromString(out.read_bytes())


def without_comments(files: FileDescriptorSet) -> bytes:
    bare = FileDescriptorSet()
    bare.CopyFrom(files)
    for file in bare.file:
        file.ClearField("source_code_info")
    return bare.SerializeToString(deterministic=True)


def main(target: Path = _API) -> None:
    files = file_set()
    (target / "descriptors.binpb").write_bytes(without_comments(files))
    (target / "messages.pyi").write_text(stub_text(files), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
