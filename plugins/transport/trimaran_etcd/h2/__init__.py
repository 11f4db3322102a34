"""HTTP/2 server framing, sans-IO: bytes in, bytes out, no socket, clock, trio, logging or random import.

    frames.py      numbers and builders of single frames
    headers.py     HPACK blocks to checked request headers, with the lookup by bytes
    budget.py      how much of a thing a peer may ask for before it is a flood
    stream.py      one stream: its states, and the sending half of flow control
    connection.py  one connection: frame by frame, settings, windows, GOAWAY

It knows nothing of gRPC; what a request means is decided by the `Stream` subclass it is given.
"""
