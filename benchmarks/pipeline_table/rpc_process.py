"""Runs inside a node with a llama-cpp-python that has llama.cpp's RPC backend, and without the rest of the project.

    python3 process.py serve PORT
    python3 process.py decode MODEL LAYERS ADDRESS:PORT,… SAMPLES,… TOKENS

``serve`` offers this node's CPU. ``decode`` puts the last LAYERS layers (the output matrix counts as one) on the
servers in equal shares and the others into its own memory, and prints a line of JSON after each step.
"""

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

_LIBRARIES = Path(llama_cpp.__file__).parent / "lib"
_CPU = 0  # GGML_BACKEND_DEVICE_TYPE_CPU
_CONTEXT = 256  # tokens of a sample


class Ggml:
    """The functions of ggml that llama-cpp-python does not export."""

    def __init__(self) -> None:
        base, common, rpc = (
            ctypes.CDLL(str(_LIBRARIES / f"libggml{part}.so"), mode=ctypes.RTLD_GLOBAL)
            for part in ("-base", "", "-rpc")
        )
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.device_of_type = _function(common.ggml_backend_dev_by_type, pointer, ctypes.c_int)
        self.register = _function(common.ggml_backend_register, None, pointer)
        self.device = _function(base.ggml_backend_reg_dev_get, pointer, pointer, size)
        self.add_server = _function(rpc.ggml_backend_rpc_add_server, pointer, ctypes.c_char_p)
        self.start_server = _function(
            rpc.ggml_backend_rpc_start_server, None, ctypes.c_char_p, ctypes.c_char_p, size, size, pointer
        )


def _function(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, list(arguments)
    return function


def serve(port: str) -> None:
    """Offer the CPU, with one thread and without a cache of weights, until killed."""
    api.llama_backend_init()
    ggml = Ggml()
    devices = (ctypes.c_void_p * 1)(ggml.device_of_type(_CPU))
    ggml.start_server(f"0.0.0.0:{port}".encode(), None, 1, 1, devices)


def decode(path: str, layers: str, servers: str, samples: str, tokens: str) -> None:
    """Load the model once, then write greedily with each number of samples."""
    api.llama_backend_init()
    begin = time.monotonic()
    model = _load(path, int(layers), servers.split(","))
    for number, count in enumerate(map(int, samples.split(","))):
        context = _context(model, count)
        if number == 0:
            _tell(ready=time.monotonic() - begin)
        _write(model, context, count, int(tokens))
        api.llama_free(context)


def _load(path: str, layers: int, servers: list[str]) -> Any:
    ggml = Ggml()
    found = []
    for server in servers:
        registry = ggml.add_server(server.encode())
        ggml.register(registry)
        found.append(ggml.device(registry, 0))
    devices = (ctypes.c_void_p * (len(found) + 1))(*found, None)
    shares = (ctypes.c_float * api.llama_max_devices())(*[1.0] * len(found))
    params = api.llama_model_default_params()
    params.n_gpu_layers = layers
    params.devices = ctypes.addressof(devices)  # otherwise all layers stay in this process
    params.tensor_split = shares
    model = api.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise SystemExit("llama.cpp cannot load the model")
    return model


def _context(model: Any, samples: int) -> Any:
    params = api.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.n_batch = _CONTEXT * samples, samples, 256
    params.n_threads = params.n_threads_batch = 1
    params.kv_unified = True
    context = api.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("llama.cpp cannot make the context")
    return context


def _write(model: Any, context: Any, samples: int, count: int) -> None:
    """Write ``tokens`` tokens of each sample, after a warm-up that is not counted."""
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    batch = api.llama_batch_init(samples, 0, 1)
    batch.n_tokens = samples
    tokens = [5 + sample for sample in range(samples)]
    warm = max(2, count // 8)
    for position in range(warm + count):
        if position == warm:
            _tell(begin=samples)
            begin = time.monotonic()
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row], batch.logits[row] = token, position, 1
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, row
        if status := api.llama_decode(context, batch):
            raise SystemExit(f"llama.cpp could not compute a batch (status {status})")
        logits = [
            np.ctypeslib.as_array(api.llama_get_logits_ith(context, row), (vocabulary,)) for row in range(samples)
        ]
        tokens = [int(line.argmax()) for line in logits]
    _tell(samples=samples, tokens=samples * count, seconds=time.monotonic() - begin)
    api.llama_batch_free(batch)


def _tell(**said: float) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            serve(port)
        case ["decode", model, layers, servers, samples, tokens]:
            decode(model, layers, servers, samples, tokens)
        case _:
            sys.exit(__doc__)
