"""A stage of a ring: some layers of a model in memory, with a KV cache for each sequence.

A *row* is one token of one sequence. A stage takes rows as hidden states (``float32``, one line each). It returns the
hidden states after its layers, or logits if it is the last stage.

    front, first, last = Front(path), InnerStage(path, limits), LastStage(path, limits)
    tokens = front.tokenize(messages)
    rows = Rows(sequences=[0] * len(tokens), positions=range(len(tokens)))
    hidden = first.forward(rows, front.embed(tokens))
    logits = last.logits(rows, hidden, wanted=[len(tokens) - 1])
    token = int(logits[0].argmax())
    first.free(0), last.free(0)

The values equal those of the unsplit model bit by bit if that computes the same rows as one batch. With quantized
weights the batches need not be equal. With other weights, llama.cpp multiplies one row and several rows by different
kernels.
"""

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as api
from numpy.typing import NDArray

from testbed.node.engine import ggml

Hidden = NDArray[np.float32]
"""Hidden states or logits, one line for each row."""

_ERROR = 4  # ggml's level


class StageError(Exception):
    """A file is not a stage, or rows do not continue what the cache holds."""


@dataclass(frozen=True)
class Limits:
    """The sizes of a stage: ``sequences`` of ``context`` tokens each, and ``batch`` rows that are computed at once.

    llama.cpp allocates memory for the next multiple of 256 tokens a sequence.
    """

    context: int
    sequences: int
    batch: int
    threads: int


@dataclass(frozen=True)
class Rows:
    """For each line of a batch, its sequence (below ``Limits.sequences``) and its position in that sequence."""

    sequences: Sequence[int]
    positions: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.sequences) != len(self.positions):
            raise ValueError(f"{len(self.sequences)} rows have {len(self.positions)} positions")

    def __len__(self) -> int:
        return len(self.positions)

    def batches(self) -> Iterator[slice]:
        """Parts that llama.cpp computes as one batch: rows of one sequence, or one row each of consecutive ones."""
        begin, step = 0, 0
        for row in range(1, len(self)):
            change = self.sequences[row] - self.sequences[row - 1]
            if row == begin + 1:
                step = change
            if change != step or change not in (0, 1):
                yield slice(begin, row)
                begin = row
        if len(self):
            yield slice(begin, len(self))


class Layers:
    """Layers in memory with their KV cache, used by one thread at a time."""

    def __init__(self, model: Any, limits: Limits, outputs: int, callback: Any = None) -> None:
        """Make room for the cache of a loaded model; raises StageError.

        ``outputs`` is the most rows of a batch that can have logits.
        """
        self._limits = limits
        self._model = model
        self.width: int = api.llama_model_n_embd(model)
        self._context = api.llama_init_from_model(model, _context_params(limits, outputs, callback))
        if not self._context:
            raise StageError(f"llama.cpp cannot make room for {limits}")
        self._cached = [0] * limits.sequences  # tokens
        self._positions = np.empty(limits.batch, np.int32)
        self._sequences = np.empty(limits.batch, np.int32)
        self._counts = np.ones(limits.batch, np.int32)  # of sequences that a row belongs to
        self._outputs = np.empty(limits.batch, np.int8)
        self._addresses = self._sequences.ctypes.data + np.arange(limits.batch, dtype=np.uintp) * 4

    def free(self, sequence: int) -> None:
        """Remove a sequence from the cache; raises StageError."""
        self.keep(sequence, 0)

    def keep(self, sequence: int, count: int) -> int:
        """Remove all but the first ``count`` tokens of a sequence, or all where the model cannot keep some.

        Returns how many are left; raises StageError.
        """
        self._check_known(sequence)
        memory = api.llama_get_memory(self._context)
        count = min(count, self._cached[sequence])
        if count == 0 or not api.llama_memory_seq_rm(memory, sequence, count, -1):
            api.llama_memory_seq_rm(memory, sequence, -1, -1)
            count = 0
        self._cached[sequence] = count
        return count

    def close(self) -> None:
        """Give the memory back."""
        api.llama_free(self._context)
        api.llama_model_free(self._model)

    def _compute(self, rows: Rows, part: slice, hidden: Hidden, outputs: NDArray[np.bool]) -> None:
        """Compute the rows of ``part`` as one batch, with logits for those marked in ``outputs``; raises StageError."""
        if hidden.shape != (len(rows), self.width):
            raise StageError(f"{len(rows)} rows need {len(rows)} × {self.width} values, not {hidden.shape}")
        embeddings = np.ascontiguousarray(hidden[part], np.float32)
        self._decode(rows, part, outputs, embd=_pointer(embeddings, ctypes.c_float))

    def _decode(self, rows: Rows, part: slice, outputs: NDArray[np.bool], **values: Any) -> None:
        """Compute the rows of ``part``, whose ``values`` are embeddings or tokens; raises StageError."""
        count = part.stop - part.start
        self._check(rows, part)
        self._positions[:count] = rows.positions[part]
        self._sequences[:count] = rows.sequences[part]
        self._outputs[:count] = outputs[part]
        batch = api.llama_batch(
            n_tokens=count,
            **values,
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._counts, ctypes.c_int32),
            seq_id=_pointer(self._addresses, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._outputs, ctypes.c_int8),
        )
        if status := api.llama_decode(self._context, batch):
            raise StageError(f"llama.cpp could not compute a batch of {count} rows (status {status})")
        for sequence, position in zip(rows.sequences[part], rows.positions[part], strict=True):
            self._cached[sequence] = position + 1

    def _check(self, rows: Rows, part: slice) -> None:
        """Raise StageError for rows from which llama.cpp would compute nonsense, or abort."""
        count = part.stop - part.start
        if count > self._limits.batch:
            raise StageError(f"a batch holds {self._limits.batch} rows, not {count}")
        within: Counter[int] = Counter()
        for sequence, position in zip(rows.sequences[part], rows.positions[part], strict=True):
            self._check_known(sequence)
            cached = self._cached[sequence] + within[sequence]
            if cached == self._limits.context:
                raise StageError(f"sequence {sequence} has {cached} tokens, and there is room for no more")
            if position != cached:
                raise StageError(
                    f"position {position} of sequence {sequence} does not follow the {cached} tokens that are cached"
                )
            within[sequence] += 1

    def _check_known(self, sequence: int) -> None:
        if not 0 <= sequence < self._limits.sequences:
            raise StageError(f"there is no sequence {sequence}")


