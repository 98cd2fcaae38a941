"""ModernBERT with random weights, for the exporter beside this file: config, weights and a tokenizer, as the hub has them.

The weights are drawn from a fixed seed. The tokenizer's pieces are single bytes, and letters with a space before them,
as many invented ones as the vocabulary has room for, and the special tokens at the ids that ModernBERT has them.
"""
import os

import torch

from sizes import MODERN_BERT_SIZES
from xlm_roberta import write_json

NORM_EPSILON = 1e-5
POSITIONS = 8192
GLOBAL_EVERY = 3
THETAS = {"global": 160000.0, "local": 10000.0}
SEED = 1234
NEVER = -100.0  # bias of special tokens, which this package never answers: with random weights [MASK] resembles itself
UNUSED = 83  # the last rows of the embedding: [unused0] ...


class ModernBert:
    def __init__(self, size):
        self.shape = MODERN_BERT_SIZES[size]
        self.vocabulary, self.hidden, self.layers, self.heads, self.feed_forward, self.window = self.shape
        names = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
        self.special = {name: self.vocabulary - UNUSED - len(names) + i for i, name in enumerate(names)}
        self.weights = dict(self.drawn())

    def kind(self, layer):
        return "local" if layer % GLOBAL_EVERY else "global"

    def drawn(self):
        """Names as in Hugging Face's ModernBertForMaskedLM; a matrix is [outputs, inputs]."""
        generator = torch.Generator().manual_seed(SEED)
        hidden, feed_forward = self.hidden, self.feed_forward
        normal = lambda *shape: torch.randn(shape, generator=generator)
        matrix = lambda name, outputs, inputs: (name + ".weight", normal(outputs, inputs) * inputs**-0.5)
        norm = lambda name: (name + ".weight", 1 + 0.1 * normal(hidden))
        yield matrix("model.embeddings.tok_embeddings", self.vocabulary, hidden)
        yield norm("model.embeddings.norm")
        for i in range(self.layers):
            layer = f"model.layers.{i}."
            if i > 0:  # the embeddings are normalized already
                yield norm(layer + "attn_norm")
            yield matrix(layer + "attn.Wqkv", 3 * hidden, hidden)
            yield matrix(layer + "attn.Wo", hidden, hidden)
            yield norm(layer + "mlp_norm")
            yield matrix(layer + "mlp.Wi", 2 * feed_forward, hidden)
            yield matrix(layer + "mlp.Wo", hidden, feed_forward)
        yield norm("model.final_norm")
        yield matrix("head.dense", hidden, hidden)
        yield norm("head.norm")
        bias = 0.1 * normal(self.vocabulary)
        bias[list(self.special.values())] = NEVER
        yield "decoder.bias", bias

    def tensors(self):
        return self.weights

    def config(self):
        ids = {"cls": "[CLS]", "bos": "[CLS]", "sep": "[SEP]", "eos": "[SEP]", "pad": "[PAD]"}
        return {
            "architectures": ["ModernBertForMaskedLM"],
            "model_type": "modernbert",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "hidden_activation": "gelu",
            "classifier_activation": "gelu",
            "max_position_embeddings": POSITIONS,
            "norm_eps": NORM_EPSILON,
            "layer_norm_eps": NORM_EPSILON,
            "global_attn_every_n_layers": GLOBAL_EVERY,
            "local_attention": 2 * self.window,
            "global_rope_theta": THETAS["global"],
            "local_rope_theta": THETAS["local"],
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "classifier_bias": False,
            "decoder_bias": True,
            "tie_word_embeddings": True,
            "mask_token_id": self.special["[MASK]"],  # left out on the hub
            **{f"{name}_token_id": self.special[token] for name, token in ids.items()},
        }

    def write_tokenizer(self, folder):
        letters = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
        pieces = byte_letters() + ["Ġ" + letter for letter in letters]
        first = self.special["[UNK]"]
        pieces += [f"invented{i}" for i in range(first - len(pieces))]
        unused = {f"[unused{i}]": self.vocabulary - UNUSED + i for i in range(UNUSED)}
        flags = {"single_word": False, "rstrip": False, "normalized": False}
        added = [
            {"id": id, "content": name, "lstrip": name == "[MASK]", "special": name in self.special, **flags}
            for name, id in [*self.special.items(), *unused.items()]
        ]
        begin, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
        text, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
        around = {name: {"id": name, "ids": [self.special[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
        bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        write_json(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": added,
                "normalizer": {"type": "NFC"},
                "pre_tokenizer": bytes_of,
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [begin, text, end],
                    "pair": [begin, text, end, second, end],
                    "special_tokens": around,
                },
                "decoder": bytes_of,
                "model": {
                    "type": "BPE",
                    "dropout": None,
                    "unk_token": None,
                    "continuing_subword_prefix": None,
                    "end_of_word_suffix": None,
                    "fuse_unk": False,
                    "byte_fallback": False,
                    "ignore_merges": False,
                    "vocab": {piece: id for id, piece in enumerate(pieces)},
                    "merges": [f"Ġ {letter}" for letter in letters],
                },
            },
            os.path.join(folder, "tokenizer.json"),
        )
        named = {f"{field}_token": f"[{field.upper()}]" for field in ("cls", "sep", "pad", "mask", "unk")}
        write_json({**named, "model_max_length": POSITIONS}, os.path.join(folder, "tokenizer_config.json"))


def byte_letters():
    """GPT-2's letters for the 256 bytes: printable ones are themselves, the others the letters from U+0100 on."""
    letters, others = [], 0
    for byte in range(256):
        printable = 32 < byte < 127 or (160 < byte and byte != 173)
        letters.append(chr(byte if printable else 256 + others))
        others += not printable
    return letters
