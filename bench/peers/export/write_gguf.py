"""A decoder of XLM-RoBERTa's parameter count with random weights as a GGUF file.

usage: write_gguf.py SIZE f32|f16|q8_0 FILE

Architecture llama, the same layers, width, heads and vocabulary, head tied to the embedding. Its feed-forward network
has three matrices instead of two and is two thirds as wide, so a layer has 12 hidden² parameters in both. The
tokenizer is a list of invented pieces: the benchmark hands over ids.
"""
import struct
import sys

import numpy as np

from sizes import SIZES

CONTEXT = 2048
SEED = 7
SLICE = 16384  # rows drawn at a time
BLOCK = 32  # weights under one scale in q8_0; also the alignment of the file
TENSOR_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
UNSIGNED, INTEGER, FLOAT, STRING, ARRAY = 4, 5, 6, 8, 9
SPECIAL = ["<unk>", "<s>", "</s>"]
TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_BYTE, TOKEN_NORMAL = 2, 3, 6, 1


def feed_forward_of(width):
    """Two thirds, up to whole blocks of q8_0."""
    return -(-2 * width // (3 * BLOCK)) * BLOCK


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def field(key, kind, value):
    if kind == STRING:
        return string(key) + struct.pack("<I", kind) + string(value)
    return string(key) + struct.pack("<I", kind) + struct.pack("<f" if kind == FLOAT else "<I", value)


def array(key, kind, values):
    if kind == STRING:
        body = b"".join(map(string, values))
    else:
        body = np.asarray(values, "<f4" if kind == FLOAT else "<i4").tobytes()
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def packed(values, kind):
    if kind == "f32":
        return values.astype("<f4").tobytes()
    if kind == "f16":
        return values.astype("<f2").tobytes()
    blocks = values.reshape(-1, BLOCK)
    scales = (np.abs(blocks).max(1) / 127).astype("<f2")
    inverse = np.where(scales > 0, 1 / np.maximum(scales.astype(np.float32), 1e-30), 0)
    out = np.empty((len(blocks), 2 + BLOCK), np.uint8)
    out[:, :2] = scales.view(np.uint8).reshape(-1, 2)
    out[:, 2:] = np.clip(np.rint(blocks * inverse[:, None]), -127, 127).astype(np.int8).view(np.uint8)
    return out.tobytes()


def bytes_of(count, kind):
    return {"f32": 4 * count, "f16": 2 * count, "q8_0": count // BLOCK * (BLOCK + 2)}[kind]


def padding(count):
    return b"\0" * (-count % BLOCK)


def tensors_of(size, kind):
    """[(name, shape, type)]"""
    vocabulary, hidden, layers, _, width = SIZES[size]
    inner = feed_forward_of(width)
    tensors = [("token_embd.weight", (vocabulary, hidden), kind), ("output_norm.weight", (hidden,), "f32")]
    for i in range(layers):
        tensors += [(f"blk.{i}.{name}.weight", (hidden,), "f32") for name in ("attn_norm", "ffn_norm")]
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors.append((f"blk.{i}.{name}.weight", (hidden, hidden), kind))
        for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            tensors.append((f"blk.{i}.ffn_{name}.weight", shape, kind))
    return tensors


def fields_of(size, kind):
    vocabulary, hidden, layers, heads, width = SIZES[size]
    pieces = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    invented = vocabulary - len(pieces)
    kinds = [TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_CONTROL] + [TOKEN_BYTE] * 256 + [TOKEN_NORMAL] * invented
    scores = [0.0] * len(pieces) + [-float(i) for i in range(invented)]
    return [
        field("general.architecture", STRING, "llama"),
        field("general.name", STRING, f"random {size}"),
        field("general.file_type", UNSIGNED, FILE_TYPES[kind]),
        field("general.quantization_version", UNSIGNED, 2),
        field("llama.block_count", UNSIGNED, layers),
        field("llama.context_length", UNSIGNED, CONTEXT),
        field("llama.embedding_length", UNSIGNED, hidden),
        field("llama.feed_forward_length", UNSIGNED, feed_forward_of(width)),
        field("llama.attention.head_count", UNSIGNED, heads),
        field("llama.attention.head_count_kv", UNSIGNED, heads),
        field("llama.attention.layer_norm_rms_epsilon", FLOAT, 1e-5),
        field("llama.rope.dimension_count", UNSIGNED, hidden // heads),
        field("llama.vocab_size", UNSIGNED, vocabulary),
        field("tokenizer.ggml.model", STRING, "llama"),
        array("tokenizer.ggml.tokens", STRING, pieces + [f"w{i}" for i in range(invented)]),
        array("tokenizer.ggml.scores", FLOAT, scores),
        array("tokenizer.ggml.token_type", INTEGER, kinds),
        field("tokenizer.ggml.bos_token_id", UNSIGNED, SPECIAL.index("<s>")),
        field("tokenizer.ggml.eos_token_id", UNSIGNED, SPECIAL.index("</s>")),
        field("tokenizer.ggml.unknown_token_id", UNSIGNED, SPECIAL.index("<unk>")),
    ]


def slices_of(shape, random):
    """The values of a tensor, some rows at a time: norms are ones."""
    if len(shape) == 1:
        yield np.ones(shape, np.float32)
        return
    rows, columns = shape
    for first in range(0, rows, SLICE):
        count = min(SLICE, rows - first)
        yield random.standard_normal((count, columns), np.float32) * np.float32(columns**-0.5)


def main(size, kind, path):
    tensors, fields = tensors_of(size, kind), fields_of(size, kind)
    random = np.random.default_rng(SEED)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields))
        offset = 0
        for name, shape, stored in tensors:
            file.write(string(name) + struct.pack("<I", len(shape)))
            file.write(b"".join(struct.pack("<Q", extent) for extent in reversed(shape)))
            file.write(struct.pack("<IQ", TENSOR_TYPES[stored], offset))
            size_of = bytes_of(int(np.prod(shape)), stored)
            offset += size_of + len(padding(size_of))
        file.write(padding(file.tell()))
        for _, shape, stored in tensors:
            for values in slices_of(shape, random):
                file.write(packed(values, stored))
            file.write(padding(bytes_of(int(np.prod(shape)), stored)))


if __name__ == "__main__":
    main(*sys.argv[1:])