class InnerStage(Layers):
    """The layers of every stage but the last."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Load the stage; raises StageError."""
        self._callback = api.ggml_backend_sched_eval_callback(self._watch)  # llama.cpp keeps no reference to it
        super().__init__(_load(path), limits, max(limits.batch, limits.sequences), self._callback)
        self._wanted = f"l_out-{api.llama_model_n_layer(self._model) - 1}".encode()
        self._tensor: int | None = None
        self._computed: Hidden | None = None

    def forward(self, rows: Rows, hidden: Hidden) -> Hidden:
        """The hidden states after this stage's layers, one line for each row; raises StageError.

        The rows of a sequence must continue what is cached of it. Rows are computed as one batch if they belong to one
        sequence (a chunk of a prompt), or if each belongs to the sequence after the row before's (a group).
        """
        every = np.ones(len(rows), np.bool)
        after = np.empty((len(rows), self.width), np.float32)
        for part in rows.batches():
            self._computed = None
            self._compute(rows, part, hidden, every)
            if self._computed is None:
                raise StageError(f"llama.cpp did not compute {self._wanted.decode()} where it did before")
            after[part] = self._computed
        return after

    def _watch(self, tensor: int, asked: bool, _: None) -> bool:
        """Called by llama.cpp for every tensor: first to ask whether it is wanted, then with the wanted one's values.

        The wanted tensor, the last layer's output, has the same address in every graph; looking up its name each time
        would cost more than the rest of this function. Returning False ends the graph before the final norm.
        """
        if asked:
            if self._tensor is None and ggml.tensor_name(tensor) == self._wanted:
                self._tensor = tensor
            return tensor == self._tensor
        if ggml.tensor_name(tensor) == self._wanted:
            self._computed = ggml.read_tensor(tensor, self.width)
        return False


class LastStage(Layers):
    """The layers of the last stage, the final norm and the output matrix."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Load the stage; raises StageError."""
        super().__init__(_load(path), limits, limits.sequences)
        self.vocabulary: int = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))

    def logits(self, rows: Rows, hidden: Hidden, wanted: Sequence[int]) -> Hidden:
        """The logits of the ``wanted`` rows, in that order; the other rows fill the cache only. Raises StageError.

        At most as many rows can be wanted as there are sequences. Rows are as in :meth:`InnerStage.forward`.
        """
        lines = {row: line for line, row in enumerate(wanted)}
        if not lines.keys() <= set(range(len(rows))) or len(lines) > self._limits.sequences:
            raise StageError(f"of {len(rows)} rows, at most {self._limits.sequences} can be wanted, not {list(wanted)}")
        outputs = np.array([row in lines for row in range(len(rows))], np.bool)
        values = np.empty((len(lines), self.vocabulary), np.float32)
        for part in rows.batches():
            self._compute(rows, part, hidden, outputs)
            for row in lines.keys() & set(range(part.start, part.stop)):
                found = api.llama_get_logits_ith(self._context, row - part.start)
                values[lines[row]] = np.ctypeslib.as_array(found, (self.vocabulary,))
        return values


def _report(level: int, text: bytes, _: None) -> None:
    """Write errors to the node's log. llama-cpp-python 0.3.36 prints warnings as errors, and drops errors."""
    if level == _ERROR:
        sys.stderr.write(text.decode(errors="replace"))


_REPORT = api.llama_log_callback(_report)


def _load(path: Path) -> Any:
    api.llama_log_set(_REPORT, None)
    api.llama_backend_init()
    params = api.llama_model_default_params()
    params.load_mode = api.LLAMA_LOAD_MODE_NONE  # the weights are this process's own
    model = api.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise StageError(f"{path} is no stage that llama.cpp can load")
    return model


def _context_params(limits: Limits, outputs: int, callback: Any) -> Any:
    """The parameters of an unsplit model (:mod:`.model`), with a separate cache for each sequence."""
    params = api.llama_context_default_params()
    params.n_ctx = limits.context * limits.sequences
    params.n_batch = params.n_ubatch = limits.batch
    params.n_seq_max = limits.sequences
    params.n_outputs_max = outputs
    params.n_threads = params.n_threads_batch = limits.threads
    params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.kv_unified = False
    params.no_perf = True
    if callback is not None:
        params.cb_eval = callback
    return params


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
