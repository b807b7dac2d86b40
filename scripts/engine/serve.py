"""One llama.cpp server: python3 serve.py LIB PARAMETERS.json [--stop-with PID]

PARAMETERS holds fields of llama.cpp's CommonParams under xllamacpp's names. The server runs on threads of the library;
this thread only waits. With --stop-with the server ends when that process is gone, so that no test leaves one behind.
"""
import json
import os
import signal
import sys
import time

sys.path.insert(0, sys.argv[1])
import xllamacpp  # noqa: E402 (found in LIB)


def assign(target, values):
    for key, value in values.items():
        if isinstance(value, dict):
            assign(getattr(target, key), value)
        elif hasattr(target, key):
            setattr(target, key, value)
        else:
            sys.exit(f"no such parameter: {key}")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGINT, signal.SIG_IGN)
watched = int(sys.argv[sys.argv.index("--stop-with") + 1]) if "--stop-with" in sys.argv else None
parameters = xllamacpp.CommonParams()
with open(sys.argv[2], encoding="utf-8") as file:
    assign(parameters, json.load(file))
server = xllamacpp.Server(parameters)
print("listening", server.listening_address, flush=True)
while watched is None or alive(watched):
    time.sleep(1)
os._exit(0)
