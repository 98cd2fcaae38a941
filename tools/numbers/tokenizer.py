"""Makes the SentencePiece model of the embedded model: python3 tools/numbers/tokenizer.py CORPUS OUT

CORPUS is the corpus.txt that data.mjs writes, OUT the model file. Needs sentencepiece (Debian: python3-sentencepiece).
"""

import os
import sys
import tempfile

import sentencepiece

PIECES = 400
# One piece each, so that a choice between them is no choice of lengths.
ANSWERS = ["Yes", "No"]
# The words of the prompts; the pieces that are left go to the words of the numbers.
PROMPTS = ["Write", "Translate", "the", "this", "number", "words", "digits", "following", "text", "from", "even"]


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: tokenizer.py CORPUS OUT")
    corpus, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        prefix = os.path.join(directory, "model")
        sentencepiece.SentencePieceTrainer.train(
            input=corpus,
            model_prefix=prefix,
            vocab_size=PIECES,
            model_type="unigram",
            # Digit by digit, so that a number that was never seen is made of pieces that were.
            split_digits=True,
            user_defined_symbols=["▁" + word for word in ANSWERS + PROMPTS],
            character_coverage=1.0,
            num_threads=1,
            minloglevel=1,
        )
        with open(f"{prefix}.model", "rb") as file:
            model = file.read()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    for word in ANSWERS:
        pieces = processor.encode(word, out_type=str)
        if len(pieces) != 1:
            sys.exit(f"{word} became {pieces}, not one piece")
    with open(out, "wb") as file:
        file.write(model)
    print(f"{out}: {processor.get_piece_size()} pieces")


if __name__ == "__main__":
    main()
