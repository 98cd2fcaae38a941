"""Makes the SentencePiece model of a small model: python3 tools/tokenizer.py CORPUS OUT --pieces N [--digits] [--whole WORD…]

CORPUS is the corpus.txt that a data.mjs writes, OUT the model file. Needs sentencepiece (Debian: python3-sentencepiece).
--digits splits numbers into digits, so that a number that was never seen is made of pieces that were.
--whole names words that become one piece each.
"""

import argparse
import os
import sys
import tempfile

import sentencepiece


def arguments():
    parser = argparse.ArgumentParser(description="Makes the SentencePiece model of a small model.")
    parser.add_argument("corpus")
    parser.add_argument("out")
    parser.add_argument("--pieces", type=int, required=True, help="size of the vocabulary")
    parser.add_argument("--digits", action="store_true", help="split numbers into digits")
    parser.add_argument("--whole", nargs="*", default=[], help="words that become one piece each")
    return parser.parse_args()


def train(options):
    with tempfile.TemporaryDirectory() as directory:
        prefix = os.path.join(directory, "model")
        sentencepiece.SentencePieceTrainer.train(
            input=options.corpus,
            model_prefix=prefix,
            vocab_size=options.pieces,
            model_type="unigram",
            split_digits=options.digits,
            user_defined_symbols=["▁" + word for word in options.whole],
            character_coverage=1.0,
            # Of a million lines as many as make a good vocabulary in a minute.
            input_sentence_size=1_000_000,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=1,
        )
        with open(f"{prefix}.model", "rb") as file:
            return file.read()


def main():
    options = arguments()
    model = train(options)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    for word in options.whole:
        pieces = processor.encode(word, out_type=str)
        if len(pieces) != 1:
            sys.exit(f"{word} became {pieces}, not one piece")
    with open(options.out, "wb") as file:
        file.write(model)
    print(f"{options.out}: {processor.get_piece_size()} pieces")


if __name__ == "__main__":
    main()
