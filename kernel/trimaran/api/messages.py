"""Message classes and enums of the API, one flat namespace: `messages.RangeRequest`, `messages.KeyValue`, ...

Made at import from the private pool; messages.pyi, generated beside it, is what type checkers and readers see.
Invariant: no two packages of the API share a short name.
"""

from __future__ import annotations

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

from trimaran.api.descriptors import FILES


def _namespace() -> dict[str, object]:
    made: dict[str, object] = {}
    for file in FILES:
        for name, message in file.message_types_by_name.items():
            assert name not in made, f"{message.full_name} has the short name of another message"
            made[name] = GetMessageClass(message)
        for name, enum in file.enum_types_by_name.items():
            assert name not in made, f"{enum.full_name} has the short name of another message"
            made[name] = EnumTypeWrapper(enum)
    return made


_MADE = _namespace()
globals().update(_MADE)
__all__ = sorted(_MADE)
