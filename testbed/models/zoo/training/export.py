"""Writes trained weights as a GGUF file for llama.cpp, quantized to 8 bits."""

import ctypes
from pathlib import Path

import llama_cpp
from gguf import GGUFWriter, LlamaFileType, TokenType

from testbed.models.header import write_dimensions
from testbed.models.zoo.training.tokenizer import CHAT_TEMPLATE, END_ID, PAD_ID, SPECIAL_TOKENS, Vocabulary
from testbed.models.zoo.training.transformer import Network


def _write_architecture(writer: GGUFWriter, name: str, network: Network) -> None:
    writer.add_name(f"zoo/{name}")
    writer.add_license("Apache-2.0")
    write_dimensions(writer, network.shape)
    writer.add_file_type(LlamaFileType.ALL_F32)


def _write_tokenizer(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    control = set(SPECIAL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([TokenType.CONTROL if token in control else TokenType.NORMAL for token in vocabulary.tokens])
    writer.add_token_merges(vocabulary.merges)
    writer.add_pad_token_id(PAD_ID)
    writer.add_bos_token_id(END_ID)  # never added: a prompt begins with <|user|>
    writer.add_eos_token_id(END_ID)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_gguf(file: Path, name: str, network: Network, vocabulary: Vocabulary) -> None:
    """Write the network with 32-bit weights."""
    writer = GGUFWriter(file, "llama")
    _write_architecture(writer, name, network)
    _write_tokenizer(writer, vocabulary)
    for tensor, weight in network.weights.items():
        writer.add_tensor(tensor, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, target: Path) -> None:
    """Quantize a file to Q8_0; raises RuntimeError.

    The 4-bit K formats need rows of 256 values; llama.cpp would silently use others at this width.
    """
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    parameters.nthread = 1
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    if status != 0:
        raise RuntimeError(f"llama.cpp could not quantize {source}: status {status}")
